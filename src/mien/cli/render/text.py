"""Text for terminals: numbers, and text of others without control characters.

File names, labels, replies of servers and descriptions come from others. Sent to a terminal as they are,
their control characters could change its title, hide or forge lines, or reverse the text that follows.
"""

from __future__ import annotations

import json
import logging
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict
from typing import Any, Final

__all__ = [
    "LogFormatter",
    "escape_logs",
    "escape_text",
    "format_duration",
    "format_json",
    "format_large",
    "format_number",
    "join_lines",
    "show_downloads",
    "show_requests",
]

# C0 but tab and line feed, DEL, C1, marks that change the direction of text, separators of lines, and halves
# of surrogate pairs, which stand for the bytes of file names that are not text and cannot be printed.
_CONTROL: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)


def escape_text(text: str, encoding: str | None = None) -> str:
    """The text with control characters as backslash escapes; line feeds and tabs are kept.

    Args:
        text: The text.
        encoding: Of the terminal; what it does not have is escaped as well.
    """
    text = _CONTROL.sub(_escape, text)
    return text.encode(encoding, "backslashreplace").decode(encoding) if encoding else text


def join_lines(lines: Iterable[str]) -> str:
    """The lines as one text; a line feed in a line, which would forge another one, is escaped."""
    return "\n".join(line.replace("\n", "\\n") for line in lines)


def format_json(value: object, encoding: str | None = None) -> str:
    """A value as JSON in one line, with the same escapes, which JSON has too: no value changes.

    Dataclasses are written as objects.
    """
    text = json.dumps(value, ensure_ascii=False, default=asdict)
    text = _CONTROL.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    if encoding:
        try:
            text.encode(encoding)
        except UnicodeEncodeError:
            return json.dumps(value, default=asdict)
    return text


def _escape(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape").decode("ascii")


# --- Logs and warnings -----------------------------------------------------------------------------------


class LogFormatter(logging.Formatter):
    """Formats a record in one line, with control characters escaped."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802
        """The message in one line; a traceback follows it in others."""
        return super().formatMessage(record).replace("\n", "\\n")

    def format(self, record: logging.LogRecord) -> str:
        """The message, and its traceback if there is one."""
        return escape_text(super().format(record))


def show_downloads() -> AbstractContextManager[None]:
    """Until the block ends, what `mien.weights` logs, such as a download, is a note on stderr."""
    return _show_logs("mien.weights", "note: %(message)s")


def show_requests() -> AbstractContextManager[None]:
    """Until the block ends, what `mien.serve` logs, a line per request, goes to stderr with the time."""
    return _show_logs("mien.serve", "%(asctime)s %(message)s")


@contextmanager
def _show_logs(name: str, form: str) -> Iterator[None]:
    handler, logger = logging.StreamHandler(), logging.getLogger(name)
    handler.setFormatter(LogFormatter(form))
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)


@contextmanager
def escape_logs() -> Iterator[None]:
    """Until the block ends, logs and warnings that Python would print to stderr are escaped."""
    last = logging.lastResort
    before, before_warnings = last.formatter if last else None, warnings.formatwarning

    def format_warning(*arguments: Any, **options: Any) -> str:
        return escape_text(before_warnings(*arguments, **options))

    if last:
        last.setFormatter(LogFormatter())
    warnings.formatwarning = format_warning
    try:
        yield
    finally:
        if last:
            last.setFormatter(before)
        warnings.formatwarning = before_warnings


# --- Numbers ---------------------------------------------------------------------------------------------


def format_duration(seconds: float) -> str:
    """A duration in the largest unit of which there are at least two: "90 min", "2.5 h"."""
    for size, name in ((86_400, "days"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def format_large(value: float) -> str:
    """A large number with a unit prefix: "1.2 M"."""
    for size, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.1f} {name}"
    return f"{value:.0f} "


def format_number(value: float | None, digits: int) -> str:
    """A number with this many decimals; "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"
