"""The page in a real Chromium, at a service that really listens.

No page may fail, open a dialog, or request anything elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import httpx2
import pytest
from tests.factories.chromium import PageEvents, chromium
from tests.factories.scripted_model import ScriptedModel
from tests.factories.service import RunningService, running_service

from mien.predict.predictor import Predictor

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Dialog, Page

Visit = Callable[..., "Page"]
Serve = Callable[..., str]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """visit(url, width=360, scheme="dark"): the page, loaded; at the end, it must have behaved.

    Without `console`, what it writes there is not checked.
    """
    visits: list[tuple[str, PageEvents]] = []
    with ExitStack() as stack:

        def open_page(
            url: str,
            *,
            width: int = 1100,
            scheme: Literal["light", "dark"] = "light",
            touch: bool = False,
            console: bool = True,
        ) -> Page:
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, has_touch=touch
            )
            stack.callback(context.close)
            page, events = context.new_page(), PageEvents()
            visits.append((url, events))
            page.on("dialog", lambda dialog: _dismiss(dialog, events))
            if console:
                page.on("console", lambda message: events.console.append(message.text))
            page.on("pageerror", lambda error: events.errors.append(str(error)))
            page.on("request", lambda request: events.requests.append(request.url))
            page.goto(url)
            page.wait_for_load_state("networkidle")
            return page

        yield open_page
    for url, events in visits:
        assert (events.dialogs, events.errors) == ([], [])
        # Chromium writes a line about each response with an error status.
        assert [text for text in events.console if not text.startswith("Failed to load resource")] == []
        assert [place for place in events.requests if not place.startswith((f"{url}/", f"blob:{url}/"))] == []


def _dismiss(dialog: Dialog, events: PageEvents) -> None:
    events.dialogs.append(dialog.message)
    dialog.dismiss()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """serve(ScriptedModel(...), token="..."): the URL of a service."""
    with ExitStack() as stack:

        def start(model: ScriptedModel, **settings: object) -> str:
            running = running_service(model.as_served(), wait=True, **settings)
            return stack.enter_context(running).url

        yield start


@pytest.fixture(scope="session")
def page_service(describing_predictor: Predictor) -> Iterator[RunningService]:
    """Of a run that was trained on drawn people and evaluated, with the detector of drawn people."""
    from mien.predict.detect.open import open_detector

    before = describing_predictor.detector
    describing_predictor.detector = open_detector("playhouse", device="cpu")
    with running_service(describing_predictor) as running:
        yield running
    describing_predictor.detector = before


@pytest.fixture
def api(page_service: RunningService) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=page_service.url, timeout=60, trust_env=False) as client:
        yield client
