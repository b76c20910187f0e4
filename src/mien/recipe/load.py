"""Recipes from TOML files, with overrides such as "train.lr=0.001" from the command line."""

from __future__ import annotations

import copy
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mien.documents import read_text
from mien.errors import ConfigError, first_line
from mien.names import plain_name
from mien.recipe.recipe import Recipe

__all__ = ["apply_overrides", "load_recipe", "parse_recipe", "read_toml"]


def load_recipe(path: str | Path, overrides: Iterable[str] = ()) -> Recipe:
    """Loads a recipe from a TOML file.

    Args:
        path: The TOML file.
        overrides: Settings such as "train.lr=0.001", applied in order.

    Raises:
        ConfigError: The file is missing or not TOML, or a key or value is not valid.
    """
    return parse_recipe(read_toml(Path(path)), overrides, where=str(path))


def parse_recipe(table: Mapping[str, Any], overrides: Iterable[str] = (), *, where: str) -> Recipe:
    """Builds a recipe from a table; `where` begins the message of an error."""
    recipe = Recipe.parse(apply_overrides(table, overrides), where=where)
    plain_name(recipe.name, f"{where}: the name", error=ConfigError)
    return recipe


def read_toml(path: Path) -> dict[str, Any]:
    """Reads the tables of a TOML file; ConfigError if it is missing or not TOML."""
    try:
        return tomllib.loads(read_text(path))
    except FileNotFoundError as error:
        raise ConfigError(
            f"no recipe at {path}", hint="give the path of a TOML file, as in recipes/"
        ) from error
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}", hint="give a readable TOML file"
        ) from error
    except (ValueError, RecursionError) as error:  # also a number of thousands of digits
        raise ConfigError(
            f"{path} is not TOML: {first_line(error)}", hint="fix the syntax error at this position"
        ) from error


def apply_overrides(table: Mapping[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """A copy of the table with each "a.b=value" set; unknown keys are refused later, by `parse_recipe`."""
    result = copy.deepcopy(dict(table))
    for override in overrides:
        dotted, sign, text = override.partition("=")
        keys = [key.strip() for key in dotted.split(".")]
        if not sign or not all(keys):
            raise ConfigError(f"override {override!r} is not key=value", hint="write it as in train.lr=0.001")
        _set(result, keys, _value(text.strip(), override), override)
    return result


def _set(table: dict[str, Any], keys: list[str], value: object, override: str) -> None:
    for depth, key in enumerate(keys[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            parent = ".".join(keys[:depth])
            raise ConfigError(f"override {override!r}: {parent} is a value", hint=f"set {parent} itself")
    table[keys[-1]] = value


def _value(text: str, override: str) -> object:
    """A TOML value; a bare word or path, which is not valid TOML, is text."""
    try:
        parsed = tomllib.loads(f"value = {text}")
    except (ValueError, RecursionError) as error:
        if text[:1] in {'"', "'", "[", "{"}:
            raise ConfigError(
                f"override {override!r}: {first_line(error)}", hint="close the quotes or brackets"
            ) from error
        return text
    if set(parsed) != {"value"}:
        raise ConfigError(f"override {override!r} sets more than one key", hint="give one --set per key")
    return parsed["value"]
