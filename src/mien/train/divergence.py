"""Sees when a training no longer converges, before it harms the weights.

Goes in: the loss of each step. Comes out: an error, once the loss is not finite or stays far too high.
Knows nothing about: models, files.
"""

import math
import statistics
from dataclasses import dataclass, field
from typing import Final

from mien.errors import DivergedError

__all__ = ["LossWatch"]

_WINDOW: Final = 50  # steps of the running median
_FIRST: Final = 10  # steps that show how large the loss of a model is that knows nothing
_IN_A_ROW: Final = 3  # one batch may be odd; a training that has diverged stays so


@dataclass(slots=True)
class LossWatch:
    """Losses so far, as far as they are needed; its fields are all that must be kept to continue."""

    recent: list[float] = field(default_factory=list)
    ceiling: float = 0.0  # the highest of the first losses
    seen: int = 0
    high: int = 0  # steps in a row whose loss was too high

    def check(self, loss: float, *, factor: float, step: int) -> None:
        """DivergedError if the loss of a step (counted from 0) is not finite, or if for some steps it was
        above `factor` times the running median and above all first losses (0: the former only)."""
        if not math.isfinite(loss):
            raise diverged(f"the loss of step {step + 1} is {loss}")
        if self.seen < _FIRST:
            self.ceiling = max(self.ceiling, loss)
        elif factor and loss > max(factor * statistics.median(self.recent), self.ceiling):
            self.high += 1
            if self.high >= _IN_A_ROW:
                median = statistics.median(self.recent)
                raise diverged(f"the loss of step {step + 1} is {loss:.4g}, of late it was {median:.4g}")
            self.seen += 1
            return  # a loss that is too high does not make the next one look lower
        self.high = 0
        self.seen += 1
        self.recent = [*self.recent[1 - _WINDOW :], loss]


def diverged(what: str) -> DivergedError:
    """The error, with what to do."""
    return DivergedError(
        f"training diverged: {what}",
        hint="lower train.lr or train.clip, see that the data are sound, or raise train.divergence",
    )
