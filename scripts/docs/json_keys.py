"""The page that explains each key of the JSON documents, from their schemas."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from scripts.docs.schemas import COMMANDS, FILES, Schema

__all__ = ["definitions", "keys_page", "text_of", "type_words"]

_REFERENCE: Final = "#/$defs/"
_ON_A_PAGE: Final = ("recipe", "grid")  # have one of their own


def keys_page() -> str:
    """A table of keys per command and file, and one per object in them."""
    files = {
        ", ".join(f"`{file}`" for file in schema.files): schema
        for name, schema in FILES.items()
        if name not in _ON_A_PAGE
    }
    return "\n".join(
        [
            "# Keys of JSON documents\n",
            "What commands print with `--json`, and what is in the files of runs, datasets and saved models, "
            "key by key; [JSON schemas](schemas.md) say the same to programs.\n",
            "A key with a question mark is missing where it does not apply. A type such as object of number "
            "stands for an object whose keys depend on the data, such as the names of labels. An array in "
            "brackets, such as [integer, number], has exactly these items.\n",
            "## Commands\n",
            *(line for command, schema in COMMANDS.items() for line in _document(f"`{command}`", schema)),
            "## Files\n",
            *(line for shown, schema in files.items() for line in _document(shown, schema)),
            "## Objects in documents\n",
            *(line for name, part in sorted(definitions().items()) for line in _section(name, part)),
        ]
    )


def definitions() -> dict[str, Any]:
    """The objects in documents by name, which stands for the same object in all schemas."""
    found: dict[str, Any] = {}
    files = [schema for name, schema in FILES.items() if name not in _ON_A_PAGE]
    for schema in (*COMMANDS.values(), *files):
        for name, part in schema.document(is_complete=True).get("$defs", {}).items():
            if found.setdefault(name, part) != part:
                raise ValueError(f"two different objects are called {name}")
    return found


def _document(shown: str, schema: Schema) -> Iterator[str]:
    yield f"### {shown}\n"
    document = schema.document(is_complete=True)
    yield f"{schema.about[:1].upper()}{schema.about[1:]}.\n"
    parts = document.get("anyOf", [document])
    for part in parts:
        if len(parts) > 1:
            yield f"{part['description']}\n"
        yield from _table(part)


def _section(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    yield f"### {name}\n"
    yield f"{part['description']}\n"
    yield from _table(part)


def _table(part: Mapping[str, Any]) -> Iterator[str]:
    required = part.get("required", [])
    yield "| key | type | |"
    yield "|---|---|---|"
    for key, value in part["properties"].items():
        mark = "" if key in required else " ?"
        yield f"| `{key}`{mark} | {type_words(value)} | {text_of(value)} |"
    yield ""


def text_of(value: Mapping[str, Any]) -> str:
    """What a value means, as the cell of a table."""
    text = str(value["description"]).replace("|", "\\|")
    # In code, Markdown shows "<" as it is.
    return "`".join(
        part if is_code else part.replace("<", "&lt;")
        for part, is_code in zip(text.split("`"), itertools.cycle((False, True)), strict=False)
    )


def type_words(value: Any) -> str:
    """The types of a value in words, with links to the objects of the page.

    Alternatives inside of an array or an object are in parentheses.
    """
    if not isinstance(value, Mapping) or value.keys() <= {"title", "description"}:
        return "any value"
    if "$ref" in value:
        name = value["$ref"].removeprefix(_REFERENCE)
        return f"[{name}](#{name.lower()})"
    if "anyOf" in value:
        options = [type_words(option) for option in value["anyOf"]]
        return (", or " if any(" of " in option for option in options) else " or ").join(options)
    if "const" in value or "enum" in value:
        return ", ".join(f"`{json.dumps(one)}`" for one in value.get("enum", [value.get("const")]))
    return _simple_words(value)


def _simple_words(value: Mapping[str, Any]) -> str:
    if "prefixItems" in value:
        return f"[{', '.join(map(type_words, value['prefixItems']))}]"
    inner = value.get({"array": "items", "object": "additionalProperties"}.get(value["type"], ""))
    if not isinstance(inner, Mapping) or not inner:
        return str(value["type"])
    is_choice = "anyOf" in inner or "enum" in inner
    return f"{value['type']} of {f'({type_words(inner)})' if is_choice else type_words(inner)}"
