"""What the page says while it waits, when something fails, and when the service needs a token."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.factories.scripted_model import ScriptedModel, explanation_of, person_of
from tests.factories.service import RunningService
from tests.serve.page.conftest import Serve, Visit
from tests.serve.page.test_results import choose_example, upload

from mien.errors import EngineError
from mien.serve.page.examples import draw_example
from mien.serve.schemas import PredictedPerson
from mien.serve.uploads import Upload

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "a token of thirty-two characters"


@pytest.fixture
def gate() -> Iterator[threading.Event]:
    """Holds a model until it is set."""
    event = threading.Event()
    yield event
    event.set()  # so that the service can end


def test_reading_shows_progress_and_can_be_canceled(
    serve: Serve, visit: Visit, gate: threading.Event
) -> None:
    def predict(upload: Upload) -> list[PredictedPerson]:
        gate.wait()
        return [person_of()]

    page = visit(serve(ScriptedModel(predict=predict)))
    page.locator("#example-list button").first.click()
    page.locator("#result .progress").wait_for()
    page.locator("#result .progress", has_text="1 s").wait_for()
    page.get_by_role("button", name="Cancel").click()
    page.locator("#result", has_text="Reading was canceled.").wait_for()
    gate.set()
    page.get_by_role("button", name="Read the photo").click()
    page.locator("article .conclusion").wait_for()


def test_explaining_can_be_canceled(serve: Serve, visit: Visit, gate: threading.Event) -> None:
    def explain(_: object) -> dict[str, object]:
        gate.wait()
        return explanation_of(["Peace"], "A calm face.", {"Peace": 0.7, "Fear": 0.2})

    page = visit(serve(ScriptedModel(explain=explain)))
    choose_example(page)
    page.locator("[data-key=explain]").click()
    page.locator(".why .progress").get_by_role("button", name="Cancel").click()
    page.locator("[data-key=explain]").wait_for()
    gate.set()
    page.locator("[data-key=explain]").click()
    page.locator("table.ifs").wait_for()


def test_what_fails_has_a_hint_and_can_be_tried_again(serve: Serve, visit: Visit) -> None:
    failures = [EngineError("the engine is down", hint="start it")]

    def predict(upload: Upload) -> list[PredictedPerson]:
        if failures:
            raise failures.pop()
        return [person_of()]

    page = visit(serve(ScriptedModel(predict=predict)))
    page.locator("#example-list button").first.click()
    alert = page.locator("#result .alert")
    alert.wait_for()
    assert "The service cannot answer now." in alert.inner_text()
    assert "Try again later" in alert.inner_text()
    assert "Request " in alert.inner_text()
    alert.get_by_role("button", name="Try again").click()
    page.locator("article .conclusion").wait_for()


def test_a_photo_that_is_too_large_is_not_sent(serve: Serve, visit: Visit) -> None:
    model = ScriptedModel()
    page = visit(serve(model, max_body_bytes=2**20))
    upload(page, ("large.png", draw_example(0) + bytes(2**20)), ("a.png", draw_example(1)))
    page.locator("#result .alert", has_text="the service takes 1").wait_for()
    page.locator("#photo-list", has_text="1 person").wait_for()
    assert [len(item.content) for item in model.uploads] == [len(draw_example(1))]


def test_a_file_that_is_not_a_photo_is_named_with_a_hint_that_fits(
    page_service: RunningService, visit: Visit
) -> None:
    page = visit(page_service.url)
    upload(page, ("notes.txt", b"Bread, milk and tea.\n"))
    alert = page.locator("#result .alert")
    alert.wait_for()
    assert alert.locator("p").all_inner_texts() == [
        "The photo cannot be read as an image: it is a text file.",
        "Give the image itself; if this was downloaded as an image, the server sent something else.",
    ]


def test_a_photo_without_people_asks_for_a_box(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(predict=lambda upload: [person_of()] if upload.boxes else [])))
    page.locator("#example-list button").first.click()
    page.locator("#result", has_text="No people were found. Draw a box").wait_for()
    page.locator("[data-key=draw]").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    page.locator("article .conclusion").wait_for()


def test_uncertainty_is_said_first(serve: Serve, visit: Visit) -> None:
    people = [
        person_of(0, sure=False, above=[], prediction_set=["Peace", "Fear"], coverage=0.8),
        person_of(1, sure=True, above=["Peace"], prediction_set=["Peace"], coverage=0.8),
        person_of(2, box=[150.0, 10.0, 190.0, 90.0]),
    ]
    page = visit(serve(ScriptedModel(predict=lambda upload: people)))
    choose_example(page)
    assert "Not sure" in page.locator(".conclusion").inner_text()
    assert "No label reaches its threshold. Closest: Peace." in page.locator(".conclusion").inner_text()
    assert "No label is ruled out." in page.locator("article").inner_text()
    assert verdicts(page) == ["maybe", "maybe"]
    assert page.locator(".people button").all_inner_texts()[0].endswith("not sure")
    page.locator(".people button").nth(1).click()
    assert page.locator(".strongest li").all_inner_texts() == ["Peace\n0.70"]
    assert verdicts(page) == ["yes", "no"]
    assert "Peace (1 of 2 labels)" in page.locator("article").inner_text()
    assert "80 % coverage" in page.locator("article").inner_text()
    page.locator(".people button").nth(2).click()
    assert "not calibrated" in page.locator(".conclusion").inner_text()


def verdicts(page: Page) -> list[str]:
    """Of the labels in the table, the highest first."""
    return page.locator("table.labels td.verdict").all_inner_texts()


def test_the_conclusion_shows_the_strongest_labels_and_counts_the_rest(serve: Serve, visit: Visit) -> None:
    scores = {"Doubt/Confusion": 0.25, "Peace": 0.5, "Fear": 0.3, "Pain": 0.75, "Anger": 0.2, "Love": 0.1}
    above = ["Pain", "Peace", "Fear", "Doubt/Confusion", "Anger"]
    person = person_of(
        scores=scores, above=above, sure=True, prediction_set=[*above[:4], "Love"], coverage=0.9
    )
    page = visit(serve(ScriptedModel(labels=tuple(scores), predict=lambda upload: [person])))
    choose_example(page)
    shown = page.locator(".conclusion li")
    assert shown.all_inner_texts() == ["Pain\n0.75", "Peace\n0.50", "Fear\n0.30"]
    widths = shown.locator(".value").evaluate_all("bars => bars.map((bar) => bar.offsetWidth)")
    assert [width / widths[0] for width in widths] == pytest.approx([1, 0.5 / 0.75, 0.3 / 0.75], abs=0.02)
    assert "and 2 more above their thresholds" in page.locator(".conclusion").inner_text()
    assert verdicts(page) == ["yes"] * 5 + ["maybe"]


@pytest.mark.parametrize("width", [360, 1100])
def test_a_label_with_a_slash_breaks_after_it_or_not_at_all(serve: Serve, visit: Visit, width: int) -> None:
    scores = {"Doubt/Confusion": 0.7, "Peace": 0.2}
    person = person_of(scores=scores, above=["Doubt/Confusion"], sure=True, prediction_set=[], coverage=0.9)
    model = ScriptedModel(
        labels=tuple(scores),
        predict=lambda upload: [person],
        explain=lambda work: explanation_of(["Doubt/Confusion"], "A calm face.", scores),
    )
    page = visit(serve(model), width=width)
    choose_example(page)
    page.locator("[data-key=explain]").click()
    page.locator("table.ifs").wait_for()
    broken = page.evaluate(
        """[...document.querySelectorAll("bdi")]
            .filter((element) => element.textContent === "Doubt/Confusion")
            .flatMap((element) => [...element.childNodes].filter((node) => node.nodeType === 3))
            .filter((node) => {
                const range = document.createRange();
                range.selectNode(node);
                return range.getClientRects().length > 1;
            }).length"""
    )
    assert broken == 0
    assert page.locator("bdi wbr").count() >= 4


def test_a_warning_is_about_the_map_that_is_shown(serve: Serve, visit: Visit) -> None:
    found = explanation_of(["Peace"], "A calm face.", {"Peace": 0.7, "Fear": 0.2})
    (label,) = found["labels"]
    label["region_faithfulness"] = [faithfulness("occlusion", True), faithfulness("attention", False)]
    label["word_faithfulness"] = [faithfulness("occlusion", True), faithfulness("gradient", False)]
    page = visit(serve(ScriptedModel(explain=lambda work: found)))
    choose_example(page)
    page.locator("[data-key=explain]").click()
    page.locator("table.ifs").wait_for()
    assert page.locator(".why .warning").count() == 0
    assert (
        "Hiding the top left changes the score most, by \N{MINUS SIGN}0.50."
        in page.locator(".why").inner_text()
    )
    page.get_by_role("button", name="Where the model looked").click()
    assert "Do not rely on this map" in page.locator(".why .warning").inner_text()
    page.get_by_role("button", name="What hiding changes").click()
    label["word_faithfulness"][0]["is_faithful"] = False
    page.get_by_role("button", name="Explain again").click()
    page.locator(".why .warning", has_text="Do not rely on these colors").wait_for()


def faithfulness(method: str, is_faithful: bool) -> dict[str, Any]:
    names = ("deletion", "insertion", "random_deletion", "random_insertion")
    curves = {name: {"shares": [0.0, 1.0], "scores": [0.7, 0.2], "area": 0.45} for name in names}
    return {"method": method, "gain": 0.1, "limit": 0.05, "is_faithful": is_faithful, **curves}


def test_the_focus_ring_of_the_token_covers_no_text(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(), token=TOKEN))
    page.locator("#token").focus()
    ring = 5  # pixels: the outline and its distance
    label, field, help_ = (
        page.locator(place).bounding_box() for place in ("#token-form label", "#token", "#token-help")
    )
    assert label is not None
    assert field is not None
    assert help_ is not None
    assert label["y"] + label["height"] <= field["y"] - ring
    assert field["y"] + field["height"] + ring <= help_["y"]


def test_a_token_is_asked_for_and_kept_in_memory_only(serve: Serve, visit: Visit) -> None:
    page = visit(serve(ScriptedModel(), token=TOKEN))
    assert not page.locator("#intake").is_visible()
    field = page.get_by_label("Token", exact=True)
    field.fill("wrong")
    page.keyboard.press("Enter")
    page.locator("#token-error", has_text="refuses").wait_for()
    field.fill(TOKEN)
    page.keyboard.press("Enter")
    page.locator("#intake").wait_for()
    choose_example(page)
    stored = page.evaluate("[localStorage.length, sessionStorage.length, document.cookie, location.search]")
    assert stored == [0, 0, "", ""]
    assert field.input_value() == ""
    page.reload()
    page.locator("#token-form").wait_for()
