"""A split with one image, one subject or one class has scores without intervals, and says so."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.attacks.photo_runs import make_run, photo_row, write_recipe

from mien.cli import main
from mien.errors import DataError
from mien.evaluate.results.build import build_difference, build_label_rows, build_score_rows
from mien.evaluate.scores import SplitScores
from mien.labels import BOLD, CAERS, EMOTIC, LabelSet

VAD = {"valence": 0.7, "arousal": 0.3, "dominance": 0.5}
REASON = "note: no intervals on test: it has one image, and an interval comes from resampling images"
TRAINED = [
    photo_row(split, label, **VAD)
    for label in ("Anger", "Peace", "Fear")
    for split in ("train", "train", "val", "val")
]


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def split_scores(label_set: LabelSet, labels: list[str], *, images: list[str] | None = None) -> SplitScores:
    """Random scores of subjects with one label each."""
    lots = np.random.default_rng(0)
    size = (len(labels), len(label_set))
    return SplitScores(
        split="test",
        label_set=label_set,
        ids=tuple(f"id-{row}" for row in range(len(labels))),
        groups=tuple(images or ["same.png"] * len(labels)),
        scores=lots.random(size, dtype=np.float32),
        targets=np.array([label_set.encode([label]) for label in labels], dtype=np.float32),
        dimensions=lots.random((len(labels), 3), dtype=np.float32),
        dimension_targets=np.full((len(labels), 3), 0.5, dtype=np.float32),
    )


@pytest.mark.parametrize("subjects", [1, 2])
def test_every_command_takes_a_run_with_one_test_image(
    subjects: int, capsys: pytest.CaptureFixture[str]
) -> None:
    test = [
        photo_row("test", label, image="one.png", **VAD) for label in ("Anger", "Peace")[:subjects]
    ]  # two people in it
    recipe = write_recipe(Path("data"), [*TRAINED, *test])
    first = make_run(recipe, Path("first"))
    second = make_run(recipe, Path("second"), "model.fusion=image_only")
    assert REASON in capsys.readouterr().out

    assert main(["evaluate", str(first), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["metric"] for row in found["rows"]} == {"mAP", "vad_mae"}
    for row in (*found["rows"], *found["labels"], *found["dimensions"], *found["calibration"]):
        assert row["low"] is row["high"] is None
    assert [row["n"] for row in found["rows"]] == [subjects, subjects]
    sets, intervals = found["notes"]
    assert sets.startswith("no prediction sets: a coverage of 90% needs 9 images")
    assert intervals == REASON.removeprefix("note: ")
    assert found == json.loads((first / "evaluation.json").read_text())

    assert main(["compare", str(first), str(second)]) == 0
    text = capsys.readouterr().out
    assert REASON in text
    assert "includes zero" not in text
    assert main(["report", str(first)]) == 0
    page = (first / "report.html").read_text()
    assert "no 95% interval" in page
    assert "No intervals on test: it has one image" in page

    assert main(["ablate", "data/grid.toml", "--out", "study"]) == 0
    assert REASON in capsys.readouterr().out
    assert "Unknown: there is no interval." in Path("study", "report.html").read_text()


@pytest.mark.parametrize(
    ("label_set", "metrics"),
    [(EMOTIC, {"mAP", "vad_mae"}), (CAERS, {"accuracy", "macro_f1", "vad_mae"}), (BOLD, {"mAP"})],
)
def test_metrics_that_one_subject_does_not_determine_are_omitted(
    label_set: LabelSet, metrics: set[str], caplog: pytest.LogCaptureFixture
) -> None:
    scores = split_scores(label_set, [label_set.labels[0]])
    rows = build_score_rows("one", [scores], seeds=[0])
    assert {row.metric for row in rows} == metrics
    assert all(row.low is row.high is None for row in rows)
    assert all(np.isfinite([row.value, row.chance]).all() for row in rows)
    omitted = [record.getMessage() for record in caplog.records]
    if label_set is BOLD:
        assert "omitted on 'test': mR2 is not defined, no dimension differs between samples" in omitted
    # What remains is not guessed: a metric alone is an error that says why.
    with pytest.raises(DataError, match="mR2 is not defined: no dimension differs"):
        build_score_rows("one", [scores], seeds=[0], metrics=["mR2"])


@pytest.mark.parametrize("label_set", [EMOTIC, CAERS, BOLD])
def test_one_class_in_many_images_has_intervals_where_they_are_defined(label_set: LabelSet) -> None:
    images = [f"{number}.png" for number in range(8)]
    scores = split_scores(label_set, [label_set.labels[3]] * 8, images=images)
    rows = build_score_rows("one", [scores], seeds=[0], resamples=50)
    assert all(row.low is not None and row.low <= row.value for row in rows)
    assert [row.label for row in build_label_rows([scores], resamples=50)] == [label_set.labels[3]]


def test_two_images_may_have_resamples_that_determine_nothing() -> None:
    scores = split_scores(BOLD, list(BOLD.labels[:2]), images=["a.png", "b.png"])
    for seed in range(4):  # some draws are of one image only
        found: list[Any] = [
            *build_score_rows("one", [scores], seeds=[seed], resamples=1),
            *build_label_rows([scores], resamples=1),
            build_difference(("a", [scores]), ("b", [scores]), metric="mAP", resamples=1),
        ]
        assert all((item.low is None) == (item.high is None) for item in found)
