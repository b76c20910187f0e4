"""The recipe that a run records as TOML, which `mien train` reads, without the folders of that run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from mien.recipe.places import RUN_PLACES

__all__ = ["recipe_toml"]

_BARE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")


def recipe_toml(recipe: Mapping[str, Any]) -> str:
    """A recipe's table as TOML. What is None is left out: None is never anything but a default."""
    top = [f"{_key(name)} = {_value(value)}" for name, value in recipe.items() if _is_plain(value)]
    sections = []
    for name, table in recipe.items():
        if not isinstance(table, Mapping):
            continue
        lines = [
            f"{_key(key)} = {_value(value)}"
            for key, value in table.items()
            if value is not None and f"{name}.{key}" not in RUN_PLACES
        ]
        sections.append("\n".join([f"[{_key(name)}]", *lines]))
    return "\n\n".join(["\n".join(top), *sections] if top else sections) + "\n"


def _is_plain(value: object) -> bool:
    return value is not None and not isinstance(value, Mapping)


def _key(name: str) -> str:
    return name if name and set(name) <= _BARE else _text(name)


def _text(text: str) -> str:
    # TOML's basic strings have JSON's escapes; it also wants DEL escaped, and knows no lone surrogates.
    plain = text.encode("utf-8", "replace").decode()
    return json.dumps(plain, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        items = (f"{_key(str(key))} = {_value(item)}" for key, item in value.items() if item is not None)
        return f"{{ {', '.join(items)} }}" if value else "{}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_value(item) for item in value)}]"
    return _text(str(value))
