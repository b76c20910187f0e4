"""Parses JSON that anyone may have written: every fault is a ValueError with one line."""

from __future__ import annotations

import json
from typing import Any, Final

__all__ = ["parse_json"]


def parse_json(text: str | bytes) -> Any:
    """The value of a JSON document; NaN and Infinity are numbers.

    Raises:
        ValueError: It is not JSON, a key occurs twice in an object, or it is nested too deeply.
    """
    if isinstance(text, bytes):
        text = text.decode(json.detect_encoding(text), "surrogatepass")
    try:
        return _DECODER.decode(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except json.JSONDecodeError:
        raise
    except ValueError as error:
        if isinstance(error, _RepeatedKeyError):
            raise
        raise ValueError("a number has too many digits") from error


class _RepeatedKeyError(ValueError):
    """An object has a key twice. The json module would silently keep the last value."""


def _to_dict(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _RepeatedKeyError(f"the key {twice[:100]!r} occurs twice")
    return found


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_to_dict)
