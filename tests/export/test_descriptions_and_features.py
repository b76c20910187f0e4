"""Exports of stage 1: what the describing model saw and wrote, and the features that a training reads."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet
from tests.export.conftest import Exported

from mien.cli import main
from mien.describe.requests import RequestBuilder
from mien.media.images import load_image_file
from mien.workflow.experiment import Experiment, find_texts, open_experiment

NUM_SUBJECTS = 22


@pytest.fixture(autouse=True)
def same_cache(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(exported.images))


def opened(exported: Exported) -> tuple[Experiment, RequestBuilder, dict[str, str]]:
    experiment = open_experiment(exported.recipe, cache=exported.images / "mien", out=exported.run)
    samples = [sample for split in experiment.dataset.splits for sample in experiment.samples(split)]
    return experiment, experiment.open_request_builder(), find_texts(experiment, samples)


def export(exported: Exported, kind: str, out: Path, *options: str) -> None:
    words = ["export", kind, str(exported.recipe), "--run", str(exported.run), "--out", str(out), *options]
    assert main(words) == 0


def test_conversations_have_the_marked_images_the_prompts_and_the_texts(
    exported: Exported, tmp_path: Path
) -> None:
    experiment, builder, texts = opened(exported)
    export(exported, "descriptions", tmp_path / "out", "--format", "sharegpt")
    lines = [json.loads(line) for line in (tmp_path / "out" / "descriptions.jsonl").read_text().splitlines()]
    assert len(lines) == NUM_SUBJECTS
    subjects = {sample.subject.id: sample.subject for sample in experiment.samples("test")}
    for line in (line for line in lines if line["split"] == "test"):
        question, answer = line["conversations"]
        assert (question["from"], answer["from"]) == ("human", "gpt")
        assert answer["value"] == texts[line["id"]]
        assert question["value"].startswith("<image>\nGiven the following list of emotions: Affection, ")
        (name,) = line["images"]
        expected = builder.prepare(builder.build(subjects[line["id"]])).images[0]
        found = Image.open(tmp_path / "out" / name)
        assert np.array_equal(np.asarray(found), np.asarray(expected))
        plain = load_image_file(subjects[line["id"]].images[0].path).image
        assert not np.array_equal(np.asarray(found), np.asarray(plain)), "the person is marked"


def test_shards_and_tables_hold_the_same(exported: Exported, tmp_path: Path) -> None:
    export(exported, "descriptions", tmp_path / "shards", "--format", "webdataset", "--split", "val")
    export(exported, "descriptions", tmp_path / "table", "--split", "val")
    rows = parquet.read_table(tmp_path / "table" / "descriptions.parquet").to_pylist()
    with tarfile.open(tmp_path / "shards" / "000000.tar") as tar:
        members = {member.name: tar.extractfile(member) for member in tar}
        content = {name: file.read() for name, file in members.items() if file is not None}
    assert len(rows) == 8
    assert len(content) == 3 * len(rows)
    for number, row in enumerate(rows):
        about = json.loads(content[f"{number:09d}.json"])
        assert about == {key: value for key, value in row.items() if key != "images"}
        assert content[f"{number:09d}.txt"].decode() == row["text"]
        assert content[f"{number:09d}.png"] == row["images"][0]
    assert "Happiness" not in {key for row in rows for key in row}, "labels are left out"


def test_features_are_those_of_the_training(exported: Exported, tmp_path: Path) -> None:
    experiment, _, _ = opened(exported)
    samples = experiment.samples("train")
    data = experiment.input_builder.build_split("train", samples, experiment.dataset.label_set)
    assert data.images is not None
    expected = data.images.reader.read(np.arange(len(samples)))
    export(exported, "features", tmp_path / "table", "--split", "train")
    export(exported, "features", tmp_path / "shards", "--split", "train", "--format", "webdataset")
    rows = parquet.read_table(tmp_path / "table" / "features.parquet").to_pylist()
    with tarfile.open(tmp_path / "shards" / "000000.tar") as tar:
        for number, (row, sample) in enumerate(zip(rows, samples, strict=True)):
            assert row["id"] == sample.subject.id
            found = np.array(row["features"], np.float16).reshape(row["num_tokens"], row["dim"])
            assert np.array_equal(found, expected[number])
            file = tar.extractfile(f"{number:09d}.npy")
            assert file is not None
            assert np.array_equal(np.load(io.BytesIO(file.read())), expected[number])


def test_wrong_names_are_errors(
    exported: Exported, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "descriptions", str(exported.recipe), "--run", str(exported.run)]
    assert main([*words, "--out", str(tmp_path / "x"), "--format", "csv"]) == 2
    assert "format 'csv'" in capsys.readouterr().err
    assert main([*words, "--out", str(tmp_path / "x"), "--split", "nothing"]) == 4  # as everywhere
    assert "no split 'nothing'" in capsys.readouterr().err
    (tmp_path / "mine.txt").write_text("mine")
    assert main([*words, "--out", str(tmp_path)]) == 4
    assert "is not an empty folder" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_another_spelling_of_a_split_is_understood(exported: Exported, tmp_path: Path) -> None:
    words = [
        "export",
        "descriptions",
        str(exported.recipe),
        "--run",
        str(exported.run),
        "--format",
        "sharegpt",
    ]
    texts = []
    for spelling in ("val", "validation"):
        out = tmp_path / spelling
        assert main([*words, "--out", str(out), "--split", spelling]) == 0
        texts.append((out / "descriptions.jsonl").read_text())
    assert texts[0] == texts[1] != ""
