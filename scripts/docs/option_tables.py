"""Options classes as tables of Markdown: key, type, default, meaning."""

from __future__ import annotations

import inspect
import re
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from mien.recipe import Options

__all__ = ["argument_texts", "attribute_texts", "first_paragraph", "key_table", "type_words"]

_WORDS = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", type(None): ""}
_LIMITS = {"gt": ">", "ge": "≥", "lt": "<", "le": "≤"}


def key_table(options: type[Options], prefix: str = "", texts: Mapping[str, str] | None = None) -> str:
    """One row per key.

    Args:
        options: The class.
        prefix: The section, such as "train".
        texts: What keys mean that the class does not explain.
    """
    inherited = {**(texts or {}), **attribute_texts(options)}
    start = f"{prefix}." if prefix else ""
    rows = ["| key | type | default | |", "|---|---|---|---|"]
    for name, field in options.model_fields.items():
        text = " ".join((field.description or inherited.get(name, "")).split())
        text = text[:1].upper() + text[1:]
        text = text.replace("|", "\\|").replace("<", "&lt;")
        rows.append(f"| `{start}{name}` | {_type(field)} | {_default(field)} | {text} |")
    return "\n".join([*rows, ""])


def _type(field: FieldInfo) -> str:
    limits = _limits(field.metadata)
    return f"{type_words(field.annotation)}{limits}".replace("|", "\\|")


def type_words(annotation: Any) -> str:
    """A type in words, such as "list of text" or `"a"`, `"b"`; without None, which TOML does not have."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        words = type_words(arguments[0]) + _limits(arguments[1:])
    elif origin is Literal:
        words = ", ".join(f"`{argument!r}`".replace("'", '"') for argument in arguments)
    elif origin in (Union, types.UnionType):
        words = " or ".join(filter(None, (type_words(argument) for argument in arguments)))
    elif origin is tuple:
        count = "list" if Ellipsis in arguments else str(len(arguments))
        words = f"{count} of {type_words(arguments[0])}"
    elif origin is dict or (inspect.isclass(annotation) and issubclass(annotation, Options)):
        words = "table"
    else:
        words = _WORDS.get(annotation, str(annotation))
    return words


def _limits(metadata: Any) -> str:
    found = [
        f"{sign} {getattr(entry, name):g}"
        for entry in metadata
        for name, sign in _LIMITS.items()
        if getattr(entry, name, None) is not None
    ]
    found += [
        text
        for entry in metadata
        if isinstance(entry, FieldInfo) and (text := _limits(entry.metadata).strip(" ,"))
    ]
    return f" {' and '.join(found)}" if found else ""


def _default(field: FieldInfo) -> str:
    value = field.get_default(call_default_factory=True)
    if value is PydanticUndefined:
        return "required"
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return "`[" + ", ".join(_literal(part) for part in value) + "]`"
    return f"`{_literal(value)}`"


def _literal(value: object) -> str:
    """A value as in TOML."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | Path):
        return f'"{value}"'
    if isinstance(value, dict | float):
        return "{}" if value == {} else f"{value:g}"
    return str(value)


def first_paragraph(component: object) -> str:
    """The first paragraph of a docstring, in one line; its class must have one of its own."""
    return " ".join((inspect.getdoc(component) or "").split("\n\n")[0].split())


def attribute_texts(documented: type) -> dict[str, str]:
    """What the section "Attributes" of a Google-style docstring says, also of base classes."""
    found: dict[str, str] = {}
    for kind in reversed(documented.__mro__):
        found |= _section_texts(kind, "Attributes")
    return found


def argument_texts(documented: object) -> dict[str, str]:
    """What the section "Args" of a Google-style docstring says."""
    return _section_texts(documented, "Args")


def _section_texts(documented: object, title: str) -> dict[str, str]:
    _, _, section = inspect.cleandoc(documented.__doc__ or "").partition(f"{title}:\n")
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    entries = re.finditer(r"^ {4}(\w+): (.*(?:\n {5,}.*)*)", section, re.MULTILINE)
    return {match[1]: " ".join(match[2].split()) for match in entries}
