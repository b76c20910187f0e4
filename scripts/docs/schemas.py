"""JSON schemas of recipes, grids and the files of a run, from the classes that read and write them."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass
from typing import Any, Final

from pydantic import TypeAdapter
from scripts.docs.option_tables import attribute_texts, first_paragraph

from mien.ablation.grid import GridOptions
from mien.evaluate.results.results import Evaluation
from mien.recipe import Recipe
from mien.runs import RunManifest

__all__ = ["SCHEMAS", "Schema"]

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"


@dataclass(frozen=True, kw_only=True)
class Schema:
    """A schema and what it is for.

    Attributes:
        kind: The class that the schema is made from.
        file: The file, for the page.
        about: What the file holds, for the page.
        version: The value of the key `schema` that the file has next to the fields of the class; None if the
            class has that field, or the file has none.
    """

    kind: type
    file: str
    about: str
    version: int | None = None

    def document(self) -> dict[str, Any]:
        """The schema."""
        found = TypeAdapter(self.kind).json_schema(mode="validation")
        definitions = {kind.__name__: kind for kind in _dataclasses(self.kind)}
        for name, part in [(self.kind.__name__, found), *found.get("$defs", {}).items()]:
            if name in definitions:
                _describe(part, definitions[name])
        if self.version is not None:
            found["properties"] = {"schema": {"const": self.version}} | found["properties"]
            found["required"] = ["schema", *found.get("required", [])]
        return {"$schema": _DIALECT, **found}


def _dataclasses(kind: Any) -> list[type]:
    """A dataclass and all that its module defines, for their docstrings."""
    if not is_dataclass(kind):
        return []
    module = sys.modules[kind.__module__]
    return [value for value in vars(module).values() if isinstance(value, type) and is_dataclass(value)]


def _describe(part: dict[str, Any], kind: type) -> None:
    part["description"] = first_paragraph(kind)
    for name, text in attribute_texts(kind).items():
        if name in part.get("properties", {}):
            part["properties"][name]["description"] = text


SCHEMAS: Final[Mapping[str, Schema]] = {
    "recipe": Schema(kind=Recipe, file="`recipes/*.toml`", about="a recipe, read as JSON"),
    "grid": Schema(kind=GridOptions, file="`recipes/ablations/*.toml`", about="an ablation, read as JSON"),
    "evaluation": Schema(
        kind=Evaluation,
        file="`evaluation.json`, `results.json`",
        about="scores, differences and intervals",
        version=1,
    ),
    "manifest": Schema(kind=RunManifest, file="`manifest.json`", about="what a run is"),
}
