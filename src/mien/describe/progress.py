"""How far describing is, and what came of it.

Goes in: counts, as they grow. Comes out: `Progress` for whoever listens, and a `DescribeSummary`.
Knows nothing about: terminals, engines, stores.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["DescribeSummary", "Progress", "Tally"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Subjects described now, found described, failed; of how many, where that is known; seconds so far."""

    done: int
    skipped: int
    failed: int
    total: int | None
    seconds: float

    @property
    def seen(self) -> int:
        """Subjects that are settled, one way or another."""
        return self.done + self.skipped + self.failed

    @property
    def rate(self) -> float:
        """Subjects described a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeSummary:
    """What came of all subjects.

    `done`: described now; `skipped`: described before; `failed`: without a description, now or since an
    earlier run; `asked`: questions put to the engine, fewer than `done` where subjects share one.
    """

    done: int
    skipped: int
    failed: int
    asked: int
    seconds: float

    @property
    def rate(self) -> float:
        """Subjects described a second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


class Tally:
    """Counts, and tells whoever listens; `total` where it is known."""

    def __init__(self, total: int | None, on_progress: Callable[[Progress], None] | None) -> None:
        self.done = self.skipped = self.failed = self.asked = 0
        self._total = total
        self._on_progress = on_progress
        self._start = time.monotonic()

    def tell(self) -> None:
        """Reports the counts as they are now."""
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    done=self.done,
                    skipped=self.skipped,
                    failed=self.failed,
                    total=self._total,
                    seconds=self._seconds(),
                )
            )

    def summary(self) -> DescribeSummary:
        """The counts as they are at the end."""
        return DescribeSummary(
            done=self.done,
            skipped=self.skipped,
            failed=self.failed,
            asked=self.asked,
            seconds=self._seconds(),
        )

    def _seconds(self) -> float:
        return time.monotonic() - self._start
