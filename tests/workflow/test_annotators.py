"""Training on the shares of annotators, and one evaluation against the union and the majority."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.cli import main
from mien.evaluate.results.results import EVALUATION, Evaluation, read_results
from mien.evaluate.scores import SplitScores, scores_file


def evaluated(tmp_path: Path, target: str) -> tuple[Path, Evaluation]:
    recipe, run = tmp_path / f"{target}.toml", tmp_path / target
    recipe.write_text(
        'name = "tiny"\n[data]\nname = "playhouse"\n'
        f'options = {{ train = 12, val = 8, test = 30, train_annotators = 3, target = "{target}" }}\n'
        '[model]\nfusion = "image_only"\nwidth = 16\nheads = 2\n[train]\nepochs = 1\nbatch_size = 4\n'
        "[evaluate]\nbootstrap = 20\n"
    )
    assert main(["train", str(recipe), "--out", str(run)]) == 0
    assert main(["evaluate", str(run)]) == 0
    return run, read_results(run / EVALUATION)


def test_a_model_is_rated_on_both_truths_with_any_target(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    results = {}
    for target in ("combined", "soft"):
        run, results[target] = evaluated(tmp_path, target)
        printed = capsys.readouterr().out
        assert "of several annotators" in printed
        assert "mAP, union" in printed
        assert "mAP, majority" in printed
        rows = {(row.metric, row.truth): row for row in results[target].annotators if row.split == "test"}
        assert {truth for _, truth in rows} == {"union", "majority"}
        assert rows["mAP", "union"].chance > rows["mAP", "majority"].chance
        assert {row.annotators for row in rows.values()} == {3.0}
        assert json.loads((run / EVALUATION).read_text())["annotators"]
        if target == "combined":
            main_row = next(row for row in results[target].rows if row.metric == "mAP")
            union = rows["mAP", "union"]
            assert (main_row.value, main_row.low, main_row.high, main_row.chance) == (
                union.value, union.low, union.high, union.chance
            )  # fmt: skip
    scores = SplitScores.load(scores_file(tmp_path / "soft", "test"))
    thirds = np.unique(np.round(3 * scores.targets).astype(int))
    assert thirds.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(scores.targets, np.round(3 * scores.targets) / 3, atol=1e-6)
    truths = {
        target: {(row.metric, row.truth): row.chance for row in found.annotators}
        for target, found in results.items()
    }
    assert truths["combined"] == truths["soft"], "the same truths, from the same annotators"
