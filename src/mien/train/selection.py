"""By which number the best epoch is chosen.

Goes in: `[train]`, a label set. Comes out: a metric.
Knows nothing about: models, which split it is taken on.
"""

from mien.errors import ConfigError
from mien.evaluate.metrics import METRICS, Metric, metric, primary_metric
from mien.labels import LabelSet
from mien.recipe import TrainOptions

__all__ = ["selecting_metric"]


def selecting_metric(options: TrainOptions, label_set: LabelSet) -> Metric:
    """The metric of `train.select_by`; ConfigError if what the model learns has no part in it."""
    if options.select_by == "auto":
        return METRICS["vad_mae"] if options.heads == "dimensions" else primary_metric(label_set)
    found = metric(options.select_by, label_set)
    unlearned = {"dimensions": found.of_labels, "labels": found.of_dimensions, "both": False}
    if unlearned[options.heads]:
        raise ConfigError(
            f"train.select_by {found.name!r} needs more than train.heads {options.heads!r} learns",
            hint="choose another metric, or train.heads = 'both'",
        )
    return found
