"""The three recipes, end to end, on drawn scenes in the three official layouts, as commands."""

import importlib
import json
from pathlib import Path

import pytest

from mien.cli import main
from mien.playhouse.layouts.bold import compose, write_bold

ROOT = Path(__file__).parent.parent.parent
FAMILIES = {
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
    # Shorter clips than the release has, for time.
    clips = {split: compose(split, count, 5, num_frames=16) for split, count in counts.items()}
    write_bold(root, clips)


@pytest.mark.parametrize("layout", FAMILIES)
def test_a_recipe_runs_from_the_files_to_the_scores_of_its_papers(
    layout: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    data, out = tmp_path / "data", tmp_path / "run"
    _write(layout, data, {"train": 10, "val": 6, "test": 6})
    changes = [f"data.root={data}", "describe.max_new_tokens=12", "train.epochs=2", "evaluate.bootstrap=40"]
    changes += ["data.options.dev_share=0.4", "data.options.num_frames=3"] if layout == "bold" else []
    recipe = [ROOT / "recipes" / f"{layout}.toml", *(part for one in changes for part in ("--set", one))]
    described = _run(capsys, "describe", *recipe, "--out", out)
    assert described["described"]
    assert not described["failed"]
    _run(capsys, "train", *recipe, "--out", out)
    split, family = FAMILIES[layout]
    rows = _run(capsys, "evaluate", out)["rows"]
    assert isinstance(rows, list)
    assert [(row["split"], row["metric"]) for row in rows] == [(split, name) for name in family]
    for row in rows:
        assert row["low"] <= row["value"] <= row["high"], row
    assert main(["evaluate", str(out)]) == 0
    table = capsys.readouterr().out
    assert "chance" in table
    assert all(name in table for name in family)
    assert main(["report", str(out)]) == 0
