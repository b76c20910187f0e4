"""What the variants of a grid need before training: checked first, then described and encoded.

Variants with the same settings for a stage share its results.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from mien.ablation.controls import count_images
from mien.ablation.jobs import TrainingJob, name_variant_in_errors
from mien.describe.progress import Progress
from mien.digests import digest
from mien.errors import ConfigError, DataError, ItemsFailedError
from mien.evaluate.metrics.table import resolve_metric
from mien.model.encoder import trains_encoder
from mien.model.fusion import build_fusion, fusion_class
from mien.model.pretrained import RANDOM
from mien.model.qformer import QFormer
from mien.predict.zero_shot.open import open_recipe_zero_shot
from mien.recipe import Recipe
from mien.train.selection import TRAIN_SPLIT, check_targets
from mien.weights.model_folder import find_encoder_folder
from mien.workflow import steps
from mien.workflow.experiment import Experiment

__all__ = [
    "OpenedVariant",
    "ReuseCount",
    "check_variants",
    "describe_missing",
    "encode_missing",
    "open_variants",
]


@dataclass(frozen=True, slots=True)
class ReuseCount:
    """How many of `total` results existed, or were made for another variant of the grid."""

    reused: int = 0
    total: int = 0

    def __add__(self, other: ReuseCount) -> ReuseCount:
        return ReuseCount(self.reused + other.reused, self.total + other.total)

    def __str__(self) -> str:
        return f"{self.reused:,} of {self.total:,}"


@dataclass(frozen=True, slots=True)
class OpenedVariant:
    """A variant and its experiment on all images, even if it trains on a share of them."""

    job: TrainingJob
    experiment: Experiment

    @property
    def recipe(self) -> Recipe:
        """The recipe with resolved paths."""
        return self.experiment.recipe

    @property
    def splits(self) -> tuple[str, ...]:
        """The splits that a run reads; others, such as a test split without labels, are not touched."""
        if self.job.is_zero_shot:
            return (self.job.split,)
        return tuple(dict.fromkeys((TRAIN_SPLIT, self.recipe.train.select_on, self.job.split)))

    @property
    def reads_descriptions(self) -> bool:
        """Whether descriptions are made before it is trained or scored."""
        if self.job.is_zero_shot:
            return self.recipe.zero_shot.method == "words"
        return fusion_class(self.recipe.model.fusion).uses_text

    def key(self, *sections: str, **more: str) -> str:
        """A digest of these sections of the recipe; variants with equal keys share results."""
        table = self.recipe.to_json()
        return digest({**{name: table[name] for name in sections}, **more})


# --- Checks ---


def open_variants(jobs: Sequence[TrainingJob]) -> list[OpenedVariant]:
    """Open the experiments of jobs. Those on the same data share its samples, which may be slow to read."""
    opened: list[OpenedVariant] = []
    read: dict[str, Experiment] = {}
    for job in jobs:
        with name_variant_in_errors(job.variant):
            variant = OpenedVariant(job, job.open_whole())
        first = read.setdefault(variant.key("data"), variant.experiment)
        shared = replace(variant.experiment, dataset=first.dataset, all_samples=first.all_samples)
        opened.append(OpenedVariant(job, shared))
    return opened


def check_variants(
    variants: Sequence[OpenedVariant], *, metrics: Sequence[str], train_sizes: Sequence[int] = ()
) -> None:
    """Raise the error of the first variant that could not run; the error names it. Builds no large model."""
    scored_ids: tuple[str, ...] | None = None
    for variant in variants:
        experiment, train = variant.experiment, variant.recipe.train
        label_set = experiment.dataset.label_set
        with name_variant_in_errors(variant.job.variant):
            for name in metrics:
                resolve_metric(name, label_set)
            if variant.job.is_zero_shot:
                _check_zero_shot(variant, train_sizes)
            else:
                _check_components(experiment)
                _check_controls(variant)
                _check_train_sizes(experiment, train_sizes)
                train_splits = (TRAIN_SPLIT, train.select_on)
                check_targets(train, label_set, {split: experiment.samples(split) for split in train_splits})
            for split in variant.splits:
                experiment.dataset.samples(split)  # raises an error if there is no such split
            ids = tuple(sample.subject.id for sample in experiment.samples(variant.job.split))
            scored_ids = ids if scored_ids is None else scored_ids
            if ids != scored_ids:
                raise DataError(
                    f"it is scored on other subjects of {variant.job.split!r} than the variants before it: "
                    f"{len(ids)} subjects, where they have {len(scored_ids)}",
                    hint="score all variants of a grid on the same subjects; vary only the training data",
                )


def _check_components(experiment: Experiment) -> None:
    """Raise ConfigError or WeightsError if a component is missing or does not fit."""
    import torch

    recipe = experiment.recipe
    with torch.device("meta"):  # shapes without values
        fusion = build_fusion(recipe.model, image_dim=1, vocab_size=1)
    if recipe.model.init != RANDOM:
        if not any(isinstance(module, QFormer) for module in fusion.modules()):
            raise ConfigError(
                f"model.init {recipe.model.init!r} is for a Q-Former, and this fusion has none",
                hint='set model.init to "random"',
            )
        find_encoder_folder(recipe.model.init, embedded_as="llava", patterns=("config.json",))
    if fusion.uses_text:
        _ = experiment.open_request_builder(), experiment.input_builder.tokenizer
    if fusion.uses_image:
        _ = experiment.input_builder.vision_encoder


def _check_zero_shot(variant: OpenedVariant, train_sizes: Sequence[int]) -> None:
    """Raise an error for a variant without training whose model is missing, or that has a control."""
    open_recipe_zero_shot(variant.recipe, variant.experiment.dataset.label_set)
    controls = variant.job.variant
    if train_sizes or controls.texts or controls.scored_texts or controls.train_share < 1:
        raise ConfigError(
            "it scores without training, and texts, scored_texts, train_share and train_sizes need training",
            hint="remove them, or zero_shot.method",
        )


def _check_controls(variant: OpenedVariant) -> None:
    """Raise ConfigError for a control that has no effect with this recipe."""
    if variant.job.variant.scored_texts != "missing":
        return
    if not fusion_class(variant.recipe.model.fusion).uses_text:
        raise ConfigError(
            f"scored_texts 'missing' removes descriptions, which fusion {variant.recipe.model.fusion!r} does "
            "not read",
            hint="remove scored_texts from this variant",
        )
    if variant.recipe.train.missing_descriptions == "error":
        raise ConfigError(
            "scored_texts 'missing' removes descriptions, and train.missing_descriptions is 'error'",
            hint='set train.missing_descriptions to "image_only"',
        )


def _check_train_sizes(experiment: Experiment, train_sizes: Sequence[int]) -> None:
    """Raise ConfigError if there are fewer training images than the largest size asks for."""
    if not train_sizes:
        return
    largest, available = max(train_sizes), count_images(experiment.samples(TRAIN_SPLIT))
    if largest > available:
        raise ConfigError(
            f"train_sizes asks for {largest:,} images, and split {TRAIN_SPLIT!r} has {available:,}",
            hint="lower train_sizes, or provide more training images",
        )


# --- Missing results ---


def describe_missing(
    variants: Sequence[OpenedVariant],
    *,
    note: Callable[[str], None],
    on_progress: Callable[[Progress], None] | None,
) -> ReuseCount:
    """Describe the subjects that the store lacks.

    Raises:
        ItemsFailedError: Subjects could not be described, and the recipe requires descriptions.
    """
    count, described = ReuseCount(), set[str]()
    for variant in variants:
        if not variant.reads_descriptions:
            continue
        total = sum(len(variant.experiment.samples(split)) for split in variant.splits)
        key = variant.key("data", "describe", store=str(variant.experiment.store))
        if key in described:
            count += ReuseCount(total, total)
            continue
        described.add(key)
        note(f"describing: {variant.job.variant.name}")
        with name_variant_in_errors(variant.job.variant):
            summary = steps.describe(variant.experiment, splits=variant.splits, on_progress=on_progress)
            count += ReuseCount(summary.skipped, total)
            if summary.failed and variant.recipe.train.missing_descriptions == "error":
                raise ItemsFailedError(
                    f"{summary.failed} of {total} subjects have no description",
                    hint="fix the cause, then run: mien describe RECIPE --retry-failed",
                )
    return count


def encode_missing(variants: Sequence[OpenedVariant], *, note: Callable[[str], None]) -> ReuseCount:
    """Encode the images that the feature cache lacks; a trained encoder has no cached features."""
    count, totals = ReuseCount(), dict[str, int]()
    for variant in variants:
        uses_image = fusion_class(variant.recipe.model.fusion).uses_image
        if variant.job.is_zero_shot or not uses_image or trains_encoder(variant.recipe):
            continue
        marking, cache = variant.recipe.feature_marking, str(variant.experiment.features)
        key = variant.key("data", "features", marking=marking, cache=cache)
        missing = 0
        if key not in totals:
            with name_variant_in_errors(variant.job.variant):
                missing, totals[key] = _count_missing_features(variant)
                if missing:
                    note(f"encoding the images: {variant.job.variant.name}")
                    steps.encode(variant.experiment, splits=variant.splits)
        count += ReuseCount(totals[key] - missing, totals[key])
    return count


def _count_missing_features(variant: OpenedVariant) -> tuple[int, int]:
    """(missing, total) over the splits of a variant."""
    missing = total = 0
    for split in variant.splits:
        subjects = [sample.subject for sample in variant.experiment.samples(split)]
        split_missing, split_total = variant.experiment.input_builder.missing_features(split, subjects)
        missing, total = missing + split_missing, total + split_total
    return missing, total
