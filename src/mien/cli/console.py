"""What commands show: progress and notes for people on stderr, tables or JSON on stdout.

In: progress events, results, predictions. Out: text.
Knows nothing about: where any of it comes from, the environment, exit codes.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from mien.data.audit.verify import VerifyProgress
    from mien.describe.progress import Progress
    from mien.train.loop import TrainProgress

__all__ = ["Console"]

_SECONDS_BETWEEN_LINES: Final = 10.0


class Console:
    """Notes and progress go to stderr; the result to stdout, as JSON if asked.

    `live`: stderr is a terminal, so that one line may be rewritten; otherwise a line comes now and then.
    """

    def __init__(self, *, as_json: bool, schema: int, live: bool, out: Callable[..., None]) -> None:
        self._as_json, self._schema, self._live, self._out = as_json, schema, live, out
        self._last = time.monotonic()
        self._open = False

    def note(self, text: str | None) -> None:
        """A line for people, if there is one to say."""
        if text:
            self.settle()
            self._out(text, err=True)

    def describing(self, progress: Progress) -> None:
        """How far describing is."""
        total = f"/{progress.total}" if progress.total is not None else ""
        parts = [f"described {progress.seen}{total}", f"{progress.rate:.1f}/s"]
        if progress.skipped:
            parts.append(f"{progress.skipped} were there")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        self._progress(", ".join(parts), last=progress.seen == progress.total)

    def checking(self, progress: VerifyProgress) -> None:
        """How far verifying is."""
        self._progress(f"checked {progress.done}/{progress.total}", last=progress.done == progress.total)

    def training(self, progress: TrainProgress) -> None:
        """How far training is."""
        best = "" if progress.best_score is None else f", best val {progress.best_score:.4f}"
        self._progress(
            f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}, "
            f"loss {progress.loss:.4f}{best}",
            last=progress.step == progress.steps,
        )

    def _progress(self, text: str, *, last: bool) -> None:
        now = time.monotonic()
        if self._live:
            self._out(f"\r\x1b[K{text}", err=True, nl=False)
            self._open = True
        elif last or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._out(text, err=True)
            self._last = now

    def settle(self) -> None:
        """Ends a line that was being rewritten."""
        if self._open:
            self._out("", err=True)
            self._open = False

    def result(self, document: Mapping[str, Any], table: Mapping[str, Any] | None) -> None:
        """The document as JSON if that was asked for, else the table, if any, as aligned lines."""
        self.settle()
        if self._as_json:
            self._out(json.dumps({"schema": self._schema, **document}, ensure_ascii=False))
        elif table is not None:
            width = max(len(name) for name in table)
            for name, value in table.items():
                self._out(f"{name.replace('_', ' '):<{width}}  {value}")
