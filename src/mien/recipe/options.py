"""The base of all options: frozen, strict, with errors that name the key and the nearest valid one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.errors import ConfigError, first_line, nearest_hint

__all__ = ["Options"]


class Options(BaseModel):
    """Options of a section or a component.

    Subclass it with annotated fields and defaults, each followed by a docstring. Build instances from outside
    data with `parse`.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )

    @classmethod
    def parse(cls, table: Mapping[str, Any], *, where: str) -> Self:
        """Builds options from a table as TOML gives it.

        Args:
            table: Keys and values.
            where: The file, or a section of one; begins the error message.

        Raises:
            ConfigError: A key is unknown or missing, or a value has the wrong type.
        """
        if fault := _find_fault(table):
            raise ConfigError(f"{where}: {fault}", hint="correct it")
        try:
            # Through JSON: pydantic then refuses "3" for 3, but accepts text for a path and an array for a
            # tuple, which TOML does not distinguish.
            return cls.model_validate_json(json.dumps(table))
        except ValidationError as error:
            raise _config_error(cls, error, where) from error
        except (TypeError, ValueError, RecursionError) as error:
            raise ConfigError(
                f"{where}: {first_line(error)}", hint="use text, numbers, booleans, arrays, tables"
            ) from error


def _find_fault(value: object, key: str = "a value") -> str:
    """What no setting may hold: a NUL, or a number that no library takes; "" if there is nothing."""
    if isinstance(value, str):
        return f"{key} contains a NUL character" if "\0" in value else ""
    if isinstance(value, int):
        return f"{key} is too large" if abs(value) >= 2**63 else ""
    if isinstance(value, Mapping):
        prefix = "" if key == "a value" else f"{key}."
        faults = (_find_fault(part, f"{prefix}{name}") for name, part in value.items())
    else:
        faults = (_find_fault(part, key) for part in (value if isinstance(value, list) else ()))
    return next(filter(None, faults), "")


def _config_error(cls: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    problems = error.errors(include_url=False)
    first = problems[0]
    parts = [str(part) for part in first["loc"]]
    key = ".".join(parts)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = nearest_hint(parts[-1], _sibling_keys(cls, parts))
        return ConfigError(f"{where}: unknown key {key!r}{more}", hint=hint)
    if first["type"] == "missing":
        return ConfigError(f"{where}: the key {key!r} is missing{more}", hint=f"add {key} = ...")
    shown = f"{key} = {first['input']!r}" if key else "the whole"
    hint = first["msg"].removeprefix("Value error, ")  # pydantic's prefix for a validator of ours
    return ConfigError(f"{where}: {shown} is not valid{more}", hint=hint)


def _sibling_keys(cls: type[BaseModel], parts: list[str]) -> list[str]:
    """The valid keys in the table of the key at `parts`; none if that table is not an options class."""
    table: Any = cls
    for part in parts[:-1]:
        if get_origin(table) is dict:
            table = get_args(table)[1]
        elif _is_model(table) and part in table.model_fields:
            table = table.model_fields[part].annotation
        else:
            return []
    return list(table.model_fields) if _is_model(table) else []


def _is_model(table: Any) -> bool:
    return isinstance(table, type) and issubclass(table, BaseModel)
