"""Pages in a real Chromium, without the network. Tests skip where it is not installed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

_NAMES = ("chromium", "chromium-browser", "google-chrome")
# As root in a container, Chromium has no sandbox of its own.
_FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_opened: list[Browser] = []


@dataclass
class PageEvents:
    """What a page did while it was open.

    Attributes:
        dialogs: Messages of dialogs that a script opened.
        console: Messages on the console.
        errors: Errors of scripts.
        requests: Addresses that were requested, without the page itself and images in the page.
    """

    dialogs: list[str] = field(default_factory=list)
    console: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The installed Chromium, headless; skips the test if it, or playwright, is missing.

    Tests of one process share a browser that is open, because playwright runs only once in a thread.
    """
    if _opened:
        yield _opened[0]
        return
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    path = next((found for name in _NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("Chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(_FLAGS))
        _opened.append(browser)
        try:
            yield browser
        finally:
            _opened.clear()
            browser.close()


@contextmanager
def open_page(
    browser: Browser,
    path: Path,
    *,
    scripts: bool = False,
    scheme: Literal["light", "dark"] = "light",
    width: int = 1100,
    bypass_csp: bool = False,
) -> Iterator[tuple[Page, PageEvents]]:
    """The page in a file, loaded, and what it does.

    Args:
        browser: From `chromium`.
        path: The file.
        scripts: Whether the browser runs scripts.
        scheme: The color scheme that the reader prefers.
        width: Of the window, in pixels.
        bypass_csp: Whether the page's content security policy is ignored.
    """
    context = browser.new_context(
        java_script_enabled=scripts,
        color_scheme=scheme,
        viewport={"width": width, "height": 900},
        bypass_csp=bypass_csp,
    )
    page, events = context.new_page(), PageEvents()

    def dismiss(dialog: Any) -> None:
        events.dialogs.append(dialog.message)
        dialog.dismiss()

    address = path.absolute().as_uri()
    page.on("dialog", dismiss)
    page.on("console", lambda message: events.console.append(message.text))
    page.on("pageerror", lambda error: events.errors.append(str(error)))
    page.on(
        "request",
        lambda request: (
            None
            if request.url == address or request.url.startswith("data:image/")
            else events.requests.append(request.url)
        ),
    )
    try:
        page.goto(address, wait_until="load")
        yield page, events
    finally:
        context.close()


def require_inert(page_file: Path, strings: Sequence[str]) -> None:
    """Opens a page with scripts, with and without its policy: nothing runs, and every string is text."""
    with chromium() as browser:
        for bypass in (False, True):
            with open_page(browser, page_file, scripts=True, bypass_csp=bypass) as (page, events):
                page.wait_for_timeout(200)
                assert page.evaluate("window.ran") is None
                # The console would also say what the policy stopped: nothing came that far.
                assert (events.dialogs, events.console, events.errors) == ([], [], [])
                assert events.requests == []
                text = page.evaluate("document.documentElement.textContent")
                attributes = page.evaluate(
                    "[...document.querySelectorAll('*')].flatMap(e => e.getAttributeNames())"
                )
    assert not [name for name in attributes if name.startswith("on")]
    shown = re.sub(r"\s+", " ", text)
    assert [string for string in strings if string not in shown] == []


def serious_faults(page: Page) -> list[str]:
    """The serious and critical faults that axe finds on a page with scripts allowed, with where they are."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed")
    found = axe.Axe().run(page, options={"resultTypes": ["violations"]}).response["violations"]
    return [
        f"{item['id']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
        for item in found
        if item["impact"] in ("serious", "critical")
        for node in item["nodes"]
    ]
