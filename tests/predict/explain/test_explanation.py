"""What an explanation becomes: JSON, images, a page that runs nothing; and how people are explained."""

from __future__ import annotations

import copy
import json
import pickle
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
from PIL import Image
from tests.factories.chromium import chromium, open_page, serious_faults
from tests.factories.saved_models import calibrate_run

import mien
from mien.cli.render.explanation import render_explanation
from mien.errors import UnknownNameError, UsageError
from mien.evaluate.explanations.heat_map import HeatMap, draw_heat_map
from mien.predict.explain.counterfactuals import Counterfactual, face_area
from mien.predict.explain.curves import Curve, Faithfulness
from mien.predict.explain.explainer import ExplainOptions, explain_subject
from mien.predict.explain.explanation import Explanation, LabelExplanation, NamedLabel, WordImportance
from mien.predict.explain.page import explanation_page, signed
from mien.predict.output.records import from_record, to_record
from mien.predict.predictor import Predictor
from mien.types import Box, ImageRef, Subject

OPTIONS = ExplainOptions(cells=3, random_orders=1, steps=2, top=2)
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


def _faithfulness(method: str, gain: float) -> Faithfulness:
    flat = Curve((0.0, 1.0), (0.5, 0.5))
    return Faithfulness(
        method=method,
        deletion=flat,
        insertion=Curve((0.0, 1.0), (0.5 + gain, 0.5 + gain)),
        random_deletion=flat,
        random_insertion=flat,
        limit=0.1,
    )


@pytest.fixture
def explanation(tmp_path: Path) -> Explanation:
    """Made by hand, with markup in everything that comes from data."""
    Image.new("RGB", (40, 20), (200, 100, 0)).save(tmp_path / "photo.png")
    text = f"{HOSTILE} smiles"
    words = (
        WordImportance(
            word=HOSTILE, start=0, end=len(HOSTILE), occlusion=-0.1, gradient=None, names_label=False
        ),
        WordImportance(
            word="smiles", start=len(text) - 6, end=len(text), occlusion=0.3, gradient=1.0, names_label=False
        ),
    )
    label = LabelExplanation(
        label=HOSTILE,
        score=0.75,
        words=words,
        attention=HeatMap(method="attention", values=np.array([[0.5, 0.5]])),
        occlusion=HeatMap(method="occlusion", values=np.array([[0.4, -0.2]])),
        region_faithfulness=(_faithfulness("occlusion", 0.2), _faithfulness("attention", 0.05)),
    )
    return Explanation(
        source=HOSTILE,
        image=ImageRef(path=tmp_path / "photo.png"),
        person=0,
        box=Box(left=2, top=2, right=20, bottom=18),
        scores={HOSTILE: 0.75, "calm": 0.25},
        description=text,
        labels=(label,),
        attention_shares=None,
        counterfactuals=(
            Counterfactual(kind="no_words", what=HOSTILE, scores={HOSTILE: 0.5, "calm": 0.25}),
            Counterfactual(kind="other_box", what="broken", error=UsageError(HOSTILE)),
        ),
        notes=(HOSTILE,),
    )


# --- Which map leads ---


@pytest.mark.parametrize(
    ("occlusion", "attention", "leading"),
    [(0.2, 0.05, "occlusion"), (0.2, 0.3, "attention"), (0.3, 0.2, "occlusion"), (0.0, 0.05, "occlusion")],
)
def test_attention_leads_only_where_it_is_faithful_and_better(
    explanation: Explanation, occlusion: float, attention: float, leading: str
) -> None:
    measured = (_faithfulness("occlusion", occlusion), _faithfulness("attention", attention))
    item = replace(explanation.labels[0], region_faithfulness=measured)
    assert item.leading is not None
    assert item.leading.method == item.maps[0].method == leading
    assert any("attention of regions is not faithful" in note for note in item.warnings) is (attention < 0.1)
    assert any("occlusion of regions is not faithful" in note for note in item.warnings) is (occlusion < 0.1)


# --- JSON, images, pages ---


def test_json_has_everything_and_is_finite(explanation: Explanation) -> None:
    found = json.loads(explanation.to_json())
    assert found["labels"][0]["leading"] == "occlusion"
    assert found["labels"][0]["occlusion"]["values"] == [[0.4, -0.2]]
    assert found["labels"][0]["region_faithfulness"][1]["is_faithful"] is False
    assert found["counterfactuals"][1]["error"] == HOSTILE
    assert found["scores"][HOSTILE] == 0.75
    assert explanation.to_json() == json.dumps(explanation.to_dict(), ensure_ascii=False)
    json.loads(explanation.to_json(), parse_constant=pytest.fail)


def test_pages_run_nothing_that_came_from_data(explanation: Explanation, tmp_path: Path) -> None:
    files = explanation.save(tmp_path / "out")
    names = sorted(path.name for path in files)
    assert names == sorted(path.name for path in (tmp_path / "out").iterdir())
    assert [name for name in names if name.endswith(".jpg")] == [
        "1-script-alert-1-script-img-src-x-onerror-attention.jpg",
        "1-script-alert-1-script-img-src-x-onerror-occlusion.jpg",
    ]
    page = (tmp_path / "out" / "explanation.html").read_text(encoding="utf-8")
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert set(re.findall(r"<img [^>]*src=\"(.{5})", page)) == {"data:"}
    assert page.count("&lt;script&gt;") > 5
    assert explanation.plot().svg.count("<script") == 0
    assert "Attention of regions is not faithful" in page
    assert page.index("Occlusion:") < page.index("Where the queries looked")  # the leading map is first


def test_every_shown_change_is_negative_where_the_score_falls(explanation: Explanation) -> None:
    naming = NamedLabel(num_mentions=1, bonus=1.0, drop=0.11, drop_of_bonus=0.1)
    named = replace(explanation.labels[0], naming=naming)
    explanation = replace(explanation, labels=(named,))
    page = explanation_page(explanation)
    assert "The largest change is -0.40." in page
    assert 'title="hidden: -0.300; gradient: +1.00 in the logit"' in page
    assert 'title="hidden: +0.100"' in page
    assert "Without the name the score changes by -0.11" in page
    assert "0.50 (-0.25)" in page
    text = render_explanation(explanation)
    assert "words, change of the score while hidden: smiles -0.300, " in text
    assert f"{HOSTILE} 0.50 (-0.25)" in text
    shown = re.findall(r">([+-]\d\.\d+)</text>", explanation.plot().svg)
    assert shown == ["-0.300", "+0.100", "-0.250"]
    assert [signed(change) for change in (0.004, -0.004, -0.006)] == ["0.00", "0.00", "-0.01"]


def test_the_page_begins_with_what_scores_are_and_whether_the_model_is_sure(explanation: Explanation) -> None:
    page = explanation_page(explanation)
    assert page.count("estimates of apparent emotion") == 1
    assert page.index("</h1>") < page.index("estimates of apparent emotion") < page.index("0.75")
    assert "Not sure" not in page
    reason = "the highest score is below 0.800"
    unsure = explanation_page(replace(explanation, unsure_because=reason))
    assert unsure.index(f"<b>Not sure</b>: {reason}.") < unsure.index("0.75")
    assert f"not sure: {reason}" in render_explanation(replace(explanation, unsure_because=reason))
    assert "unsure" not in explanation.to_json()


def test_an_explanation_is_as_sure_as_the_prediction(
    naming_predictor: Predictor, naming_run: Path, subject: Subject, tmp_path: Path
) -> None:
    assert explain_subject(naming_predictor, subject, options=OPTIONS).unsure_because == ""
    calibration = calibrate_run(shutil.copytree(naming_run, tmp_path / "run"))
    for least, reason in ((0.0, ""), (1.0, "the highest score is below 1.000")):
        naming_predictor.calibration = replace(calibration, min_confidence=least)
        (prediction,) = naming_predictor.predict([subject])
        explained = explain_subject(naming_predictor, subject, options=OPTIONS)
        assert explained.unsure_because == prediction.unsure_because == reason


@pytest.mark.parametrize("width", [360, 1100])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(
    explanation: Explanation, tmp_path: Path, scheme: Literal["light", "dark"], width: int
) -> None:
    explanation.save(tmp_path / "out")
    with (
        chromium() as browser,
        open_page(
            browser, tmp_path / "out" / "explanation.html", scripts=True, scheme=scheme, width=width
        ) as (page, events),
    ):
        assert serious_faults(page) == []
        assert (events.dialogs, events.requests) == ([], [])


def test_a_map_is_drawn_in_orange_and_blue(explanation: Explanation) -> None:
    drawn = np.asarray(explanation.draw(HOSTILE, "occlusion")).astype(int)
    left, right = drawn[100, 60], drawn[100, 430]
    assert left[0] > left[2] + 60  # orange: hiding it lowers the score
    assert right[2] > right[0] + 20  # blue
    assert drawn.shape == (240 + 26, 480, 3)
    with pytest.raises(UsageError, match="no map by gradient"):
        explanation.draw(HOSTILE, "gradient")
    with pytest.raises(UnknownNameError):
        explanation.draw("calm")
    flat = HeatMap(method="occlusion", values=np.zeros((2, 2)))
    pale = np.asarray(draw_heat_map(Image.new("RGB", (20, 20)), flat, None, "none"))
    assert len(np.unique(pale[:480])) == 1


def test_the_share_of_a_map_without_information_is_that_of_the_area() -> None:
    mask = np.zeros((20, 40), dtype=bool)
    mask[:, :10] = True
    flat, left = HeatMap(method="attention", values=np.ones((2, 4))), np.zeros((2, 4))
    assert flat.share(mask) == pytest.approx(mask.mean())
    left[:, 0], left[0, 3] = 2.0, -9.0  # what speaks against does not count
    assert HeatMap(method="occlusion", values=left).share(mask) == pytest.approx(1)
    assert np.isnan(HeatMap(method="occlusion", values=-np.ones((2, 2))).share(mask))


def test_the_head_is_in_the_upper_part_of_the_box() -> None:
    head = face_area(Box(left=10, top=20, right=110, bottom=220))
    assert head.as_tuple() == pytest.approx((30, 20, 90, 90))


# --- People ---


def test_people_explain_themselves(naming_predictor: Predictor, subject: Subject) -> None:
    (image,) = subject.images
    boxes = [(4, 4, 24, 28), (26, 2, 46, 30)]
    results = naming_predictor(image.path, boxes=boxes)
    explanation = results[1].explain(["Fear"], options=OPTIONS)
    assert explanation.person == 1
    assert explanation.box == results[1].box
    assert results[1].description is not None
    assert explanation.description == results[1].description.text
    assert list(explanation.scores.values()) == pytest.approx(list(results[1].scores.values()), abs=1e-6)
    moved = next(item for item in explanation.counterfactuals if item.kind == "other_box")
    assert list(moved.scores.values()) == pytest.approx(list(results[0].scores.values()), abs=1e-6)
    assert "Fear" in explanation._repr_html_()
    with Image.open(image.path) as opened:
        pixels = naming_predictor(opened, boxes=boxes)
    again = pixels[1].explain(["Fear"], options=OPTIONS)
    assert list(again.scores.values()) == pytest.approx(list(explanation.scores.values()), abs=1e-6)


def test_a_person_of_another_process_has_no_model(naming_predictor: Predictor, subject: Subject) -> None:
    results = naming_predictor(subject.images[0].path)
    for lost in (pickle.loads(pickle.dumps(results)), from_record(to_record(results))):  # noqa: S301
        assert lost[0].scores == results[0].scores
        with pytest.raises(UsageError, match="was not predicted by this process"):
            lost[0].explain()
    assert copy.deepcopy(results)[0].explainer is results[0].explainer
    failed = replace(results[0], prediction=None, error=UsageError("no engine"))
    with pytest.raises(UsageError, match="no engine"):
        failed.explain()
    zero_shot = mien.Predictor.zero_shot("playhouse", ["calm", "afraid"])
    assert results[0].explainer is not None
    with pytest.raises(UsageError, match="without training"):
        replace(results[0].explainer, predictor=zero_shot).explain(results[0])


def test_an_explained_subject_is_the_same_each_time(naming_predictor: Predictor, subject: Subject) -> None:
    first, second = (explain_subject(naming_predictor, subject, options=OPTIONS) for _ in range(2))
    assert first.to_json() == second.to_json()
    other = explain_subject(naming_predictor, subject, options=replace(OPTIONS, seed=1))
    assert other.labels[0].words == first.labels[0].words
