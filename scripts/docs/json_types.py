"""JSON schemas of dataclasses, TypedDicts and pydantic models: made by pydantic, explained by docstrings."""

from __future__ import annotations

import ast
import functools
import inspect
import operator
import re
import sys
import textwrap
import types
from dataclasses import dataclass, is_dataclass
from typing import Annotated, Any, Final, Literal, get_args, get_origin, get_type_hints

import typing_extensions
from pydantic import TypeAdapter
from scripts.docs.option_tables import attribute_texts, first_paragraph

__all__ = ["Part", "json_schema", "merge"]

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
VERSION: Final = "The version of this document."
_PLAIN: Final = "Dict"  # XDict is what X.to_dict or X.to_json gives
_WORDS: Final = {"None": "null", "True": "true", "False": "false"}


@dataclass(frozen=True)
class Part:
    """The keys of one object: those of several types together.

    Attributes:
        kinds: Dataclasses, TypedDicts or pydantic models.
        computed: Properties of the first type that are keys as well.
        patterns: Expressions of further keys, with the types of their values.
        is_open: Whether there are further keys of all kinds.
    """

    kinds: tuple[Any, ...]
    computed: tuple[str, ...] = ()
    patterns: tuple[tuple[str, Any], ...] = ()
    is_open: bool = False

    def document(self, *, is_complete: bool) -> dict[str, Any]:
        """The schema of the object, with its definitions; see `json_schema`."""
        found = merge([json_schema(kind, is_complete=is_complete) for kind in self.kinds])
        for name in self.computed:
            getter = getattr(self.kinds[0], name).fget
            value = TypeAdapter(get_type_hints(getter)["return"]).json_schema()
            found["properties"][name] = value | {"description": _in_json(first_paragraph(getter))}
            found["required"] = [*found.get("required", []), name]
        if self.patterns:
            found["patternProperties"] = {
                pattern: TypeAdapter(kind).json_schema() for pattern, kind in self.patterns
            }
        if self.is_open:
            found["additionalProperties"] = True
        return found


def json_schema(kind: Any, *, is_complete: bool) -> dict[str, Any]:
    """The schema of a type. Texts are from docstrings, unless it is a pydantic model, which has its own.

    Args:
        kind: The type.
        is_complete: Whether values of dataclasses have all keys, as they are written. Otherwise those with a
            default can be missing, as in files of earlier versions.
    """
    found = TypeAdapter(_readable(kind)).json_schema(mode="validation")
    definitions = _described(kind)
    for name, part in [(_name(kind), found), *found.get("$defs", {}).items()]:
        if name in definitions:
            _describe(part, definitions[name])
            if is_complete and is_dataclass(definitions[name]):
                part["required"] = list(part["properties"])
    return found


def merge(schemas: list[dict[str, Any]]) -> dict[str, Any]:
    """One object with the keys of several; title and description are those of the first."""
    found = {**schemas[0]}
    for other in schemas[1:]:
        found["properties"] = found["properties"] | other["properties"]
        found["required"] = [*found.get("required", []), *other.get("required", [])]
        found["$defs"] = found.get("$defs", {}) | other.get("$defs", {})
    return {name: value for name, value in found.items() if value not in ({}, [])}


# --- Types that pydantic reads -------------------------------------------------------------------------


@functools.cache
def _typed_dict(kind: Any) -> Any:
    """The same as a TypedDict of typing_extensions: before Python 3.12, pydantic reads no other."""
    hints = get_type_hints(kind, include_extras=True)
    values = {
        name: _readable(hint) if name in kind.__required_keys__ else _optional(_readable(hint))
        for name, hint in hints.items()
    }
    make: Any = typing_extensions.TypedDict  # mypy knows it with literal keys only
    return make(_name(kind), values)


def _optional(hint: Any) -> Any:
    return hint if get_origin(hint) is typing_extensions.NotRequired else typing_extensions.NotRequired[hint]


def _readable(kind: Any) -> Any:
    """The type with every TypedDict in it as one that pydantic reads."""
    origin, arguments = get_origin(kind), get_args(kind)
    if typing_extensions.is_typeddict(kind):
        return _typed_dict(kind)
    if origin is None or origin is Literal:
        return kind
    if origin is Annotated:
        return Annotated[(_readable(arguments[0]), *arguments[1:])]
    inner = tuple(map(_readable, arguments))
    if origin is types.UnionType:
        return functools.reduce(operator.or_, inner)
    return origin[inner if len(inner) > 1 else inner[0]]


# --- Descriptions --------------------------------------------------------------------------------------


def _described(kind: Any) -> dict[str, Any]:
    """The dataclasses and TypedDicts that a type consists of, by name."""
    found: dict[str, Any] = {}
    pending = [kind]
    while pending:
        part = pending.pop()
        pending += get_args(part)
        if (typing_extensions.is_typeddict(part) or (isinstance(part, type) and is_dataclass(part))) and (
            _name(part) not in found
        ):
            found[_name(part)] = part
            pending += get_type_hints(part).values()
    return found


def _name(kind: Any) -> str:
    """The name of a type in schemas."""
    return str(getattr(kind, "__name__", "")).removesuffix(_PLAIN)


def _describe(part: dict[str, Any], kind: Any) -> None:
    source = _source(kind)
    part["description"] = _in_json(first_paragraph(source or kind))
    texts = {**(_texts(source) if source else {}), **_texts(kind)}
    for name, value in part.get("properties", {}).items():
        if name in texts:
            value["description"] = _in_json(texts[name])
        elif name == "schema":
            value["description"] = VERSION


def _source(kind: Any) -> Any:
    """The class whose values a TypedDict has, if there is one next to it."""
    if not typing_extensions.is_typeddict(kind) or not kind.__name__.endswith(_PLAIN):
        return None
    return vars(sys.modules[kind.__module__]).get(kind.__name__.removesuffix(_PLAIN))


def _texts(kind: Any) -> dict[str, str]:
    """What is known about attributes and properties."""
    found: dict[str, str] = {}
    for base in _bases(kind):
        source = _source(base)
        found |= {**(_texts(source) if source else {}), **_texts(base)}
    properties = {
        name: first_paragraph(value) for name, value in vars(kind).items() if isinstance(value, property)
    }
    return {**found, **properties, **attribute_texts(kind)}


def _bases(kind: Any) -> list[Any]:
    """The TypedDicts that a TypedDict is based on, which it does not remember before Python 3.12."""
    if not typing_extensions.is_typeddict(kind):
        return []
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)
    names = [ast.unparse(base) for base in definition.bases]
    known = vars(sys.modules[kind.__module__])
    return [known[name] for name in names if typing_extensions.is_typeddict(known.get(name))]


def _in_json(text: str) -> str:
    """A text about values of Python as one about values of JSON."""
    return re.sub(r"\b(None|True|False)\b", lambda match: _WORDS[match[0]], text)
