"""Every command on real photographs: with the embedded models, and with models of one's own given by
folder."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.shared_data import shared
from tests.tiny_llava import build_tiny_llava

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
    import torch
    from transformers import CLIPVisionConfig, CLIPVisionModel

    torch.manual_seed(0)
    config = CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        image_size=24,
        patch_size=6,
    )
    CLIPVisionModel(config).save_pretrained(tmp_path / "clip")
    settings: dict[str, Any] = {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}}
    settings |= {"image_mean": [0.5] * 3, "image_std": [0.25] * 3}
    (tmp_path / "clip" / "preprocessor_config.json").write_text(json.dumps(settings))
    (tmp_path / "bert").mkdir()
    shutil.copyfile(shared("tokenizers", "bert-base-uncased", "vocab.txt"), tmp_path / "bert" / "vocab.txt")
    llava = build_tiny_llava(tmp_path / "llava")
    return [
        f"describe.model={llava}",
        f"features.vision={tmp_path / 'clip'}",
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
