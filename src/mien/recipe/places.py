"""Where the parts of a run lie: relative to the run if they are inside of it, so that a run can be moved.

A path that begins with a dot is relative to the run directory. What lies outside, such as the dataset, has an
absolute path, and `--set KEY=PATH` gives its new place. A run of an ablation, VARIANT/seed-N or
VARIANT/train-SIZE/seed-N, is part of it: the store and the features of the ablation count as inside.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mien.errors import ConfigError, DataError, WeightsError
from mien.recipe.load import apply_overrides
from mien.recipe.recipe import Recipe
from mien.runs import MANIFEST, Run

__all__ = [
    "DATA_PLACES",
    "MODEL_PLACES",
    "RUN_PLACES",
    "OutsidePlace",
    "differing_keys",
    "is_same_recipe",
    "moved_recipe",
    "outside_note",
    "outside_places",
    "recorded_recipe",
    "relative_to_run",
    "require_places",
    "resolve_in_run",
]

_Table = dict[str, Any]

# Folders and files that a command makes: they decide nothing.
RUN_PLACES: Final = ("run.out", "run.store", "run.cache")
# The same data may lie anywhere: a training checks them, and so do the digests of features and descriptions.
DATA_PLACES: Final = ("data.root", "data.split_file", "data.options.images", "data.options.faces")
# The same model may lie in a folder of the same name elsewhere; its signature is checked.
MODEL_PLACES: Final = (
    *("describe.model", "describe.options.faces", "describe.options.expression", "describe.options.pose"),
    *("features.vision", "features.tokenizer", "model.init", "zero_shot.encoder"),
)
_PLACES: Final = (*RUN_PLACES, *DATA_PLACES, *MODEL_PLACES)
_SEED_FOLDER: Final = re.compile(r"seed-\d+")  # of a run in its ablation, below the folder of the variant
_SIZE_FOLDER: Final = re.compile(r"train-\d+")  # between both, in a learning curve


@dataclass(frozen=True, slots=True)
class OutsidePlace:
    """A file or folder outside of a run that the run uses: the key that sets it, and where it is."""

    key: str
    path: Path

    def __str__(self) -> str:
        return f"{self.path} ({self.key})"


# --- Writing and reading -------------------------------------------------------------------------------


def relative_to_run(table: Mapping[str, Any], run: Path) -> _Table:
    """A copy of a recipe's table, for the file of a run, with the places inside of the run relative to it."""
    run = run.absolute()
    return _map_places(table, lambda value: _relative(value, run))


def resolve_in_run(table: Mapping[str, Any], run: Path) -> _Table:
    """The inverse of `relative_to_run`, wherever the run is now.

    Runs of mien 0.1.0 recorded absolute paths. Those inside of the recorded run directory are meant to be
    inside of this one.
    """
    run = run.absolute()
    recorded = _get(table, "run.out")
    old = Path(recorded) if isinstance(recorded, str) and Path(recorded).is_absolute() else None
    return _map_places(table, lambda value: _resolve(value, run, old))


def recorded_recipe(run: Path, overrides: Iterable[str] = ()) -> Recipe:
    """The recipe that a run directory records, with its places as they are now.

    Args:
        run: The run directory.
        overrides: New places, such as "data.root=/data/EMOTIC", or settings of `[run]`.

    Raises:
        RunError: The directory is not a run.
        ConfigError: An override would change the results.
    """
    return moved_recipe(Run.open(run).manifest.recipe, run, overrides)


def moved_recipe(table: Mapping[str, Any], folder: Path, overrides: Iterable[str] = ()) -> Recipe:
    """`recorded_recipe` of a table that `relative_to_run` gave, which a file in `folder` holds."""
    overrides = tuple(overrides)
    for override in overrides:
        key = override.partition("=")[0].strip()
        if key not in _PLACES and not key.startswith("run."):
            raise ConfigError(
                f"override {override!r}: the run was trained with another value or with this one",
                hint=f"override only [run] and the places {', '.join((*DATA_PLACES, *MODEL_PLACES))}",
            )
    table = resolve_in_run(table, folder)
    return Recipe.parse(apply_overrides(table, overrides), where=str(folder))


def outside_places(recipe: Recipe, run: Path) -> tuple[OutsidePlace, ...]:
    """What a run uses that does not lie inside of it: data, models in folders, a shared store and cache."""
    run, table, found = run.absolute(), recipe.to_json(), []
    for key in _PLACES:
        value = _get(table, key)
        is_name = key in MODEL_PLACES and not Path(str(value)).is_absolute()
        if not isinstance(value, str) or key == "run.out" or is_name:
            continue
        # Options of a dataset name what lies below its root.
        below = recipe.data.root if key.startswith("data.options.") else None
        path = ((below or Path()) / value).absolute()
        if _relative(str(path), run) == str(path):
            found.append(OutsidePlace(key, path))
    return tuple(found)


def outside_note(recipe: Recipe, run: Path, *, but: Iterable[str] = ()) -> str | None:
    """The note that names what a run uses outside of itself, but for some keys; None if there is nothing."""
    places = [str(place) for place in outside_places(recipe, run) if place.key not in but]
    return f"note: {run} uses {', '.join(places)}, outside of it" if places else None


def require_places(recipe: Recipe, run: Path, *, but: Iterable[str] = ()) -> None:
    """Raises DataError or WeightsError, with the key, for what lies outside of a run and is not there.

    Args:
        recipe: The run's recipe.
        run: The run directory.
        but: Keys of places that are not needed.
    """
    for place in outside_places(recipe, run):
        if place.key not in but and not os.path.lexists(place.path):
            kind = WeightsError if place.key in MODEL_PLACES else DataError
            raise kind(
                f"{run} uses {place}, and there is nothing",
                hint=f"bring it back, or give its new place with --set {place.key}=PATH",
            )


def _relative(value: str, run: Path) -> str:
    """The path relative to the run or its ablation, beginning with a dot; unchanged if it lies elsewhere."""
    path = Path(value)
    if not path.is_absolute():
        return value
    # As written first: a link inside of the run is inside, wherever it leads.
    for place, home in ((path, run), (path.parent.resolve() / path.name, run.resolve())):
        if place.is_relative_to(_home(home)):
            relative = os.path.relpath(place, home)
            return relative if relative.startswith(".") else f"./{relative}"
    return value


def _resolve(value: str, run: Path, old: Path | None) -> str:
    path = Path(value)
    if value.split("/", 1)[0] in (".", ".."):
        # Not across links: of a link to a run, the parents are those of the run.
        base = run.resolve() if ".." in path.parts else run
        return os.path.normpath(base / path)
    if old is None or not path.is_absolute():
        return value
    if path.is_relative_to(old):
        return str(run / path.relative_to(old))
    home, parts = _home(run.resolve()), len(run.resolve().parts)
    depth = parts - len(home.parts)
    if depth and old.parts[-depth:] == run.resolve().parts[-depth:]:
        old_home = old.parents[depth - 1]
        if path.is_relative_to(old_home):
            return str(home / path.relative_to(old_home))
    return value


def _home(run: Path) -> Path:
    """The ablation that a run is part of, or the run itself."""
    if not _SEED_FOLDER.fullmatch(run.name):
        return run
    homes = [run.parent.parent]
    if _SIZE_FOLDER.fullmatch(run.parent.name):
        homes.append(run.parent.parent.parent)
    return next((home for home in homes if (home / MANIFEST).exists()), run)


def _map_places(table: Mapping[str, Any], change: Callable[[str], str]) -> _Table:
    result = dict(table)
    for key in _PLACES:
        value = _get(result, key)
        if isinstance(value, str):
            *sections, name = key.split(".")
            parent = result
            for section in sections:  # copied, so that the given table does not change
                parent[section] = dict(parent[section])
                parent = parent[section]
            parent[name] = change(value)
    return result


def _get(table: Mapping[str, Any], key: str) -> object:
    value: object = table
    for name in key.split("."):
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


# --- Comparing -----------------------------------------------------------------------------------------


def is_same_recipe(one: Recipe, other: Recipe) -> bool:
    """Whether two recipes ask for the same results, wherever their data and models lie."""
    return one.digest() == other.digest() or not differing_keys(one, other)


def differing_keys(one: Recipe, other: Recipe) -> list[str]:
    """The keys in which two recipes differ, with both values, such as "train.lr (0.1, 0.2)".

    `[run]` and places are left out.
    """
    differing = []
    theirs = other.to_json()
    for section, table in one.to_json().items():
        if section == "run" or table == theirs[section]:
            continue
        pairs = {section: (table, theirs[section])}
        if isinstance(table, dict) and isinstance(values := theirs[section], dict):
            pairs = {f"{section}.{key}": (table[key], values[key]) for key in table}
        differing += [
            f"{key} ({a!r}, {b!r})" for key, (a, b) in pairs.items() if a != b and not _is_moved(key, a, b)
        ]
    return differing


def _is_moved(key: str, one: object, other: object) -> bool:
    """Whether two values are places that may hold the same."""
    if key in ("data.options", "describe.options") and isinstance(one, dict) and isinstance(other, dict):
        keys = {name for name in (*one, *other) if one.get(name) != other.get(name)}
        return all(_is_moved(f"{key}.{name}", one.get(name), other.get(name)) for name in keys)
    if key not in _PLACES or not isinstance(one, str) or not isinstance(other, str):
        return False
    if key in DATA_PLACES:
        return True
    return Path(one).is_absolute() and Path(other).is_absolute() and Path(one).name == Path(other).name
