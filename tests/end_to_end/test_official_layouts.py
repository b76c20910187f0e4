"""The three datasets' recipes as commands, end to end, on drawn scenes in the official layouts."""

import importlib
import json
from pathlib import Path

import pytest

from mien.cli import main
from mien.playhouse.layouts.bold import sample_clips, write_bold

ROOT = Path(__file__).parent.parent.parent
METRICS = {
    "emotic": ("test", ["mAP", "vad_mae"]),
    "caers": ("test", ["accuracy", "macro_f1"]),
    "bold": ("val", ["mAP", "mRA", "mR2", "ERS"]),
}


def _run(capsys: pytest.CaptureFixture[str], *arguments: object) -> dict[str, object]:
    assert main([str(argument) for argument in (*arguments, "--json")]) == 0, capsys.readouterr().err
    document: dict[str, object] = json.loads(capsys.readouterr().out)
    return document


def _write(layout: str, root: Path, counts: dict[str, int]) -> None:
    if layout != "bold":
        importlib.import_module(f"mien.playhouse.layouts.{layout}").write(root, **counts, seed=5)
        return
    # Shorter clips than in the release, to save time.
    clips = {split: sample_clips(split, count, 5, num_frames=16) for split, count in counts.items()}
    write_bold(root, clips)


@pytest.mark.parametrize("layout", METRICS)
def test_a_recipe_runs_from_the_files_to_its_metrics(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, out = tmp_path / "data", tmp_path / "run"
    _write(layout, data, {"train": 10, "val": 6, "test": 6})
    overrides = [f"data.root={data}", "describe.max_new_tokens=12", "train.epochs=2", "evaluate.bootstrap=40"]
    overrides += ["data.options.dev_share=0.4", "data.options.num_frames=3"] if layout == "bold" else []
    recipe = [
        ROOT / "recipes" / f"{layout}.toml",
        *(part for override in overrides for part in ("--set", override)),
    ]
    described = _run(capsys, "describe", *recipe, "--out", out)
    assert described["described"]
    assert not described["failed"]
    _run(capsys, "train", *recipe, "--out", out)
    split, metrics = METRICS[layout]
    rows = _run(capsys, "evaluate", out)["rows"]
    assert isinstance(rows, list)
    assert [(row["split"], row["metric"]) for row in rows] == [(split, name) for name in metrics]
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"], row
    assert main(["evaluate", str(out)]) == 0
    table = capsys.readouterr().out
    assert "chance" in table
    assert all(name in table for name in metrics)
    assert main(["report", str(out)]) == 0
