"""Checks documents against the JSON schemas of the documentation, in which later versions may add keys."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

import jsonschema

__all__ = ["check_document", "check_printed", "command_of", "with_known_keys_only"]


def check_document(name: str, document: Any) -> None:
    """jsonschema.ValidationError unless a document is as the schema says, without any further key."""
    _validator(name).validate(document)


def check_printed(line: str, document: Any) -> None:
    """The same for the document that a command line has printed."""
    from scripts.docs.schemas import schema_name

    check_document(schema_name(command_of(line)), document)


def command_of(line: str) -> str:
    """The command of a command line, as the schemas name it."""
    from scripts.docs.schemas import COMMANDS

    words = shlex.split(line)
    found = [name for count in (2, 3) if (name := " ".join(words[:count])) in COMMANDS]
    if not found and words[1] == "describe":
        return "mien describe run"  # a recipe follows
    (name,) = found
    return name


@cache
def _validator(name: str) -> Any:
    from scripts.docs.schemas import SCHEMAS

    return jsonschema.Draft202012Validator(with_known_keys_only(SCHEMAS[name].document()))


def with_known_keys_only(schema: Any) -> Any:
    """The schema with `additionalProperties: false` wherever keys are named and others are not described."""
    if isinstance(schema, list):
        return [with_known_keys_only(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    closed = {
        name: {key: with_known_keys_only(part) for key, part in value.items()}
        if name in ("properties", "$defs")
        else with_known_keys_only(value)
        for name, value in schema.items()
    }
    return closed if "properties" not in closed else {"additionalProperties": False, **closed}
