"""Parses JSON that anyone may have written: every fault is a ValueError with one line."""

from __future__ import annotations

import json
from collections import Counter
from json.scanner import make_scanner
from typing import Any, Final, cast

__all__ = ["parse_strict_json"]

_MAX_DEPTH: Final = 100


def parse_strict_json(text: str | bytes) -> Any:
    """The value of a JSON document; NaN and Infinity are numbers.

    Raises:
        ValueError: It is not JSON, a key occurs twice in an object, or it is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    is_flat = text.count("[") + text.count("{") <= _MAX_DEPTH
    if is_flat and len(text) <= _MAX_PLAIN and text.startswith("{") and text.count("{") == 1:
        value = _parse_plain(text)
        if value is not None:
            return value
    try:
        value = _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if isinstance(error, _RepeatedKeyError):
            raise
        raise ValueError("a number has too many digits") from error
    if not is_flat and _is_deeper(value, _MAX_DEPTH):
        # What reads or prints it would exceed Python's stack later.
        raise ValueError("it is nested too deeply")
    return value


def _parse_plain(text: str) -> dict[str, Any] | None:
    """One object without others within, in two thirds of the time; None if only the decoder can tell.

    Such an object has at least one colon for each of its keys. If it has no more, no key occurs twice.
    """
    try:
        value, end = _scan(text, 0)
    except (StopIteration, ValueError, RecursionError):
        return None
    is_whole = text[end:] in ("", "\n") and text.count(":") == len(value)
    return cast("dict[str, Any]", value) if is_whole else None


def _is_deeper(value: Any, depth: int) -> bool:
    """Whether lists and objects are nested more than `depth` times."""
    level = [value]
    for _ in range(depth + 1):
        level = [
            inner
            for outer in level
            if isinstance(outer, list | dict)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, list | dict)
        ]
        if not level:
            return False
    return True


class _RepeatedKeyError(ValueError):
    """An object has a key twice. The json module would silently keep the last value."""


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice = Counter(name for name, _ in pairs).most_common(1)[0][0]
        raise _RepeatedKeyError(f"the key {twice[:100]!r} occurs twice")
    return found


_MAX_PLAIN: Final = 1 << 14  # characters
_scan: Final = make_scanner(json.JSONDecoder())  # type: ignore[arg-type]  # typeshed swaps them
_DECODER: Final = json.JSONDecoder(object_pairs_hook=_to_dict)
