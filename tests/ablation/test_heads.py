"""Ablations whose variants learn different outputs."""

from pathlib import Path

import pytest

from mien.cli import main


@pytest.mark.parametrize("metric", [None, "mAP"])
def test_variants_without_a_common_metric_are_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], metric: str | None
) -> None:
    base = tmp_path / "base.toml"
    base.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\noptions = { train = 10, val = 6, test = 6 }\n'
        '[model]\nfusion = "image_only"\nwidth = 16\nheads = 2\n'
        '[train]\nepochs = 1\n[evaluate]\nmetrics = ["mAP", "vad_mae"]\nbootstrap = 20\n'
    )
    grid = tmp_path / "heads.toml"
    named = "" if metric is None else f'metric = "{metric}"\n'
    grid.write_text(
        f'name = "heads"\nbase = "base.toml"\nreference = "labels"\nseeds = [0]\n{named}'
        '[variants.labels]\nset = ["train.heads=labels"]\n'
        '[variants.dimensions]\nset = ["train.heads=dimensions"]\n'
    )
    assert main(["ablate", str(grid), "--out", str(tmp_path / "out")]) == 2
    assert "in common" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
