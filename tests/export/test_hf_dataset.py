"""Predictions as a folder for `datasets`: the rows, the features, the card, and that no image gets out."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from huggingface_hub import DatasetCard
from PIL import Image
from pyarrow import parquet
from tests.export.conftest import Exported

from mien.cli import main
from mien.data.open import open_dataset
from mien.data.playhouse import Playhouse
from mien.errors import DataError, RunError, UsageError
from mien.export.hf_dataset import write_dataset
from mien.export.predictions import PredictedPerson, Predictions, read_predictions
from mien.labels import EMOTIC
from mien.predict.predictor import Predictor
from mien.recipe import DataOptions
from mien.types import DIMENSIONS, Box, ImageRef, Target
from mien.workflow.experiment import load_experiment

TEST = "data/test-00000-of-00001.parquet"


@pytest.fixture(autouse=True)
def same_cache(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.images))


def export(source: Path, out: Path, *options: str) -> None:
    assert main(["data", "export", str(source), "--out", str(out), *options]) == 0


def rows_of(file: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = parquet.read_table(file).to_pylist()
    return rows


def features_of(file: Path) -> Mapping[str, Any]:
    features: Mapping[str, Any] = json.loads(parquet.read_schema(file).metadata[b"huggingface"])["info"][
        "features"
    ]
    return features


def header_of(folder: Path) -> Any:
    return DatasetCard.load(folder / "README.md").data


def names(indices: list[int]) -> list[str]:
    return [EMOTIC.labels[index] for index in indices]


# --- A run ---------------------------------------------------------------------------------------------


def test_rows_are_the_predictions_of_the_run_with_every_annotator(exported: Exported, tmp_path: Path) -> None:
    export(exported.run, tmp_path / "out", "--split", "test")
    rows = rows_of(tmp_path / "out" / TEST)
    experiment = load_experiment(exported.run, cache=exported.images / "mien")
    samples = experiment.samples("test")
    predictor = Predictor.from_pretrained(exported.run, device="cpu")
    dataset = experiment.dataset
    assert isinstance(dataset, Playhouse)
    predicted = predictor.predict([sample.subject for sample in samples])
    for index, (row, sample, prediction) in enumerate(zip(rows, samples, predicted, strict=True)):
        (box,) = sample.subject.boxes
        assert box is not None
        assert (row["id"], row["box"]) == (sample.subject.id, list(box.as_tuple()))
        assert prediction.description is not None
        assert row["description"] == prediction.description.text
        assert (row["prompt_id"], row["finish"]) == ("paper", "stop")
        assert row["engine"] == prediction.description.engine
        assert row["predicted_scores"] == pytest.approx(dict(prediction.scores), abs=1e-5)
        assert row["predicted_dimensions"] == pytest.approx(dict(prediction.dimensions or {}), abs=1e-5)
        assert prediction.thresholds is not None
        assert set(names(row["predicted_labels"])) == set(prediction.above(prediction.thresholds))
        assert sample.target is not None
        assert set(names(row["labels"])) == set(sample.target.labels)
        assert row["dimensions"] == pytest.approx(dict(sample.target.dimensions or {}), abs=1e-6)
        answers = dataset.scene("test", index)[1]
        assert len(answers) == len(row["annotators"]) == 3
        for own, answer in zip(row["annotators"], answers, strict=True):
            assert set(names(own["labels"])) == set(answer.labels)
            assert [10 * own[name] for name in DIMENSIONS] == pytest.approx(list(answer.dimensions or ()))


def test_nothing_of_the_machine_and_no_image_is_in_the_folder(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(exported.run, tmp_path / "out", "--json")
    printed = capsys.readouterr()
    table = json.loads(printed.out)
    assert (table["people"], table["images"], table["left_out"]) == ({"test": 6, "val": 8}, 0, 0)
    for file in (tmp_path / "out").rglob("*.*"):
        content = file.read_bytes()
        assert str(exported.images).encode() not in content, file
        assert b"\x89PNG" not in content
        assert str(exported.run).encode() not in content
    row = rows_of(tmp_path / "out" / TEST)[0]
    assert row["image_path"] == "00000.png"
    assert "image" not in row
    card = (tmp_path / "out" / "README.md").read_text()
    assert "This folder contains no images, only their names." in card
    assert "contains images" not in printed.err


def test_images_are_in_the_folder_only_on_request(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    export(exported.run, tmp_path / "out", "--images", "--split", "test")
    printed = capsys.readouterr()
    assert "contains images; check their terms before you pass it on (Apache-2.0)" in printed.err
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**This folder contains 6 images.**" in card
    samples = load_experiment(exported.run, cache=exported.images / "mien").samples("test")
    for row, sample in zip(rows_of(tmp_path / "out" / TEST), samples, strict=True):
        found = np.asarray(Image.open(io.BytesIO(row["image"]["bytes"])))
        expected = np.asarray(Image.open(sample.subject.images[0].path).convert("RGB"))
        assert np.array_equal(found, expected), "the photo as it is, without a mark"
        assert row["image"]["path"] == sample.subject.images[0].path.name


def test_the_card_says_apparent_and_leaves_the_license_to_its_reader(
    exported: Exported, tmp_path: Path
) -> None:
    export(exported.run, tmp_path / "out")
    header = header_of(tmp_path / "out")
    assert header.license == "other"
    assert header.size_categories == ["n<1K"]
    assert "apparent-emotion" in header.tags
    (config,) = header.configs
    for entry in config["data_files"]:
        assert len(list((tmp_path / "out").glob(entry["path"]))) == 1
    assert [entry["split"] for entry in config["data_files"]] == ["test", "val"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**apparent** emotion" in card
    assert "choose a license before you pass this on" in card
    assert "Scores are calibrated" in card
    assert "numbers say nothing about real photographs" in card
    for column in rows_of(tmp_path / "out" / TEST)[0]:
        assert f"| `{column}` |" in card


def test_datasets_loads_the_folder(exported: Exported, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is an oracle for development")
    export(exported.run, tmp_path / "out", "--images")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert {split: len(people) for split, people in loaded.items()} == {"test": 6, "val": 8}
    features = loaded["test"].features
    assert features["labels"].feature.names == list(EMOTIC.labels)
    assert isinstance(features["image"], datasets.Image)
    own = features_of(tmp_path / "out" / TEST)
    assert datasets.Features.from_dict(dict(own)) == features
    assert features.arrow_schema.equals(parquet.read_schema(tmp_path / "out" / TEST))
    for found, row in zip(loaded["test"], rows_of(tmp_path / "out" / TEST), strict=True):
        assert found["image"].size == (288, 288)
        assert {**found, "image": None} == {**row, "image": None}


def test_mien_reads_the_folder_as_a_manifest(exported: Exported, tmp_path: Path) -> None:
    export(exported.run, tmp_path / "out", "--images")
    extra = [
        "image_path",
        "frame",
        "label_scores",
        "annotators",
        "description",
        "prompt_id",
        "engine",
        "finish",
    ]
    extra += ["predicted_scores", "predicted_labels", "predicted_dimensions"]
    options = DataOptions(name="manifest", root=tmp_path / "out", options={"ignore": extra})  # type: ignore[dict-item]
    dataset = open_dataset(options, cache=tmp_path / "cache")
    assert dataset.splits == ("test", "val")
    samples = load_experiment(exported.run, cache=exported.images / "mien").samples("test")
    for own, sample in zip(dataset.samples("test"), samples, strict=True):
        assert own.subject.id == sample.subject.id
        assert own.subject.boxes == sample.subject.boxes
        assert own.target is not None
        assert sample.target is not None
        assert own.target.labels == sample.target.labels
        assert own.target.dimensions == pytest.approx(dict(sample.target.dimensions or {}))


def test_a_dataset_that_is_not_here_leaves_annotators_out_and_says_so(
    exported: Exported, tmp_path: Path
) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["recipe"]["data"].update(name="emotic", options={})
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "descriptions.sqlite").unlink()
    found = read_predictions(run, cache=tmp_path / "cache")
    assert len(found.notes) == 3
    assert "answers of single annotators are left out: data.root is not set for emotic" in found.notes[0]
    assert "were fitted to split val, so they look better there" in found.notes[1]
    assert "Prompt and engine of the descriptions are not known" in found.notes[2]
    write_dataset(found, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / TEST)
    assert {(row["annotators"], row["prompt_id"], row["engine"]) for row in rows} == {(None, None, None)}
    assert all(row["description"] for row in rows)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "non-commercial research and education" in card
    assert "are left out" in card


def test_what_a_run_does_not_have_is_an_error(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words, code, message in (
        (["--split", "train"], 4, "no scores of the split 'train'"),
        (["--option", "seed=3"], 2, "a run has the options of its dataset"),
    ):
        assert main(["data", "export", str(exported.run), "--out", str(tmp_path / "out"), *words]) == code
        assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_run_without_scores_is_an_error(exported: Exported, tmp_path: Path) -> None:
    run = Path(shutil.copytree(exported.run, tmp_path / "run"))
    for file in run.glob("scores-*"):
        file.unlink()
    with pytest.raises(RunError, match="has no scores"):
        read_predictions(run, cache=tmp_path)
    with pytest.raises(DataError, match="is not an empty folder"):
        write_dataset(read_predictions(exported.run, cache=exported.images / "mien"), run)


def test_recipes_and_datasets_are_exported_as_lines(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "x.jsonl")
    assert main(["data", "export", str(exported.recipe), "--out", out]) == 2
    assert "give one: --split test" in capsys.readouterr().err
    assert main(["data", "export", "playhouse", "--split", "test", "--out", out, "--images"]) == 2
    assert "--images is of a run or a file of predictions" in capsys.readouterr().err
    export(exported.recipe, tmp_path / "x.jsonl", "--split", "test")
    assert len((tmp_path / "x.jsonl").read_text().splitlines()) == 6


# --- A file of `mien predict` --------------------------------------------------------------------------


@pytest.fixture
def photos(exported: Exported, tmp_path: Path) -> Path:
    """Two photos, and a file that is none."""
    folder = tmp_path / "home-of-the-user" / "photos"
    folder.mkdir(parents=True)
    for image in sorted(exported.images.rglob("test/*.png"))[:2]:
        shutil.copy(image, folder)
    (folder / "broken.png").write_bytes(b"no image")
    return folder


@pytest.mark.parametrize("suffix", ["jsonl", "parquet"])
def test_a_file_of_predictions_becomes_a_folder(
    exported: Exported, photos: Path, tmp_path: Path, suffix: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / f"mine.{suffix}"
    words = ["predict", str(photos), "--run", str(exported.run), "--detector", "whole", "--out", str(file)]
    assert main(words) == 3
    capsys.readouterr()
    export(file, tmp_path / "out", "--images", "--json")
    assert json.loads(capsys.readouterr().out)["left_out"] == 1
    rows = rows_of(tmp_path / "out" / "data" / "predictions-00000-of-00001.parquet")
    assert [row["id"] for row in rows] == ["00000.png#0", "00001.png#0"]
    assert b"home-of-the-user" not in (tmp_path / "out" / "README.md").read_bytes()
    predictor = Predictor.from_pretrained(exported.run, device="cpu")
    for row in rows:
        assert (row["labels"], row["dimensions"], row["annotators"], row["prompt_id"]) == (None,) * 4
        path = photos / row["image_path"]
        assert np.array_equal(
            np.asarray(Image.open(io.BytesIO(row["image"]["bytes"]))),
            np.asarray(Image.open(path).convert("RGB")),
        )
        (person,) = predictor(path)
        assert row["predicted_scores"] == pytest.approx(dict(person.scores), abs=1e-6)
        assert row["description"] == (person.description.text if person.description else None)
    assert "does not say which prompt" in (tmp_path / "out" / "README.md").read_text()


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("a,b\n")
    with pytest.raises(UsageError, match="neither a run nor a file of predictions"):
        read_predictions(tmp_path / "x.csv", cache=tmp_path)
    for name, content in {
        "torn.jsonl": '{"source": "a.jpg"',
        "other.jsonl": '{"image": "a.jpg", "labels": ["Peace"]}\n',
        "list.jsonl": "[1]\n",
        "no.parquet": "PAR1",
    }.items():
        (tmp_path / name).write_text(content)
        with pytest.raises(DataError, match="is not a file of predictions"):
            read_predictions(tmp_path / name, cache=tmp_path)
    with pytest.raises(DataError, match="no file"):
        read_predictions(tmp_path / "gone.jsonl", cache=tmp_path)
    (tmp_path / "empty.jsonl").write_text("")
    with pytest.raises(DataError, match="has no person with scores"):
        read_predictions(tmp_path / "empty.jsonl", cache=tmp_path)
    with pytest.raises(UsageError, match="has no splits"):
        read_predictions(tmp_path / "empty.jsonl", cache=tmp_path, splits=["test"])


# --- The folder ----------------------------------------------------------------------------------------


def person(folder: Path, id: str, frames: int = 1) -> PredictedPerson:
    images = []
    for index in range(frames):
        images.append(folder / f"{id}-{index}.png")
        Image.new("RGB", (8, 6), (index, 2, 3)).save(images[-1])
    return PredictedPerson(
        id=id,
        images=tuple(ImageRef(path=path) for path in images),
        names=tuple(path.name for path in images),
        boxes=(Box(left=1, top=1, right=4, bottom=5), *[None] * (frames - 1)),
        target=Target(labels={"calm": 0.6, "tense": 0.4}),
        annotators=(Target(labels={"calm": 1.0}), Target(labels={"tense": 1.0})),
        scores={"calm": 0.75, "tense": 0.25},
        above=("calm",),
        dimensions=None,
        description="words",
        origin=None,
    )


def test_clips_have_lists(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="datasets is an oracle for development")
    people = [person(tmp_path, "one", 2), person(tmp_path, "two", 2)]
    found = Predictions(name="clips", labels=("calm", "tense"), people={"test": people})
    written = write_dataset(found, tmp_path / "out", images=True)
    assert (written.images, written.splits) == (4, {"test": 2})
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"), split="test")
    row = loaded[0]
    assert [image.getpixel((0, 0)) for image in row["images"]] == [(0, 2, 3), (1, 2, 3)]
    assert row["boxes"] == [[1.0, 1.0, 4.0, 5.0], None]
    assert row["image_paths"] == ["one-0.png", "one-1.png"]
    assert row["frames"] == [None, None]


def test_soft_answers_keep_their_shares(tmp_path: Path) -> None:
    found = Predictions(name="soft", labels=("calm", "tense"), people={"test": [person(tmp_path, "one")]})
    write_dataset(found, tmp_path / "out")
    (row,) = rows_of(tmp_path / "out" / TEST)
    assert row["labels"] == [0], "from one half on"
    assert row["label_scores"] == {"calm": 0.6, "tense": 0.4}
    assert [own["labels"] for own in row["annotators"]] == [[0], [1]]


def test_many_people_are_split_over_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.export.hf_dataset._PER_FILE", 3)
    people = [replace(person(tmp_path, "one"), id=str(index)) for index in range(7)]
    write_dataset(
        Predictions(name="many", labels=("calm", "tense"), people={"test": people}), tmp_path / "out"
    )
    files = sorted((tmp_path / "out" / "data").iterdir())
    assert [file.name for file in files] == [f"test-{number:05d}-of-00003.parquet" for number in range(3)]
    assert [row["id"] for file in files for row in rows_of(file)] == [str(index) for index in range(7)]


def test_names_of_others_stay_names(tmp_path: Path) -> None:
    """`datasets` refuses a split called "all" and names with other characters; a card is Markdown."""
    name = "x\n---\n# <script>alert(1)</script> [a](http://evil.example)"
    people = {split: [person(tmp_path, "one")] for split in ("all", "a-b", "a_b")}
    written = write_dataset(Predictions(name=name, labels=("calm", "tense"), people=people), tmp_path / "out")
    assert list(written.splits) == ["all_people", "a_b", "a_b_"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert header_of(tmp_path / "out").pretty_name == " ".join(name.split())
    assert "<script>" not in card.partition("\n# ")[2]
    assert r"\[a\](http://evil.example)" in card.partition("\n# ")[2]
    assert "all_people (called all by mien)" in card
    datasets = pytest.importorskip("datasets", reason="datasets is an oracle for development")
    loaded = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == set(written.splits)


def test_a_calibration_of_other_weights_is_refused(exported: Exported, tmp_path: Path) -> None:
    path = exported.run / "calibration.json"
    original = path.read_bytes()
    path.write_text(json.dumps({**json.loads(original), "model": "0" * 64}))
    try:
        with pytest.raises(RunError, match="was fitted to other weights"):
            read_predictions(exported.run, cache=tmp_path)
    finally:
        path.write_bytes(original)
