"""axe finds no serious fault in any state, and no state is wider than a phone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import pytest
from tests.factories.chromium import serious_faults
from tests.factories.scripted_model import ScriptedModel, explanation_of, person_of
from tests.serve.page.conftest import Serve, Visit
from tests.serve.page.test_results import choose_example, upload

from mien.errors import ImageError
from mien.serve.page.examples import draw_example
from mien.serve.schemas import PredictedPerson
from mien.serve.uploads import Upload

if TYPE_CHECKING:
    from playwright.sync_api import Page

TEXT = "The person in the red box smiles. " + "Averyveryverylongword" * 8
LONG = "A-label-of-ones-own-that-is-longer-than-any-column"
SCORES = {"Peace": 0.7, "Doubt/Confusion": 0.4, LONG: 0.3, "Disconnection": 0.2, "Fear": 0.1}


def _people(upload: Upload) -> list[PredictedPerson]:
    if upload.content == b"broken":
        raise ImageError("images[0] cannot be read as an image", hint="send a JPEG or PNG file")
    values = {"scores": SCORES, "description": TEXT, "coverage": 0.9, "prediction_set": ["Peace", LONG]}
    return [
        person_of(0, sure=True, above=["Peace"], dimensions={"valence": 0.9, "arousal": 0.1}, **values),
        person_of(1, sure=False, above=[], **values),
    ]


def _check(page: Page, state: str) -> None:
    assert serious_faults(page) == [], state
    width, window = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert width <= window, state


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(
    serve: Serve, visit: Visit, scheme: Literal["light", "dark"], width: int
) -> None:
    model = ScriptedModel(
        labels=tuple(SCORES),
        predict=_people,
        explain=lambda work: explanation_of(["Peace", LONG], TEXT, SCORES),
        embedded=True,
    )
    page = visit(serve(model), scheme=scheme, width=width)
    page.locator("aside.notice summary").click()
    _check(page, "before")
    choose_example(page)
    _check(page, "result")
    page.locator("[data-key=person-2]").click()
    _check(page, "not sure")
    page.locator("[data-key=explain]").click()
    page.locator("table.ifs").wait_for()
    _check(page, "why")
    page.locator("[data-key=draw]").focus()
    page.keyboard.press("Enter")
    _check(page, "box")
    upload(page, ("broken.png", b"broken"), ("a.png", draw_example(1)))
    page.locator("#result .alert").wait_for()
    _check(page, "error")


def test_axe_finds_no_serious_fault_in_the_form_for_a_token(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(), token="a token of thirty-two characters"), width=360)
    page.locator("#token-form").wait_for()
    _check(page, "token")


def test_axe_would_find_a_fault(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel()))
    page.evaluate("document.querySelector('#files').labels[0].remove()")
    assert serious_faults(page)


def test_results_are_announced(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(predict=_people)))
    choose_example(page)
    status = page.locator("#status[role=status][aria-live=polite]")
    status.get_by_text("2 people. Person 1: Peace.").wait_for(state="attached")
    page.locator("[data-key=person-2]").click()
    status.get_by_text("Person 2: not sure.").wait_for(state="attached")


def test_a_phone_draws_a_box_and_scrolls_elsewhere(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(predict=_people)), width=360, touch=True)
    choose_example(page)
    overlay = page.locator(".overlay")
    assert overlay.evaluate("element => getComputedStyle(element).touchAction") == "auto"
    page.get_by_role("button", name="Draw a box").tap()
    assert overlay.evaluate("element => getComputedStyle(element).touchAction") == "none"
    small = page.evaluate(
        """[...document.querySelectorAll("button, .button, select")]
            .map((element) => [element.textContent, element.getBoundingClientRect()])
            .filter(([, area]) => area.height > 0 && Math.min(area.width, area.height) < 24)
            .map(([text]) => text)"""
    )
    assert small == []
