"""Scripts in labels, descriptions, names and errors: the page shows them as text, and none runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from tests.factories.script_injections import INJECTIONS
from tests.factories.scripted_model import ScriptedModel, explanation_of, person_of
from tests.serve.page.conftest import Serve, Visit
from tests.serve.page.test_results import upload

from mien.errors import ImageError
from mien.serve.page.examples import draw_example
from mien.serve.schemas import PredictedPerson
from mien.serve.uploads import Upload

if TYPE_CHECKING:
    from playwright.sync_api import Page

SCORES = {text: 1 - number / 1000 for number, text in enumerate(INJECTIONS)}
EVERYTHING = " ".join(INJECTIONS)
BROKEN = b"broken"


def _people(upload: Upload) -> list[PredictedPerson]:
    """A person with all strings as labels and description, and one for each as the only label."""
    if upload.content == BROKEN:
        raise ImageError(EVERYTHING, hint=EVERYTHING)
    full = person_of(
        scores=SCORES,
        description=EVERYTHING,
        above=list(INJECTIONS),
        sure=True,
        prediction_set=list(INJECTIONS),
        coverage=0.9,
        dimensions={INJECTIONS[0]: 0.4},
        bounded=[INJECTIONS[0]],
        box_source=INJECTIONS[1],
        status=INJECTIONS[2],
    )
    others = [
        person_of(1, box=[100.0, 5.0, 190.0, 95.0], scores={text: 0.5}, description=text)
        for text in INJECTIONS
    ]
    return [full, *others]


def _has_nothing_of_the_strings(page: Page) -> None:
    """No element, attribute or global is of an injected string."""
    page.wait_for_timeout(200)  # for what would run later
    assert page.evaluate("window.ran") is None
    elements = (
        "script:not([src='page/page.js']), iframe, svg, object, embed, video, base, form[action], style"
    )
    assert page.locator(elements).count() == 0
    attributes = page.evaluate(
        "[...document.querySelectorAll('*')].flatMap((element) => element.getAttributeNames())"
    )
    assert [name for name in attributes if name.startswith("on") or name == "srcdoc"] == []


def test_no_string_of_an_answer_runs(serve: Serve, visit: Visit) -> None:
    model = ScriptedModel(
        labels=INJECTIONS,
        predict=_people,
        explain=lambda work: explanation_of(INJECTIONS[:12], EVERYTHING, SCORES),
        name=INJECTIONS[3],
    )
    assert len(INJECTIONS) == 200
    page = visit(serve(model))
    upload(page, (INJECTIONS[4], draw_example(0)))
    page.locator("article .conclusion").wait_for()
    shown = page.locator("table.labels tbody tr th").all_text_contents()
    assert shown == list(INJECTIONS)  # all reach their thresholds
    assert page.locator(".strongest li strong").all_text_contents() == list(INJECTIONS[:3])
    assert page.locator("article blockquote").text_content() == EVERYTHING
    page.locator("[data-key=explain]").click()
    page.locator("table.ifs").wait_for()
    assert page.locator("blockquote.words").text_content() == EVERYTHING
    assert page.locator("#explained option").count() == len(INJECTIONS) + 1
    for label in INJECTIONS[:12]:
        page.locator(".why .choices button").get_by_text(re.compile(re.escape(label))).first.click()
        assert label in (page.locator("table.ifs caption").text_content() or "")
    _has_nothing_of_the_strings(page)


def test_no_description_runs_by_itself(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(labels=INJECTIONS, predict=_people)))
    upload(page, ("a.png", draw_example(0)))
    page.locator("article .conclusion").wait_for()
    for number, text in enumerate(INJECTIONS, start=2):
        page.evaluate(
            "(key) => document.querySelector(`.people [data-key=${key}]`).click()", f"person-{number}"
        )
        assert page.locator("article blockquote").text_content() == text
        assert page.locator("table.labels tbody th").text_content() == text
        assert text in (page.locator(f"[data-key=box-{number}]").get_attribute("aria-label") or "")
    _has_nothing_of_the_strings(page)


def test_no_error_runs(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(predict=_people)))
    upload(page, *((text, BROKEN) for text in INJECTIONS[:20]))
    page.locator("#photo-list li:last-child", has_text="failed").wait_for()
    assert page.locator("#result .alert bdi").first.text_content() == f"{EVERYTHING}."
    assert page.locator("#photo-list .name").all_text_contents() == list(INJECTIONS[:20])
    _has_nothing_of_the_strings(page)


def test_the_policy_refuses_scripts_that_would_be_put_in(serve: Serve, visit: Visit) -> None:
    """The second line of defense, if a module did parse HTML."""
    page = visit(serve(ScriptedModel()), console=False)  # Chromium writes what it refuses there
    outcomes = page.evaluate(
        """() => [
            () => { document.body.innerHTML = "<img src=x onerror='window.ran = 1'>"; },
            () => { document.body.setAttribute("onclick", "window.ran = 1"); },
            () => { document.createElement("script").textContent = "window.ran = 1"; },
        ].map((attempt) => { try { attempt(); } catch (error) { return error.name; } return "done"; })"""
    )
    assert outcomes == ["TypeError"] * 3
    page.evaluate(
        "document.head.append(Object.assign(document.createElement('style'), {textContent: 'x{}'}))"
    )
    assert page.evaluate("document.head.lastElementChild.sheet") is None
    assert page.evaluate("window.ran") is None
