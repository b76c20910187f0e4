"""Every command on real photographs: with the embedded models, and with models of one's own given by
folder."""

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
    """Overrides that name a few real photographs; the working folder and the cache are the test's own."""
    manifest = shared("emotic-photos") / "manifest.jsonl"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    options = "data.options={ val_share = 0.2, limit = 14 }"
    return [f"data.root={manifest}", options, *TINY_TRAINING]


@pytest.fixture
def own_models(tmp_path: Path) -> list[str]:
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
    """run("train", ...) -> what the command printed as JSON; it must end well."""

    def command(*arguments: str) -> dict[str, Any]:
        code = main([*arguments, "--json"])
        out, err = capsys.readouterr()
        assert code == 0, err
        document: dict[str, Any] = json.loads(out)
        assert document["schema"] == 1
        return document | {"stderr": err}

    return command


def _sets(overrides: list[str]) -> list[str]:
    return [part for override in overrides for part in ("--set", override)]


def _whole_way(run: Run, overrides: list[str], photo: Path) -> dict[str, Any]:
    sets = [*_sets(overrides), "--out", "run"]
    first = run("describe", PHOTOS, *sets, "--set", "describe.max_new_tokens=12")
    sets += ["--set", "describe.max_new_tokens=12"]
    assert first["failed"] == 0
    again = run("describe", PHOTOS, *sets)
    assert (again["described"], again["already_described"]) == (
        0,
        first["described"] + first["already_described"],
    )
    run("train", PHOTOS, *sets)
    rows = run("evaluate", "run")["rows"]
    assert {row["split"] for row in rows} == {"test"}
    assert all(row["low"] <= row["value"] <= row["high"] for row in rows)
    assert all(0 < row["chance"] < 1 for row in rows if row["metric"] == "mAP")
    assert Path(run("report", "run")["report"]).is_file()
    (prediction,) = run("predict", str(photo), "--run", "run", "--box", "40,30,200,220")["predictions"]
    assert len(prediction["scores"]) == 26
    assert prediction["description"]
    return first


def test_the_embedded_models_run_on_photographs_and_say_that_they_do_not_know_them(
    photographs: list[str], run: Run
) -> None:
    photo = next(shared("scene-photos", "images").iterdir())
    first = _whole_way(run, photographs, photo)
    assert "know only Playhouse" in first["stderr"]
    page = Path("run/report.html").read_text(encoding="utf-8")
    assert "Playhouse" in page


def test_the_same_commands_with_models_of_ones_own(
    photographs: list[str], own_models: list[str], run: Run
) -> None:
    photo = next(shared("scene-photos", "images").iterdir())
    first = _whole_way(run, [*photographs, *own_models], photo)
    assert "Playhouse" not in first["stderr"]


@pytest.mark.parametrize("encoder", ["playhouse", "clip"])
def test_everybody_in_the_photographs_is_scored_beside_chance(
    photographs: list[str], run: Run, tmp_path: Path, encoder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without models that know photographs nothing is to be learned from them but how it is told."""
    if encoder == "clip":
        encoder = str(build_tiny_clip(tmp_path / "clip"))
    manifest = shared("emotic-photos") / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    test = [row for row in rows if row["split"] == "test"]
    sets = _sets([*photographs, "data.options={ val_share = 0.15 }", f"features.vision={encoder}"])
    sets += ["--set", "describe.engine=fake", "--set", "describe.model=none", "--out", "run"]
    assert run("describe", PHOTOS, *sets)["described"] == len(rows)
    run("train", PHOTOS, *sets)
    (scored,) = run("evaluate", "run")["rows"]
    assert (scored["metric"], scored["split"], scored["n"]) == ("mAP", "test", len(test))
    counts = Counter(label for row in test for label in set(row["labels"]))
    # Of a random order, which so few people raise above the mean prevalence.
    prevalence = sum(counts.values()) / len(counts) / len(test)
    assert prevalence + 0.01 < scored["chance"] < prevalence + 0.04
    assert 0 < scored["low"] <= scored["value"] <= scored["high"] < 1
    assert main(["evaluate", "run"]) == 0
    head, line = capsys.readouterr().out.splitlines()[:2]
    assert head.split()[-3] == "chance"
    assert line.split()[-3] == f"{scored['chance']:.3f}"
