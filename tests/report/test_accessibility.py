"""Accessibility of pages in Chromium: axe finds no serious fault, and everything works from the keyboard."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
from tests.factories.chromium import chromium, open_page, serious_faults

from mien.report.run.page import write_report

if TYPE_CHECKING:
    from playwright.sync_api import Page

Scheme = Literal["light", "dark"]


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_of_a_run_has_no_serious_fault(demo_run: Path, scheme: Scheme, width: int) -> None:
    path = write_report(demo_run)
    with (
        chromium() as browser,
        open_page(browser, path, scripts=True, scheme=scheme, width=width) as (page, _),
    ):
        page.locator("details").evaluate_all("all => all.forEach(item => item.open = true)")
        assert serious_faults(page) == []


def test_filters_work_without_scripts_and_from_the_keyboard(demo_run: Path) -> None:
    with chromium() as browser, open_page(browser, write_report(demo_run)) as (page, _):
        people = page.locator(".person")
        number = people.count()
        assert people.filter(visible=True).count() == number == 40
        menu = page.locator("select.by-result")
        menu.focus()
        page.keyboard.press("ArrowDown")  # right
        right = people.filter(visible=True).count()
        assert right == page.locator(".person.right").count()
        page.keyboard.press("ArrowDown")  # wrong
        assert people.filter(visible=True).count() == page.locator(".person.wrong").count() == number - right


def test_filters_are_combined(demo_run: Path) -> None:
    with chromium() as browser, open_page(browser, write_report(demo_run)) as (page, _):
        people = page.locator(".person")
        for kind, classes in {"all": ("t", "f"), "t": "t", "h": "h", "m": "m", "f": "f"}.items():
            page.select_option("select.by-kind", kind)
            page.select_option("select.by-label", "all")
            some = number_of(page, *(f".a{name}" for name in classes)) if kind != "all" else 40
            assert people.filter(visible=True).count() == some
            for label in (3, 6):
                page.select_option("select.by-label", str(label))
                expected = number_of(page, *(f".{name}{label}" for name in classes))
                assert people.filter(visible=True).count() == expected
        page.select_option("select.by-kind", "t")
        page.select_option("select.by-result", "wrong")
        page.select_option("select.by-agreement", "g2")
        assert people.filter(visible=True).count() == number_of(page, ".wrong.g2.t6")
        shown = page.locator(".shown").evaluate("e => getComputedStyle(e, '::before').content")
        assert "counter" in shown


def number_of(page: Page, *selectors: str) -> int:
    """How many people match one of the selectors."""
    return page.locator(", ".join(f".person{selector}" for selector in selectors)).count()


def test_a_page_on_paper_is_light_and_leaves_the_list_out(demo_run: Path) -> None:
    with chromium() as browser, open_page(browser, write_report(demo_run), scheme="dark") as (page, _):
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
        assert page.locator(".person").filter(visible=True).count() == 0
        assert page.get_by_text("The list is not printed.").is_visible()
