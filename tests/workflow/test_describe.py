"""The step that describes: a run that is resumed reads its dataset once."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.data.playhouse import Playhouse
from mien.describe.preflight import Preflight
from mien.recipe import DataOptions, DescribeOptions, Recipe
from mien.workflow import steps
from mien.workflow.experiment import open_experiment

RECIPE = Recipe(
    name="resumed",
    data=DataOptions(name="playhouse", options={"train": 4, "val": 2, "test": 1, "seed": 1}),
    describe=DescribeOptions(engine="fake"),
)


def test_a_resumed_run_reads_its_dataset_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    experiment = open_experiment(RECIPE, cache=tmp_path / "cache", out=tmp_path / "run")
    assert steps.describe(experiment, splits=["val", "test"]).done == 3
    read, samples = list[str](), Playhouse.samples

    def recorded(self: Playhouse, split: str) -> object:
        read.append(split)
        return samples(self, split)

    monkeypatch.setattr(Playhouse, "samples", recorded)
    seen = list[Preflight]()
    summary = steps.describe(experiment, on_preflight=seen.append)
    assert (summary.done, summary.skipped, summary.failed) == (4, 3, 0)
    assert [(found.total, found.open, found.exact) for found in seen] == [(7, 4, True)]
    assert read == ["train", "val", "test"]
