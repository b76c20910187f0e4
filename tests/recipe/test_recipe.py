from typing import Any

import pytest

from mien.recipe import Recipe, RunOptions
from mien.recipe.load import parse_recipe

# A different value for every knob outside of [run]; a test fails if a knob is missing here.
OTHER: dict[str, Any] = {
    "name": "other",
    "data.name": "manifest",
    "data.root": "elsewhere",
    "data.label_set": "caers",
    "data.split_file": "splits.jsonl",
    "data.skip_broken": True,
    "data.options": {"size": 3},
    "describe.engine": "fake",
    "describe.model": "other",
    "describe.prompt": "other",
    "describe.prompt_text": "Who is it?",
    "describe.prompt_text_no_box": "What is it?",
    "describe.marking": "crop",
    "describe.clip": "contact_sheet",
    "describe.max_new_tokens": 7,
    "describe.dtype": "bfloat16",
    "describe.options": {"temperature": 1},
    "features.vision": "other",
    "features.layer": -2,
    "features.tokens": "patches",
    "features.fit": "squash",
    "features.dtype": "bfloat16",
    "features.marking": "crop",
    "features.tokenizer": "other",
    "features.max_text_tokens": 7,
    "features.truncate": "head_tail",
    "features.views": ["marked", "crop"],
    "features.augment": ["flip"],
    "features.augment_views": 2,
    "model.fusion": "concat",
    "model.init": "bert-base-uncased",
    "model.width": 64,
    "model.layers": 3,
    "model.heads": 2,
    "model.num_queries": 3,
    "model.cross_every": 1,
    "model.dropout": 0.5,
    "model.label_names": True,
    "model.options": {"pool": "mean"},
    "train.seed": 1,
    "train.select_on": "dev",
    "train.epochs": 1,
    "train.batch_size": 1,
    "train.lr": 1.0,
    "train.weight_decay": 1.0,
    "train.warmup": 0.5,
    "train.clip": 2.0,
    "train.patience": 1,
    "train.loss": "bce",
    "train.loss_options": {"cap": 3},
    "train.label_smoothing": 0.1,
    "train.heads": "labels",
    "train.select_by": "mAP_emotic",
    "train.dimension_weight": 2.0,
    "train.sampler": "balanced",
    "train.accumulate": 2,
    "train.ema": 0.9,
    "train.precision": "bfloat16",
    "train.lr_scale": {"queries": 2.0},
    "train.layer_decay": 0.9,
    "train.divergence": 0.0,
    "train.description_dropout": 0.1,
    "train.missing_descriptions": "image_only",
    "train.encoder": "lora",
    "train.encoder_lr": 2e-4,
    "train.lora_rank": 4,
    "train.lora_alpha": 8.0,
    "train.lora_layers": "all",
    "zero_shot.method": "words",
    "zero_shot.answer": "label",
    "zero_shot.question": "Is it <label>?",
    "zero_shot.encoder": "other",
    "zero_shot.image_prompts": ["a {} person"],
    "evaluate.splits": ["val"],
    "evaluate.metrics": ["map"],
    "evaluate.bootstrap": 10,
    "evaluate.calibration": "platt",
    "evaluate.thresholds": "cost",
    "evaluate.cost": 2.0,
    "evaluate.coverage": 0.8,
    "evaluate.answered": 0.5,
}
OTHER_RUN: dict[str, Any] = {
    "device": "cuda",
    "workers": 3,
    "threads": 2,
    "batch_size": 2,
    "cluster": "ray",
    "actors": 3,
    "cpus_per_actor": 0.5,
    "gpus_per_actor": 1.0,
    "cluster_timeout": 60.0,
    "endpoints": ["http://localhost:8000/v1"],
    "concurrency": 3,
    "timeout": 2.5,
    "retries": 1,
    "use_proxies": False,
    "ca_file": "d.pem",
    "price_per_million_tokens": [1.5, 6.0],
    "checkpoint_activations": True,
    "compile": True,
    "log_to": ["tensorboard"],
    "keep_last": True,
    "out": "a",
    "store": "b",
    "cache": "c",
}


def with_knob(knob: str, value: object) -> Recipe:
    table: dict[str, Any] = {"name": "base"}
    section, _, key = knob.rpartition(".")
    (table.setdefault(section, {}) if section else table)[key] = value
    return parse_recipe(table, where="test")


def test_the_tables_above_contain_every_knob() -> None:
    knobs = {
        f"{section}.{key}" if key else section
        for section, field in Recipe.model_fields.items()
        if section != "run"
        for key in getattr(field.annotation, "model_fields", {"": None})
    }
    assert set(OTHER) == knobs
    assert set(OTHER_RUN) == set(RunOptions.model_fields)


def test_every_knob_is_documented() -> None:
    sections = [Recipe, *(field.annotation for name, field in Recipe.model_fields.items() if name != "name")]
    undocumented = [
        f"{section}.{name}"
        for section in sections
        for name, field in getattr(section, "model_fields", {}).items()
        if not field.description
    ]
    assert undocumented == []


@pytest.mark.parametrize("knob", OTHER)
def test_every_knob_outside_of_run_changes_the_digest(knob: str) -> None:
    assert with_knob(knob, OTHER[knob]).digest() != Recipe(name="base").digest()


@pytest.mark.parametrize("knob", OTHER_RUN)
def test_no_knob_in_run_changes_the_digest(knob: str) -> None:
    other = with_knob(f"run.{knob}", OTHER_RUN[knob])
    assert other != Recipe(name="base")
    assert other.digest() == Recipe(name="base").digest()


def test_both_stages_use_the_same_marking_by_default() -> None:
    assert with_knob("describe.marking", "crop").feature_marking == "crop"
    assert with_knob("features.marking", "none").feature_marking == "none"


def test_a_resolved_recipe_can_be_parsed_again() -> None:
    recipe = with_knob("data.root", "elsewhere")
    assert parse_recipe(recipe.to_json(), where="test") == recipe
