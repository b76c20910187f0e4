"""Numbers as text, formatted the same way on every page."""

from __future__ import annotations

from typing import Final

__all__ = ["NO_VALUE", "count_noun", "format_count", "format_interval", "format_number"]

NO_VALUE: Final = "\N{EN DASH}"


def format_number(value: float, digits: int = 3, *, signed: bool = False) -> str:
    """A fixed number of decimals, with a true minus sign."""
    return f"{value:{'+' if signed else ''}.{digits}f}".replace("-", "\N{MINUS SIGN}")


def count_noun(count: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun: "no problems", "1 problem", "2 problems"; the plural is with -s by default."""
    word = noun if count == 1 else plural or f"{noun}s"
    return f"{format_count(count) if count else 'no'} {word}"


def format_interval(low: float | None, high: float | None, *, signed: bool = False) -> str:
    """Both bounds with three decimals, or "none"."""
    if low is None or high is None:
        return "none"
    return f"{format_number(low, signed=signed)} to {format_number(high, signed=signed)}"


def format_count(count: int) -> str:
    """With thousands separators."""
    return f"{count:,}"
