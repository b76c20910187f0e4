"""What the variants of a grid need before they are trained: checked first, then described and encoded.

Goes in: a job of each variant. Comes out: a filled store and feature cache, and how much was there already.
Knows nothing about: training, seeds, tables.

Variants that ask the same of the same pictures share what comes of it; nothing is made twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from mien.ablation.jobs import Job, naming
from mien.data import Dataset
from mien.describe.progress import Progress
from mien.digests import digest
from mien.errors import ConfigError, DataError, ItemsFailedError
from mien.evaluate.metrics.table import resolve_metric
from mien.features.model_folders import find_folder
from mien.model.encoder import learns_pictures
from mien.model.fusion import build_fusion, fusion_class
from mien.model.pretrained import RANDOM
from mien.model.qformer import QFormer
from mien.recipe import Recipe
from mien.train.losses import build_loss
from mien.train.selection import check_targets
from mien.workflow import steps
from mien.workflow.experiment import Experiment

__all__ = ["Opened", "Reused", "check", "describe_missing", "encode_missing", "open_whole"]

_TRAIN: Final = "train"


@dataclass(frozen=True, slots=True)
class Reused:
    """So many of so many were there, or were made for another variant of the grid."""

    there: int = 0
    wanted: int = 0

    def __add__(self, other: Reused) -> Reused:
        return Reused(self.there + other.there, self.wanted + other.wanted)

    def __str__(self) -> str:
        return f"{self.there:,} of {self.wanted:,}"


@dataclass(frozen=True, slots=True)
class Opened:
    """A variant and its experiment, on all of the pictures whatever share of them it learns from."""

    job: Job
    experiment: Experiment

    @property
    def recipe(self) -> Recipe:
        """The recipe as it was opened."""
        return self.experiment.recipe

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run reads: others, such as a test split without labels, are left alone."""
        return tuple(dict.fromkeys((_TRAIN, self.recipe.train.select_on, self.job.split)))

    def key(self, *sections: str, **more: str) -> str:
        """What variants have in common that have the same key."""
        table = self.recipe.to_json()
        return digest({**{name: table[name] for name in sections}, **more})


# --- Before anything is made ---


def open_whole(jobs: Sequence[Job]) -> list[Opened]:
    """The experiments of jobs; those on the same data share one data set, which may be slow to read."""
    found: list[Opened] = []
    datasets: dict[str, Dataset] = {}
    for job in jobs:
        with naming(job.variant):
            whole = replace(job, variant=replace(job.variant, train_share=1.0)).experiment()
        opened = Opened(job, whole)
        dataset = datasets.setdefault(opened.key("data"), whole.dataset)
        found.append(Opened(job, replace(whole, dataset=dataset)))
    return found


def check(variants: Sequence[Opened], *, metrics: Sequence[str]) -> None:
    """Raises the error of the first variant that could not run, which names it. Builds no large model."""
    scored_on: tuple[str, ...] | None = None
    for one in variants:
        with naming(one.job.variant):
            _require_parts(one.experiment)
            _require_controls(one)
            for name in metrics:
                resolve_metric(name, one.experiment.dataset.label_set)
            check_targets(
                one.recipe.train,
                one.experiment.dataset.label_set,
                {split: one.experiment.samples(split) for split in (_TRAIN, one.recipe.train.select_on)},
            )
            for split in one.splits:
                one.experiment.dataset.samples(split)  # an error if there is no such split
            ids = tuple(sample.subject.id for sample in one.experiment.samples(one.job.split))
            scored_on = ids if scored_on is None else scored_on
            if ids != scored_on:
                raise DataError(
                    f"it is scored on other subjects of {one.job.split!r} than the variants before it: "
                    f"{len(ids)}, not {len(scored_on)}, or not the same",
                    hint="let the variants of a grid differ in what they learn from, not in whom they judge",
                )


def _require_parts(experiment: Experiment) -> None:
    """ConfigError or WeightsError for a part that is not there or does not fit."""
    import torch

    recipe = experiment.recipe
    with torch.device("meta"):  # shapes without numbers
        fusion = build_fusion(recipe.model, image_dim=1, vocab_size=1)
    build_loss(recipe.train, experiment.dataset.label_set)
    if recipe.model.init != RANDOM:
        if not any(isinstance(module, QFormer) for module in fusion.modules()):
            raise ConfigError(
                f"model.init {recipe.model.init!r} is for a Q-Former, and this fusion has none",
                hint='set model.init to "random"',
            )
        find_folder(recipe.model.init, embedded_as="llava", patterns=("config.json",))
    if fusion.uses_text:
        _ = experiment.open_request_builder(), experiment.input_builder.tokenizer
    if fusion.uses_image:
        _ = experiment.input_builder.vision


def _require_controls(one: Opened) -> None:
    """ConfigError for a control that the recipe does not let take effect."""
    if one.job.variant.scored_texts != "missing":
        return
    if not fusion_class(one.recipe.model.fusion).uses_text:
        raise ConfigError(
            f"scored_texts 'missing' takes away what fusion {one.recipe.model.fusion!r} does not read",
            hint="take scored_texts out of this variant",
        )
    if one.recipe.train.missing_descriptions == "error":
        raise ConfigError(
            "scored_texts 'missing' takes descriptions away, and train.missing_descriptions is 'error'",
            hint='set train.missing_descriptions to "image_only"',
        )


# --- What is missing ---


def describe_missing(
    variants: Sequence[Opened], *, note: Callable[[str], None], on_progress: Callable[[Progress], None] | None
) -> Reused:
    """Describes what the store lacks; ItemsFailedError if some cannot be, and may not be lacking."""
    reused, seen = Reused(), set[str]()
    for one in variants:
        if not fusion_class(one.recipe.model.fusion).uses_text:
            continue
        wanted = sum(len(one.experiment.samples(split)) for split in one.splits)
        asked = one.key("data", "describe", store=str(one.experiment.store))
        if asked in seen:
            reused += Reused(wanted, wanted)
            continue
        seen.add(asked)
        note(f"describing: {one.job.variant.name}")
        with naming(one.job.variant):
            done = steps.describe(one.experiment, splits=one.splits, on_progress=on_progress)
            reused += Reused(done.skipped, wanted)
            if done.failed and one.recipe.train.missing_descriptions == "error":
                raise ItemsFailedError(
                    f"{done.failed} of {wanted} subjects have no description",
                    hint="mend them, and ask again: mien describe --retry-failed, by a recipe that says so",
                )
    return reused


def encode_missing(variants: Sequence[Opened], *, note: Callable[[str], None]) -> Reused:
    """Encodes what the feature cache lacks; an encoder that learns along leaves no features to keep."""
    reused, seen = Reused(), dict[str, int]()
    for one in variants:
        if not fusion_class(one.recipe.model.fusion).uses_image or learns_pictures(one.recipe):
            continue
        marking, folder = one.recipe.feature_marking, str(one.experiment.features)
        looked = one.key("data", "features", marking=marking, cache=folder)
        if looked not in seen:
            with naming(one.job.variant):
                lacking, seen[looked] = _missing(one)
                if lacking:
                    note(f"encoding the pictures: {one.job.variant.name}")
                    steps.encode(one.experiment, splits=one.splits)
            reused += Reused(seen[looked] - lacking, seen[looked])
        else:
            reused += Reused(seen[looked], seen[looked])
    return reused


def _missing(one: Opened) -> tuple[int, int]:
    lacking = wanted = 0
    for split in one.splits:
        subjects = [sample.subject for sample in one.experiment.samples(split)]
        here, of = one.experiment.input_builder.missing_features(split, subjects)
        lacking, wanted = lacking + here, wanted + of
    return lacking, wanted
