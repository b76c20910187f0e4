"""The recipe in a saved folder: as the run's, without the places of the machine that trained it.

It comes from someone else. It names no code, no server and no file outside of the folder; what a user's
machine is to do, such as which server to ask, is said with overrides.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from mien.documents import read_json
from mien.errors import DamagedError, RunError
from mien.files import atomic_write_json
from mien.model.checkpoint import model_recipe
from mien.predict.saved.layout import RECIPE
from mien.predict.saved.models import require_registered
from mien.recipe import Recipe, RunOptions
from mien.recipe.places import DATA_PLACES, MODEL_PLACES, moved_recipe, outside_places, relative_to_run

__all__ = ["SavedRecipe", "portable_recipe", "read_saved_recipe", "write_saved_recipe"]

_SCHEMA: Final = 1
_AGAIN: Final = "get the folder again from where it was saved"


def portable_recipe(recipe: Recipe, models: Mapping[str, str]) -> Recipe:
    """The recipe for a saved folder.

    Args:
        recipe: The run's.
        models: New values of the keys of models.
    """
    table: dict[str, Any] = recipe.to_json()
    for key in (*DATA_PLACES, *MODEL_PLACES):
        section, name, *option = key.split(".")
        part = table[section] if not option else table[section][name]
        last = option[0] if option else name
        value = models.get(key, part.get(last))
        if isinstance(value, str):
            # Of a place on this machine, only the last name is of interest to others.
            part[last] = value if key in models or not Path(value).is_absolute() else Path(value).name
    table["run"] = RunOptions(device="auto", batch_size=recipe.run.batch_size).model_dump(mode="json")
    return Recipe.parse(table, where="the recipe of the run")


class SavedRecipe(TypedDict):
    """The recipe of a saved model.

    Attributes:
        recipe: The recipe, without places on the machine that saved it.
        digest: Digest of the recipe that the model was trained with.
        versions: Versions of the libraries that trained the model.
    """

    schema: Literal[1]
    recipe: dict[str, Any]
    digest: str
    versions: dict[str, str]


def write_saved_recipe(folder: Path, recipe: Recipe, versions: Mapping[str, str]) -> None:
    """Writes `recipe.json`: the recipe, its digest, and the versions of libraries that trained the model."""
    table = relative_to_run(recipe.to_json(), folder)
    content: SavedRecipe = {
        "schema": _SCHEMA,
        "recipe": table,
        "digest": recipe.digest(),
        "versions": dict(versions),
    }
    atomic_write_json(folder / RECIPE, content)


def read_saved_recipe(folder: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Reads the recipe of a saved folder, and applies overrides.

    Raises:
        DamagedError: The file cannot be read.
        RunError: The recipe names code, a server or a cluster, or a place outside of the folder.
        ConfigError: The recipe or an override is invalid.
    """
    file = folder / RECIPE
    try:
        content = read_json(file)
        schema, table = content["schema"], dict(content["recipe"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"{file} cannot be read: {error!r}", hint=_AGAIN) from error
    if schema != _SCHEMA:
        raise RunError(
            f"{file} has schema {schema!r}, not {_SCHEMA}",
            hint="load it with the version of mien that wrote it",
        )
    recipe = moved_recipe(table, folder)
    for found in (recipe.to_json(), model_recipe(folder)):
        require_registered(found, folder)
    _require_own_machine(recipe, file)
    for place in outside_places(recipe, folder):
        if place.key in MODEL_PLACES:
            raise RunError(f"{file} names {place}, outside of the folder", hint=_AGAIN)
    return moved_recipe(table, folder, overrides)


def _require_own_machine(recipe: Recipe, file: Path) -> None:
    """RunError if the recipe says what this machine is to do, such as which server to send photos to."""
    expected = RunOptions(device=recipe.run.device, batch_size=recipe.run.batch_size)
    if recipe.run != expected:
        table, plain = (options.model_dump(mode="json") for options in (recipe.run, expected))
        key = next(key for key in table if table[key] != plain[key])
        raise RunError(
            f"{file} sets run.{key}, which is for your machine to say",
            hint=f"get the folder from another source, or give the setting yourself: --set run.{key}=...",
        )
