"""The base of all options: frozen, strict, and clear about what is wrong.

Goes in: a table as TOML gives it. Comes out: an instance of an `Options` class, or a ConfigError that
names the key, the file and the nearest valid key.
Knows nothing about: which options exist. Each part of mien declares its own next to its class.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from mien.errors import ConfigError, nearest_hint

__all__ = ["Options"]


class Options(BaseModel):
    """Subclass with annotated fields and defaults; make instances of outside data with `parse`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    @classmethod
    def parse(cls, table: Mapping[str, Any], *, where: str) -> Self:
        """Options from a table; `where` (a file, or a section of one) opens the error's message."""
        try:
            # By way of JSON, because pydantic is then strict about "3" for 3 and still takes text for a
            # path and an array for a tuple, which TOML cannot tell apart.
            return cls.model_validate_json(json.dumps(table))
        except ValidationError as error:
            raise _config_error(cls, error, where) from error
        except TypeError as error:
            raise ConfigError(
                f"{where}: {error}", hint="use text, numbers, booleans, arrays, tables"
            ) from error


def _config_error(cls: type[BaseModel], error: ValidationError, where: str) -> ConfigError:
    problems = error.errors(include_url=False)
    first = problems[0]
    parts = [str(part) for part in first["loc"]]
    key = ".".join(parts)
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    if first["type"] == "extra_forbidden":
        hint = nearest_hint(parts[-1], _keys_beside(cls, parts))
        return ConfigError(f"{where}: unknown key {key!r}{more}", hint=hint)
    if first["type"] == "missing":
        return ConfigError(f"{where}: the key {key!r} is missing{more}", hint=f"add {key} = ...")
    shown = f"{key} = {first['input']!r}" if key else "the whole"
    return ConfigError(f"{where}: {shown} is not valid{more}", hint=first["msg"])


def _keys_beside(cls: type[BaseModel], parts: list[str]) -> list[str]:
    """The valid keys of the table in which the key at `parts` stands; none if it is no options class."""
    table: Any = cls
    for part in parts[:-1]:
        field = table.model_fields.get(part)
        table = None if field is None else field.annotation
        if not (isinstance(table, type) and issubclass(table, BaseModel)):
            return []
    return list(table.model_fields)
