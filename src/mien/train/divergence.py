"""Stops a training that diverges, before it damages the weights."""

import math
import statistics
from dataclasses import dataclass, field
from typing import Final

from mien.errors import DivergedError

__all__ = ["LossMonitor", "divergence_error"]

_WINDOW: Final = 50  # steps of the running median
_FIRST: Final = 10  # steps that show the loss of an untrained model
_IN_A_ROW: Final = 3  # one batch may be an outlier; a training that has diverged stays high


@dataclass(slots=True)
class LossMonitor:
    """The recent losses. The fields are all the state that resuming needs, and resume files store them."""

    recent: list[float] = field(default_factory=list)
    ceiling: float = 0.0  # the highest of the first losses
    seen: int = 0
    high: int = 0  # consecutive steps with too high a loss

    def check(self, loss: float, *, factor: float, step: int) -> None:
        """Check the loss of a step (counted from 0).

        Raises:
            DivergedError: The loss is not finite; or, unless `factor` is 0, it was above `factor` times the
                running median and above all first losses for three steps in a row.
        """
        if not math.isfinite(loss):
            raise divergence_error(f"the loss of step {step + 1} is {loss}")
        if self.seen < _FIRST:
            self.ceiling = max(self.ceiling, loss)
        elif factor and loss > max(factor * statistics.median(self.recent), self.ceiling):
            self.high += 1
            if self.high >= _IN_A_ROW:
                median = statistics.median(self.recent)
                raise divergence_error(
                    f"the loss of step {step + 1} is {loss:.4g}; its running median is {median:.4g}"
                )
            self.seen += 1
            return  # too high a loss does not enter the median
        self.high = 0
        self.seen += 1
        self.recent = [*self.recent[1 - _WINDOW :], loss]


def divergence_error(reason: str) -> DivergedError:
    """The error, with a hint."""
    return DivergedError(
        f"training diverged: {reason}",
        hint="lower train.lr or train.clip, check the data, or raise train.divergence",
    )
