"""The floating-point types of a run: `auto` becomes a stated type once, which later commands keep.

Otherwise a command on another machine would look for descriptions and features of another type.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from mien.documents import read_json
from mien.errors import RunError
from mien.files import atomic_write_json, make_folder
from mien.recipe import Recipe
from mien.weights.dtypes import resolve_dtype

__all__ = ["record_dtypes", "resolve_dtypes"]

_log = logging.getLogger(__name__)

_FILE: Final = "dtypes.json"
_KEYS: Final = (("describe", "dtype"), ("features", "dtype"), ("train", "precision"))
_TYPES: Final = ("float32", "bfloat16", "float16")


def resolve_dtypes(recipe: Recipe, run: Path) -> tuple[Recipe, dict[str, str]]:
    """The recipe with a type in place of each `auto`, and these types by key.

    Args:
        recipe: The recipe.
        run: The run directory, which records the types once a step has written to it.

    Raises:
        RunError: What it records cannot be read.
    """
    names = [(section, key) for section, key in _KEYS if getattr(getattr(recipe, section), key) == "auto"]
    if not names:
        return recipe, {}
    recorded, stated = _read(run), {}
    for section, key in names:
        name = f"{section}.{key}"
        stated[name] = recorded.get(name) or resolve_dtype("auto", recipe.run.device)
        options = getattr(recipe, section).model_copy(update={key: stated[name]})
        recipe = recipe.model_copy(update={section: options})
    _log.info("auto is %s", ", ".join(f"{value} ({name})" for name, value in stated.items()))
    return recipe, stated


def record_dtypes(run: Path, stated: Mapping[str, str]) -> None:
    """Records the types of `resolve_dtypes` in the run directory."""
    recorded = _read(run)
    if stated and not stated.items() <= recorded.items():
        make_folder(run)
        atomic_write_json(run / _FILE, {**recorded, **stated})


def _read(run: Path) -> dict[str, str]:
    path = run / _FILE
    try:
        recorded: Any = read_json(path) if path.exists() else {}
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="state the types in the recipe") from error
    if not isinstance(recorded, dict) or not all(value in _TYPES for value in recorded.values()):
        raise RunError(f"{path} does not name floating-point types", hint="state the types in the recipe")
    return recorded
