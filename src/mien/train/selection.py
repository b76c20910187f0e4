"""What a model learns, and by which metric its best epoch is selected; checked before training starts."""

from collections.abc import Mapping, Sequence
from typing import Final

from mien.errors import ConfigError
from mien.evaluate.metrics.metric import Metric
from mien.evaluate.metrics.table import load_metric, primary_metric, resolve_metric
from mien.labels import LabelSet
from mien.recipe import TrainOptions
from mien.train.losses import build_loss
from mien.types import Sample

__all__ = ["TRAIN_SPLIT", "check_targets", "selection_metric"]

TRAIN_SPLIT: Final = "train"


def selection_metric(options: TrainOptions, label_set: LabelSet) -> Metric:
    """The metric of `train.select_by`; raises ConfigError if the model does not predict what it scores."""
    if options.select_by == "auto":
        return load_metric("vad_mae") if options.heads == "dimensions" else primary_metric(label_set)
    found = resolve_metric(options.select_by, label_set)
    if not found.fits(labels=options.heads != "dimensions", dimensions=options.heads != "labels"):
        raise ConfigError(
            f"train.select_by {found.name!r} needs more than train.heads {options.heads!r} learns",
            hint='choose another metric, or set train.heads = "both"',
        )
    return found


def check_targets(
    options: TrainOptions, label_set: LabelSet, samples: Mapping[str, Sequence[Sample]]
) -> None:
    """Check that the loss fits the labels, and that the samples have what is learned and selected by.

    Args:
        options: The section [train] of a recipe.
        label_set: The labels of the dataset.
        samples: The samples of the splits that training reads, by split.

    Raises:
        ConfigError: The loss or the metric does not fit, or a split has no dimensions but needs them.
    """
    build_loss(options, label_set)
    selected_by = selection_metric(options, label_set)
    if options.heads != "dimensions" and not selected_by.reads_dimensions:
        return
    for split, found in samples.items():
        if not any(sample.target and sample.target.dimensions for sample in found):
            learns = options.heads == "dimensions"
            knob = f"train.heads {options.heads!r}" if learns else f"train.select_by {selected_by.name!r}"
            raise ConfigError(
                f"{knob} needs valence, arousal and dominance, which no sample of split {split!r} has",
                hint="use a dataset with dimensions, or change that setting",
            )
