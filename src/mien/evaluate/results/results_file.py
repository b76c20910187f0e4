"""The JSON file of results; the same format serves one run (`evaluation.json`) and many (`results.json`).

Goes in: results, or a path. Comes out: a file, or results.
Knows nothing about: how results are made or shown.
"""

from __future__ import annotations

import json
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, Final, TypeVar

from mien.errors import RunError
from mien.evaluate.results.results import (
    CalibrationRow,
    Difference,
    DimensionRow,
    LabelRow,
    Look,
    ResultRow,
    Results,
)
from mien.runs import atomic_write_json

__all__ = ["EVALUATION", "RESULTS", "read_results", "write_results"]

EVALUATION: Final = "evaluation.json"
RESULTS: Final = "results.json"
_SCHEMA: Final = 1

Row = TypeVar("Row", ResultRow, Difference, LabelRow, DimensionRow, CalibrationRow, Look)


def write_results(path: Path, results: Results) -> None:
    """Writes `{"schema": 1, "rows": [...], "differences": [...], "labels": [...], ...}`."""
    atomic_write_json(path, {"schema": _SCHEMA, **asdict(results)})


def read_results(path: Path) -> Results:
    """What is in a results file; keys that are not known here are left aside. RunError if damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if found["schema"] != _SCHEMA:
            raise ValueError(f"schema {found['schema']!r}, not {_SCHEMA}")
        return Results(
            rows=_rows(ResultRow, found["rows"]),
            differences=_rows(Difference, found["differences"]),
            # What an earlier mien did not write is not there.
            labels=_rows(LabelRow, found.get("labels", ())),
            dimensions=_rows(DimensionRow, found.get("dimensions", ())),
            calibration=_rows(CalibrationRow, found.get("calibration", ())),
            looks=_rows(Look, found.get("looks", ())),
        )
    except FileNotFoundError as error:
        raise RunError(f"no results at {path}", hint="make them with mien evaluate") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="make it again with mien evaluate") from error


def _rows(kind: type[Row], items: Any) -> tuple[Row, ...]:
    names = [field.name for field in fields(kind)]
    return tuple(kind(**{name: _value(item[name]) for name in names if name in item}) for item in items)


def _value(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
