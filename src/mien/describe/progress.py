"""Progress and summary of a describe run."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from mien.describe.engine import TokenUsage

__all__ = ["DescribeSummary", "Progress", "ProgressCounter", "TokenTotals"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a describe run is.

    Attributes:
        done: Subjects described in this run.
        skipped: Subjects that were described before.
        failed: Subjects without a description, failed now or in an earlier run.
        total: All subjects, or None if their number is unknown.
        seconds: Time since the start of the run.
    """

    done: int
    skipped: int
    failed: int
    total: int | None
    seconds: float

    @property
    def num_processed(self) -> int:
        """Subjects that are done, skipped or failed."""
        return self.done + self.skipped + self.failed

    @property
    def rate(self) -> float:
        """Subjects described per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenTotals:
    """The tokens of all replies whose engine counts them, also of those that the prompt does not allow.

    Requests that gave no text, such as those that timed out or ended within the reasoning, are not counted.
    """

    replies: int = 0
    prompt: int = 0
    completion: int = 0

    def __add__(self, usage: TokenUsage) -> TokenTotals:
        return TokenTotals(
            replies=self.replies + 1,
            prompt=self.prompt + usage.prompt,
            completion=self.completion + usage.completion,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribeSummary:
    """The result of a describe run.

    Attributes:
        done: Subjects described in this run.
        skipped: Subjects that were described before.
        failed: Subjects without a description, failed now or in an earlier run.
        num_requests: Requests to the engine, fewer than `done` where subjects share an image and a box.
        seconds: Duration of the run.
        batch_size: Requests of the last call of the engine, unless fewer were left.
        tokens: What the replies took; None if the engine does not count it.
    """

    done: int
    skipped: int
    failed: int
    num_requests: int
    seconds: float
    batch_size: int
    tokens: TokenTotals | None = None

    @property
    def rate(self) -> float:
        """Subjects described per second."""
        return self.done / self.seconds if self.seconds > 0 else 0.0


class ProgressCounter:
    """Counts subjects by outcome, and reports the counts to a callback."""

    def __init__(
        self,
        total: int | None,
        on_progress: Callable[[Progress], None] | None,
        *,
        skipped: int = 0,
        failed: int = 0,
    ) -> None:
        self.done = self.num_requests = 0
        self.tokens = TokenTotals()
        self.skipped, self.failed = skipped, failed
        self._total = total
        self._on_progress = on_progress
        self._start = time.monotonic()

    def report(self) -> None:
        """Calls the callback with the current counts."""
        if self._on_progress is not None:
            self._on_progress(
                Progress(
                    done=self.done,
                    skipped=self.skipped,
                    failed=self.failed,
                    total=self._total,
                    seconds=self._elapsed(),
                )
            )

    def summary(self, batch_size: int) -> DescribeSummary:
        """The final counts."""
        return DescribeSummary(
            done=self.done,
            skipped=self.skipped,
            failed=self.failed,
            num_requests=self.num_requests,
            seconds=self._elapsed(),
            batch_size=batch_size,
            tokens=self.tokens if self.tokens.replies else None,
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._start
