"""What a command shows: notes and progress on stderr, the result on stdout."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from mien.cli.render.text import escape_text, format_json, join_lines

if TYPE_CHECKING:
    from mien.data.audit.verify import VerifyProgress
    from mien.describe.progress import Progress
    from mien.train.loop import TrainProgress

__all__ = ["SCHEMA", "Console"]

SCHEMA: Final = 1  # of the JSON documents
_SECONDS_BETWEEN_LINES: Final = 10.0


class Console:
    """Writes notes and progress to stderr, and the result to stdout as text or JSON.

    Control characters in texts are escaped.

    Args:
        as_json: Print results as JSON.
        live: Rewrite one line to show progress, as on a terminal; otherwise print a line every ten seconds.
        out: Prints a line; takes the keywords of `typer.echo`.
        encoding: Of the terminal.
    """

    def __init__(
        self, *, as_json: bool, live: bool, out: Callable[..., None], encoding: str | None = None
    ) -> None:
        self._encoding = encoding
        self._as_json, self._live, self._out = as_json, live, out
        self._last = time.monotonic()
        self._is_line_open = False

    def note(self, text: str | None) -> None:
        """Prints a line to stderr, unless the text is empty."""
        if text:
            self.end_progress()
            self._out(self._escape(join_lines([text])), err=True)

    def show_describing(self, progress: Progress) -> None:
        """Shows the progress of a description run."""
        self._show_people(progress, "described")

    def show_scoring(self, progress: Progress) -> None:
        """Shows the progress of scoring without training."""
        self._show_people(progress, "scored")

    def _show_people(self, progress: Progress, done: str) -> None:
        total = f"/{progress.total}" if progress.total is not None else ""
        parts = [f"{done} {progress.num_processed}{total}", f"{progress.rate:.1f}/s"]
        if progress.skipped:
            parts.append(f"{progress.skipped} existed")
        if progress.failed:
            parts.append(f"{progress.failed} failed")
        self._show_progress(", ".join(parts), is_last=progress.num_processed == progress.total)

    def show_verifying(self, progress: VerifyProgress) -> None:
        """Shows the progress of a verification."""
        self._show_progress(
            f"checked {progress.done}/{progress.total}", is_last=progress.done == progress.total
        )

    def show_training(self, progress: TrainProgress) -> None:
        """Shows the progress of a training."""
        best = "" if progress.best_score is None else f", best val {progress.best_score:.4f}"
        self._show_progress(
            f"epoch {progress.epoch}/{progress.epochs}, step {progress.step}/{progress.steps}, "
            f"loss {progress.loss:.4f}{best}",
            is_last=progress.step == progress.steps,
        )

    def _show_progress(self, text: str, *, is_last: bool) -> None:
        now = time.monotonic()
        text = self._escape(join_lines([text]))
        if self._live:
            self._out(f"\r\x1b[K{text}", err=True, nl=False)
            self._is_line_open = True
        elif is_last or now - self._last >= _SECONDS_BETWEEN_LINES:
            self._out(text, err=True)
            self._last = now

    def end_progress(self) -> None:
        """Ends a line of progress that is being rewritten."""
        if self._is_line_open:
            self._out("", err=True)
            self._is_line_open = False

    def print_result(self, document: Mapping[str, Any], text: str | None) -> None:
        """Prints the document if the command was called with `--json`, else the text, if there is any."""
        self.end_progress()
        if self._as_json:
            self._out(format_json({"schema": SCHEMA, **document}, self._encoding))
        elif text is not None:
            self._out(self._escape(text))

    def print_line(self, document: Mapping[str, Any]) -> None:
        """Prints a document as one line of JSON Lines."""
        self.end_progress()
        self._out(format_json({"schema": SCHEMA, **document}, self._encoding))

    def print_table(self, table: Mapping[str, Any]) -> None:
        """Prints one value per line, or the same as JSON."""
        self.print_result(table, render_table(table))

    def _escape(self, text: str) -> str:
        return escape_text(text, self._encoding)


def render_table(table: Mapping[str, Any]) -> str:
    """One aligned line per value; floats have at most four decimals."""
    width = max(len(name) for name in table)
    shown = {name: round(value, 4) if isinstance(value, float) else value for name, value in table.items()}
    return join_lines(f"{name.replace('_', ' '):<{width}}  {value}" for name, value in shown.items())
