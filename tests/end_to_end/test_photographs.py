"""Every command on real photographs, with the embedded models and with other models given by folder."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories.shared_data import shared
from tests.factories.tiny_clip import build_tiny_clip
from tests.factories.tiny_llava import build_tiny_llava

from mien.cli import main

ROOT = Path(__file__).parents[2]
PHOTOS = str(ROOT / "recipes" / "photos.toml")
TINY_TRAINING = ("train.epochs=2", "model.width=16", "model.heads=2", "evaluate.bootstrap=20")


@pytest.fixture
def photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Overrides that name a few real photographs, in a temporary working directory and cache."""
    manifest = shared("emotic-photos") / "manifest.jsonl"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = "data.options={ val_share = 0.2, limit = 14 }"
    return [f"data.root={manifest}", options, *TINY_TRAINING]


@pytest.fixture
def tiny_models(tmp_path: Path) -> list[str]:
    """Overrides that name a tiny random LLaVA, CLIP and the real BERT vocabulary, by folder."""
    clip = build_tiny_clip(tmp_path / "clip")
    (tmp_path / "bert").mkdir()
    shutil.copyfile(shared("tokenizers", "bert-base-uncased", "vocab.txt"), tmp_path / "bert" / "vocab.txt")
    llava = build_tiny_llava(tmp_path / "llava")
    return [
        f"describe.model={llava}",
        f"features.vision={clip}",
        f"features.tokenizer={tmp_path / 'bert'}",
    ]


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """run("train", ...) -> the JSON that the command prints; it must succeed."""

    def command(*arguments: str) -> dict[str, Any]:
        code = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        document: dict[str, Any] = json.loads(out)
        assert document["schema"] == 1
        return document | {"stderr": err}

    return command


def _set_options(overrides: list[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _run_all_commands(run: Run, overrides: list[str], photo: Path) -> dict[str, Any]:
    options = [*_set_options(overrides), "--out", "run"]
    first = run("describe", PHOTOS, *options, "--set", "describe.max_new_tokens=12")
    options += ["--set", "describe.max_new_tokens=12"]
    assert first["failed"] == 0
    again = run("describe", PHOTOS, *options)
    assert (again["described"], again["already_described"]) == (
        0,
        first["described"] + first["already_described"],
    )
    run("train", PHOTOS, *options)
    rows = run("evaluate", "run")["rows"]
    assert {row["split"] for row in rows} == {"test"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert all(0 < row["chance"] < 1 for row in rows if row["metric"] == "mAP")
    assert Path(run("report", "run")["report"]).is_file()
    prediction = run("predict", str(photo), "--run", "run", "--box", "40,30,200,220")
    assert len(prediction["scores"]) == 26
    assert prediction["description"]
    return first


def test_the_embedded_models_run_on_photographs_with_a_warning(photographs: list[str], run: Run) -> None:
    photo = next(shared("scene-photos", "images").iterdir())
    first = _run_all_commands(run, photographs, photo)
    assert "know only Playhouse" in first["stderr"]
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "Playhouse" in page


def test_other_models_run_without_the_warning(
    photographs: list[str], tiny_models: list[str], run: Run
) -> None:
    photo = next(shared("scene-photos", "images").iterdir())
    first = _run_all_commands(run, [*photographs, *tiny_models], photo)
    assert "Playhouse" not in first["stderr"]


@pytest.mark.parametrize("encoder", ["playhouse", "clip"])
def test_everyone_in_the_photographs_is_scored_next_to_chance(
    photographs: list[str], run: Run, tmp_path: Path, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """These models know no photographs, so only the form of the results is checked."""
    if encoder == "clip":
        encoder = str(build_tiny_clip(tmp_path / "clip"))
    manifest = shared("emotic-photos") / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    options = _set_options([*photographs, "data.options={ val_share = 0.15 }", f"features.vision={encoder}"])
    options += ["--set", "describe.engine=fake", "--set", "describe.model=none", "--out", "run"]
    assert run("describe", PHOTOS, *options)["described"] == len(rows)
    run("train", PHOTOS, *options)
    (scored,) = run("evaluate", "run")["rows"]
    assert (scored["metric"], scored["split"], scored["n"]) == ("mAP", "test", len(test))
    counts = Counter(label for row in test for label in set(row["labels"]))
    # The chance of a random order; with so few people it is above the mean prevalence.
    prevalence = sum(counts.values()) / len(counts) / len(test)
    assert prevalence + 0.01 < scored["chance"] < prevalence + 0.04
    assert 0 < scored["low"] <= scored["value"] <= scored["high"] < 1
    assert main(["evaluate", "run"]) == 0
    head, line = capsys.readouterr().out.splitlines()[:2]
    assert head.split()[-3] == "chance"
    assert line.split()[-3] == f"{scored['chance']:.3f}"
