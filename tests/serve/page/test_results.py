"""A visitor's way through the page: a photo, its people, a box of one's own, the result, and why."""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from tests.factories.service import RunningService
from tests.serve.page.conftest import Visit

from mien.serve.page.examples import EXAMPLES, draw_example

if TYPE_CHECKING:
    from playwright.sync_api import FilePayload, Locator, Page

TWO_PEOPLE = 0  # the number of an example


def choose_example(page: Page, number: int = TWO_PEOPLE) -> None:
    page.locator("#example-list button").nth(number).click()
    page.locator("article .conclusion").wait_for()


def predicted(
    api: httpx2.Client, photo: bytes, boxes: list[list[float]] | None = None
) -> list[dict[str, Any]]:
    """The people of a photo, by the API."""
    data = {} if boxes is None else {"boxes": json.dumps(boxes)}
    (image,) = api.post("/v1/predict", files={"images": photo}, data=data).json()["results"]
    people: list[dict[str, Any]] = image["people"]
    return people


def shown_labels(page: Page) -> dict[str, str]:
    """The labels of the table with their scores, as they are shown."""
    rows = page.locator("table.labels tbody tr")
    return {row.locator("th").inner_text(): row.locator("td.number").inner_text() for row in rows.all()}


def highest(person: dict[str, Any], count: int) -> dict[str, str]:
    ranked = sorted(person["scores"].items(), key=lambda item: -item[1])[:count]
    return {label: f"{score:.2f}" for label, score in ranked}


def shown_box(page: Page) -> list[float]:
    """The box of one's own that is chosen, from its number fields."""
    return [float(page.locator(f"#edge-{edge}").input_value()) for edge in range(4)]


def place_of(page: Page, x: float, y: float) -> tuple[float, float]:
    """Where a point of an example's photo is on the screen."""
    area = page.locator(".overlay").bounding_box()
    assert area is not None
    return area["x"] + x / 288 * area["width"], area["y"] + y / 288 * area["height"]


def drag(page: Page, start: tuple[float, float], end: tuple[float, float]) -> None:
    page.mouse.move(*place_of(page, *start))
    page.mouse.down()
    page.mouse.move(*place_of(page, *(sum(pair) / 2 for pair in zip(start, end, strict=True))))
    page.mouse.move(*place_of(page, *end))
    page.mouse.up()


def tab_to(page: Page, target: Locator) -> None:
    """Presses Tab until an element has the focus."""
    for _ in range(60):
        if target.evaluate("element => element === document.activeElement"):
            return
        page.keyboard.press("Tab")
    raise AssertionError("the element is not reached by Tab")


def test_an_example_is_read_and_people_are_switched(
    page_service: RunningService, api: httpx2.Client, visit: Visit
) -> None:
    page = visit(page_service.url)
    assert page.locator("#drawn").is_visible()
    assert "Article 5(1)(f)" in (page.locator("aside.notice").text_content() or "")
    choose_example(page)
    people = predicted(api, draw_example(TWO_PEOPLE))
    assert len(people) == len(EXAMPLES[TWO_PEOPLE].people) == 2
    assert page.locator(".overlay .box").count() == len(people)
    for number in (0, 1):
        page.locator(f"[data-key=box-{number + 1}]").click(position={"x": 8, "y": 60})
        person = people[number]
        assert page.locator("article h3").first.inner_text() == f"Person {number + 1}"
        assert page.locator("article blockquote").inner_text() == person["description"]
        shown = shown_labels(page)
        assert highest(person, 6).items() <= shown.items()
        assert set(person["above"]) <= set(shown)
        assert page.locator(f"[data-key=person-{number + 1}]").get_attribute("aria-pressed") == "true"
        valence = f"{10 * person['dimensions']['valence']:.1f} of 10"
        assert valence in page.locator("dl.dimensions").inner_text()
    page.get_by_role("button", name="Show all 26 labels").click()
    assert shown_labels(page) == highest(people[1], 26)
    page.locator("[data-key=person-1]").click()
    assert page.locator("article h3").first.inner_text() == "Person 1"


def test_the_boxes_are_where_the_people_are(
    page_service: RunningService, api: httpx2.Client, visit: Visit
) -> None:
    page = visit(page_service.url, width=360)
    choose_example(page)
    for number, person in enumerate(predicted(api, draw_example(TWO_PEOPLE)), start=1):
        drawn = page.locator(f"[data-key=box-{number}]").bounding_box()
        assert drawn is not None
        left, top, right, bottom = person["box"]
        assert (drawn["x"], drawn["y"]) == pytest.approx(place_of(page, left, top), abs=1)
        end = drawn["x"] + drawn["width"], drawn["y"] + drawn["height"]
        assert end == pytest.approx(place_of(page, right, bottom), abs=1)


def test_a_box_is_drawn_moved_and_resized_by_mouse(
    page_service: RunningService, api: httpx2.Client, visit: Visit
) -> None:
    page = visit(page_service.url)
    choose_example(page)
    page.get_by_role("button", name="Draw a box").click()
    drag(page, (40, 80), (140, 250))
    page.locator("article h3", has_text="Person 3").wait_for()
    page.locator("article .conclusion").wait_for()
    box = shown_box(page)
    assert box == pytest.approx([40, 80, 140, 250], abs=1)
    (person,) = predicted(api, draw_example(TWO_PEOPLE), [box])
    assert highest(person, 6).items() <= shown_labels(page).items()

    drag(page, (90, 160), (110, 150))  # the middle moves it
    page.locator("article .conclusion").wait_for()
    moved = shown_box(page)
    assert moved == pytest.approx([60, 70, 160, 240], abs=2)
    drag(page, (moved[2], moved[3]), (200, 280))  # a corner resizes it
    page.locator("article .conclusion").wait_for()
    resized = shown_box(page)
    assert resized == pytest.approx([*moved[:2], 200, 280], abs=3)
    (person,) = predicted(api, draw_example(TWO_PEOPLE), [resized])
    assert highest(person, 6).items() <= shown_labels(page).items()
    page.get_by_role("button", name="Remove this box").click()
    assert page.locator(".overlay .box").count() == 2


def test_everything_works_by_keyboard(page_service: RunningService, api: httpx2.Client, visit: Visit) -> None:
    page = visit(page_service.url)
    tab_to(page, page.locator("#example-list button").first)
    page.keyboard.press("Enter")
    page.locator("article .conclusion").wait_for()

    tab_to(page, page.locator("[data-key=box-2]"))
    page.keyboard.press("Enter")
    assert page.locator("article h3").first.inner_text() == "Person 2"
    tab_to(page, page.locator("[data-key=draw]"))
    page.keyboard.press("Enter")
    box = page.locator("[data-key=box-3]")
    assert box.evaluate("element => element === document.activeElement")
    start = shown_box(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    for _ in range(2):
        page.keyboard.press("Shift+ArrowDown")
    page.keyboard.press("Shift+ArrowLeft")
    step = 3  # pixels, 1 % of 288
    changes = (step, -step, step - step, -step + 2 * step)
    expected = [edge + change for edge, change in zip(start, changes, strict=True)]
    assert shown_box(page) == expected
    assert "not read yet" in page.locator("article").inner_text()
    assert box.evaluate("element => element === document.activeElement")
    page.keyboard.press("Enter")
    page.locator("article .conclusion").wait_for()
    (person,) = predicted(api, draw_example(TWO_PEOPLE), [expected])
    assert highest(person, 6).items() <= shown_labels(page).items()
    assert box.evaluate("element => element === document.activeElement")
    page.keyboard.press("Delete")
    assert page.locator(".overlay .box").count() == 2
    assert page.locator("[data-key=draw]").evaluate("element => element === document.activeElement")


def test_a_box_stays_in_the_photo(page_service: RunningService, visit: Visit) -> None:
    page = visit(page_service.url)
    choose_example(page)
    page.locator("[data-key=draw]").focus()
    page.keyboard.press("Enter")
    for key in ("ArrowLeft", "ArrowUp"):
        for _ in range(60):
            page.keyboard.press(key)
    left, top, right, bottom = shown_box(page)
    assert (left, top) == (0, 0)
    for key in ("Shift+ArrowLeft", "Shift+ArrowUp"):
        for _ in range(80):
            page.keyboard.press(key)
    left, top, right, bottom = shown_box(page)
    assert (left, top) == (0, 0)
    assert 0 < right < 20
    assert 0 < bottom < 20


def test_a_box_is_typed(page_service: RunningService, api: httpx2.Client, visit: Visit) -> None:
    page = visit(page_service.url)
    choose_example(page)
    page.get_by_role("button", name="Draw a box").click()
    for edge, value in enumerate((150, 20, 280, 270)):
        page.locator(f"#edge-{edge}").fill(str(value))
    page.get_by_role("button", name="Read this box").click()
    page.locator("article .conclusion").wait_for()
    (person,) = predicted(api, draw_example(TWO_PEOPLE), [[150, 20, 280, 270]])
    assert highest(person, 6).items() <= shown_labels(page).items()


@pytest.mark.slow
def test_why_shows_places_words_and_what_if(page_service: RunningService, visit: Visit) -> None:
    page = visit(page_service.url)
    choose_example(page)
    with page.expect_response("**/v1/explain", timeout=120_000) as caught:
        page.locator("[data-key=explain]").click()
        page.locator(".why .progress").wait_for()
    explanation = caught.value.json()["explanation"]
    page.locator("table.ifs").wait_for()
    assert page.locator("[data-key=why]").evaluate("element => element === document.activeElement")

    (first, *_) = explanation["labels"]
    assert (
        page.locator(".why .choices")
        .first.locator("[aria-pressed=true]")
        .inner_text()
        .startswith(first["label"])
    )
    assert color_of_the_strongest_cell(page, first["occlusion"]["values"]) > 20
    assert page.locator("blockquote.words").inner_text() == explanation["description"]
    rows = page.locator("table.ifs tbody tr").all_inner_texts()
    assert len(rows) == 1 + len(explanation["counterfactuals"])
    for row, item in zip(rows[1:], explanation["counterfactuals"], strict=True):
        assert f"{item['scores'][first['label']]:.2f}" in row
    # The service counts people from 0, and the page from 1.
    assert any("the box on person 2" in row for row in rows)

    second = explanation["labels"][1]["label"]
    page.locator(".why .choices").first.get_by_role("button", name=second).click()
    assert f"Score of {second}" in page.locator("table.ifs").inner_text()
    page.locator("#explained").select_option(label="Fear")
    with page.expect_response("**/v1/explain", timeout=120_000) as caught:
        page.get_by_role("button", name="Explain again").click()
    assert [item["label"] for item in caught.value.json()["explanation"]["labels"]] == ["Fear"]
    page.locator("table.ifs", has_text="Score of Fear").wait_for()


def color_of_the_strongest_cell(page: Page, values: list[list[float]]) -> int:
    """How much more orange, or blue, than gray the map is in the middle of its strongest cell."""
    cells = [
        (abs(value), row, column) for row, line in enumerate(values) for column, value in enumerate(line)
    ]
    _, row, column = max(cells)
    place = [(column + 0.5) / len(values[0]), (row + 0.5) / len(values)]
    red, _, blue, _ = page.locator(".map canvas").evaluate(
        """(canvas, [x, y]) => [
            ...canvas.getContext("2d").getImageData(x * canvas.width, y * canvas.height, 1, 1).data,
        ]""",
        place,
    )
    difference: int = red - blue if values[row][column] > 0 else blue - red
    return difference


# --- Ways in -------------------------------------------------------------------------------------------


def upload(page: Page, *photos: tuple[str, bytes]) -> None:
    files: list[FilePayload] = [
        {"name": name, "mimeType": "image/png", "buffer": content} for name, content in photos
    ]
    page.set_input_files("#files", files)


def test_a_photo_is_uploaded(page_service: RunningService, api: httpx2.Client, visit: Visit) -> None:
    page = visit(page_service.url)
    photo = draw_example(2)
    upload(page, ("<i>me</i>.png", photo))
    page.locator("article .conclusion").wait_for()
    (person,) = predicted(api, photo)
    assert page.locator("article blockquote").inner_text() == person["description"]
    assert page.locator("figcaption").inner_text() == "<i>me</i>.png, 288 × 288 pixels"  # noqa: RUF001
    page.locator("#status", has_text="1 person").wait_for(state="attached")
    page.get_by_role("button", name="Remove photo").click()
    assert not page.locator("#desk").is_visible()
    assert page.locator("#files").evaluate("element => element === document.activeElement")


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_photo_is_dropped_or_pasted(page_service: RunningService, visit: Visit, event: str) -> None:
    page = visit(page_service.url)
    page.evaluate(
        """([event, text]) => {
            const data = new DataTransfer();
            const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
            data.items.add(new File([bytes], "in.png", { type: "image/png" }));
            const init = { bubbles: true, cancelable: true };
            document.body.dispatchEvent(event === "drop"
                ? new DragEvent("drop", { ...init, dataTransfer: data })
                : new ClipboardEvent("paste", { ...init, clipboardData: data }));
        }""",
        [event, base64.b64encode(draw_example(2)).decode()],
    )
    page.locator("article .conclusion").wait_for()
    assert re.match("in.png, 288", page.locator("figcaption").inner_text())


def test_an_address_that_is_dropped_is_not_opened(page_service: RunningService, visit: Visit) -> None:
    page = visit(page_service.url)
    page.evaluate(
        """() => {
            const data = new DataTransfer();
            data.setData("text/uri-list", "http://127.0.0.1:9/photo.png");
            document.body.dispatchEvent(new DragEvent("drop", { bubbles: true, dataTransfer: data }));
        }"""
    )
    assert "are not opened" in page.locator("#start-error").inner_text()
    assert page.url == f"{page_service.url}/"


def test_a_photo_that_fails_costs_the_others_nothing(page_service: RunningService, visit: Visit) -> None:
    page = visit(page_service.url)
    upload(page, ("a.png", draw_example(2)), ("b.png", b"this is text"), ("c.png", draw_example(0)))
    page.locator("#photo-list", has_text="2 people").wait_for()
    page.locator("#photo-list", has_text="failed").wait_for()
    names = page.locator("#photo-list button").all_inner_texts()
    assert [text.split("\n")[-1].strip() for text in names] == ["1 person", "failed", "2 people"]
    page.locator("#photo-list button").nth(1).click()
    alert = page.locator("#result .alert").inner_text()
    assert "The photo cannot be read as an image" in alert
    assert len(alert.strip().splitlines()) >= 2  # a message, and what to do
    assert "Try again" not in alert
    page.locator("#photo-list button").nth(2).click()
    page.locator("article .conclusion").wait_for()
    assert page.locator(".overlay .box").count() == 2
