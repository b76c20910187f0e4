"""Stored explanations on a page."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.factories.html_pages import read_page
from tests.report.conftest import make_demo_run

from mien.evaluate.explanations.heat_map import HeatMap
from mien.evaluate.explanations.stored import ExplainedLabel, ExplainedPerson, Explanations
from mien.evaluate.results.examples import examples_file, read_examples
from mien.evaluate.scores import SplitScores, scores_file
from mien.report.explained import why
from mien.report.photos import Photo
from mien.report.run.gallery import best_and_worst_rows
from mien.report.run.page import write_report

_TEXT = "a calm, calm day"
_MAP = HeatMap(method="occlusion", values=np.array([[0.4, -0.2]]))


def _person(id: str = "a", **changes: object) -> ExplainedPerson:
    fields: dict[str, object] = {
        "label": "Glad",
        "score": 0.75,
        "words": ((2, 7, 0.4), (8, 12, -0.3), (13, 16, 0.01)),
        "maps": (_MAP, HeatMap(method="attention", values=np.array([[0.5, 0.5]]))),
        "warnings": ("attention of regions is not faithful",),
        **changes,
    }
    label = ExplainedLabel(**fields)  # type: ignore[arg-type]  # by name
    return ExplainedPerson(id=id, description=_TEXT, labels=(label,), notes=("a note",))


def _gray() -> Photo:
    return Photo(Image.new("RGB", (100, 50), (128, 128, 128)))


def test_words_are_colored_by_what_hiding_them_does() -> None:
    (label,) = why(_person(), _gray(), max_side=200).labels
    assert "".join(part.text for part in label.parts) == _TEXT
    assert [(part.text, part.kind, part.change) for part in label.parts if part.kind] == [
        ("calm,", "for", "hidden: \N{MINUS SIGN}0.400"),
        ("calm", "against", "hidden: +0.300"),
    ]
    assert label.warnings == ("Attention of regions is not faithful.",)


@pytest.mark.parametrize("words", [((0, 99, 0.5),), ((5, 3, 0.5),), ((-3, 2, 0.5),), ()])
def test_words_that_do_not_fit_into_the_description_are_left_out(
    words: tuple[tuple[int, int, float], ...],
) -> None:
    (label,) = why(_person(words=words), _gray(), max_side=200).labels
    assert "".join(part.text for part in label.parts) == _TEXT
    assert not [part for part in label.parts if part.kind]


def test_maps_are_drawn_on_the_photo_that_the_page_may_show() -> None:
    (label,) = why(_person(), _gray(), max_side=240).labels
    first, second = label.maps
    assert "drops by 0.40" in first.caption
    assert "Attention" in second.caption
    data = base64.b64decode(first.image.removeprefix("data:image/jpeg;base64,"))
    drawn = np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(int)
    assert max(drawn.shape) == 240
    assert drawn[60, 30, 0] > drawn[60, 30, 2] + 40  # orange at the left
    assert drawn[60, 220, 2] > drawn[60, 220, 0] + 15  # blue at the right
    assert len(why(_person(), _gray(), max_side=240, max_maps=1).labels[0].maps) == 1


def test_without_a_photo_there_are_words_and_captions() -> None:
    (label,) = why(_person(), Photo(None, reason="left out"), max_side=200).labels
    assert {drawn.image for drawn in label.maps} == {""}
    assert all(drawn.caption for drawn in label.maps)


def test_a_report_shows_stored_explanations_in_cards_and_in_the_browser(tmp_path: Path) -> None:
    run = make_demo_run(tmp_path / "run", 12, (0,))
    scores = SplitScores.load(scores_file(run, "test"))
    examples = {example.id: example for example in read_examples(examples_file(run, "test"))}
    best, worst = best_and_worst_rows(scores, examples, 1)
    people = tuple(
        ExplainedPerson(
            id=scores.ids[row],
            description=examples[scores.ids[row]].description,
            labels=_person(words=((0, 3, 0.4),)).labels,
            notes=(),
        )
        for row in (*best, *worst)
    )
    plain = read_page(write_report(run))
    assert "Why" not in plain.text
    assert not [a for tag, a in plain.tags if tag == "input"]
    Explanations(split="test", model="", people=people).save(run)
    page = read_page(write_report(run))
    assert page.text.count("Why Glad 0.75") == 4  # two cards, two people in the browser
    explained = [a for tag, a in page.tags if tag == "article" and " why" in (a.get("class") or "")]
    assert len(explained) == 2
    assert sum(tag == "img" for tag, _ in page.tags) - sum(tag == "img" for tag, _ in plain.tags) == 2 * 2 + 2
    assert [a for tag, a in page.tags if tag == "input" and a.get("type") == "checkbox"]
    without = read_page(write_report(run, photos="none"))
    assert without.image_sources() == []
    assert without.text.count("Why Glad 0.75") == 4
