"""`auto` becomes one floating-point type, which the run keeps on any machine."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mien.describe.local.engine import LocalEngine
from mien.describe.shards import Shard
from mien.errors import ConfigError, RunError
from mien.features.vision_encoder import find_vision_encoder
from mien.recipe import DataOptions, DescribeOptions, FeatureOptions, Recipe, RunOptions, TrainOptions
from mien.workflow import descriptions, steps
from mien.workflow.dtypes import resolve_dtypes
from mien.workflow.experiment import Experiment, open_experiment

AUTO = Recipe(
    name="auto",
    data=DataOptions(name="playhouse", options={"train": 2, "val": 1, "test": 1, "seed": 1}),
    describe=DescribeOptions(dtype="auto", max_new_tokens=1),
    features=FeatureOptions(dtype="auto"),
    train=TrainOptions(precision="auto"),
)
ALL = ("describe.dtype", "features.dtype", "train.precision")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file in place of /proc/cpuinfo; write flags into it."""
    path = tmp_path / "cpuinfo"
    path.write_text("flags : fpu\n")
    monkeypatch.setattr("mien.weights.dtypes._CPU_INFO", path)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    return path


def opened(folder: Path, run: str = "run", recipe: Recipe = AUTO) -> Experiment:
    return open_experiment(recipe, cache=folder / "cache", out=folder / run)


def test_a_run_keeps_its_type_on_another_machine(tmp_path: Path, machine: Path) -> None:
    machine.write_text("flags : fpu amx_bf16\n")
    experiment = opened(tmp_path)
    assert not experiment.out.exists()
    assert steps.describe(experiment, splits=["val"]).done == 1
    steps.encode(experiment, splits=["val"])
    assert json.loads((tmp_path / "run" / "dtypes.json").read_text()) == dict.fromkeys(ALL, "bfloat16")
    machine.write_text("flags : fpu\n")
    elsewhere = opened(tmp_path)
    assert elsewhere.resolved_recipe.describe.dtype == "bfloat16"
    assert elsewhere.resolved_recipe.train.precision == "bfloat16"
    assert descriptions.status(elsewhere, ["val"])["val"].described == 1
    builder, subjects = elsewhere.input_builder, [sample.subject for sample in elsewhere.samples("val")]
    assert builder.missing_features("val", subjects) == (0, 1)
    # The same as if the type had been stated.
    sections = {"describe": AUTO.describe, "features": AUTO.features, "train": AUTO.train}
    keys = {"describe": "dtype", "features": "dtype", "train": "precision"}
    stated = AUTO.model_copy(
        update={name: part.model_copy(update={keys[name]: "bfloat16"}) for name, part in sections.items()}
    )
    assert elsewhere.recipe.digest() == opened(tmp_path, recipe=stated).recipe.digest()
    assert opened(tmp_path, "another").recipe.describe.dtype == "float32"


def test_shards_must_state_a_type(tmp_path: Path, machine: Path) -> None:
    with pytest.raises(ConfigError, match="another type on the machine of another shard") as caught:
        steps.describe(opened(tmp_path), shard=Shard(number=1, count=2))
    assert "describe.dtype=bfloat16" in caught.value.hint
    assert not (tmp_path / "run" / "dtypes.json").exists()


@pytest.mark.parametrize("content", ["{", "[]", '{"describe.dtype": "int8"}'])
def test_a_damaged_record_is_named(tmp_path: Path, content: str) -> None:
    (tmp_path / "dtypes.json").write_text(content)
    with pytest.raises(RunError, match=r"dtypes\.json"):
        resolve_dtypes(AUTO, tmp_path)
    recipe = Recipe(name="stated")
    assert resolve_dtypes(recipe, tmp_path) == (recipe, {})  # not read


def test_the_type_of_an_encoder_changes_its_tokens_and_its_signature() -> None:
    full, lower = (find_vision_encoder("playhouse", dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert full.signature == find_vision_encoder("playhouse").signature != lower.signature
    pixels = np.random.default_rng(0).integers(0, 256, (1, 1, 144, 144, 3), dtype=np.uint8)
    one, other = (spec.encoder.encode(pixels) for spec in (full, lower))
    assert other.dtype == one.dtype
    difference = (one - other).norm() / one.norm()
    assert 1e-4 < difference < 0.05


def test_the_type_enters_the_signature_as_it_is_stated(machine: Path) -> None:
    engine = LocalEngine.open(DescribeOptions(dtype="auto"), RunOptions())
    assert engine.signature["dtype"] == "float32"
    machine.write_text("flags : avx512_bf16\n")
    assert LocalEngine.open(DescribeOptions(dtype="auto"), RunOptions()).signature["dtype"] == "bfloat16"


def test_recipes_of_0_1_0_keep_their_digests() -> None:
    digest = Recipe(name="base").digest()
    assert digest == "aff0c979a5add40589119115d6d6db6b3616f3f2a87fc609877a79731a47ad85"
