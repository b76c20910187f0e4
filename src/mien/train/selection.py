"""What a model is to learn, and by which number its best epoch is chosen: settled before it begins.

Goes in: `[train]`, a label set, the samples of the splits. Comes out: a metric, or what speaks against it.
Knows nothing about: models, inputs.
"""

from collections.abc import Mapping, Sequence

from mien.errors import ConfigError
from mien.evaluate.metrics.table import METRICS, Metric, metric, primary_metric
from mien.labels import LabelSet
from mien.recipe import TrainOptions
from mien.types import Sample

__all__ = ["require_learnable", "selecting_metric"]


def selecting_metric(options: TrainOptions, label_set: LabelSet) -> Metric:
    """The metric of `train.select_by`; ConfigError if what the model learns has no part in it."""
    if options.select_by == "auto":
        return METRICS["vad_mae"] if options.heads == "dimensions" else primary_metric(label_set)
    found = metric(options.select_by, label_set)
    if not found.fits(labels=options.heads != "dimensions", dimensions=options.heads != "labels"):
        raise ConfigError(
            f"train.select_by {found.name!r} needs more than train.heads {options.heads!r} learns",
            hint='choose another metric, or train.heads = "both"',
        )
    return found


def require_learnable(
    options: TrainOptions, label_set: LabelSet, samples: Mapping[str, Sequence[Sample]]
) -> None:
    """ConfigError if a split lacks what is to be learned, or what the best epoch is to be chosen by."""
    chosen_by = selecting_metric(options, label_set)
    if options.heads != "dimensions" and not chosen_by.of_dimensions:
        return
    for split, found in samples.items():
        if not any(sample.target and sample.target.dimensions for sample in found):
            learns = options.heads == "dimensions"
            knob = f"train.heads {options.heads!r}" if learns else f"train.select_by {chosen_by.name!r}"
            raise ConfigError(
                f"{knob} needs valence, arousal and dominance, which no sample of split {split!r} has",
                hint="use a data set with dimensions, or change that knob",
            )
