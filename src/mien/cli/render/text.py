"""Numbers as text."""

from __future__ import annotations

__all__ = ["format_duration", "format_large", "format_number"]


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
