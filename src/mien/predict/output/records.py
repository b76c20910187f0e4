"""Results as JSON lines of a journal, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mien import errors
from mien.errors import MienError
from mien.predict.results import Person, Results
from mien.types import DIMENSIONS, Box, Description, ImageRef, Prediction

__all__ = ["error_of_kind", "from_record", "to_record"]


def to_record(results: Results) -> dict[str, Any]:
    """Everything of the results but the pixels, as JSON values."""
    return {
        "source": results.source,
        "frame": results.frame,
        "time": results.time,
        "error": _error_record(results.error),
        "people": [
            {
                **person.to_dict(),
                "error": _error_record(person.error),
                "label_set": None if person.prediction is None else person.prediction.label_set,
                "thresholds": None if person.prediction is None else person.prediction.thresholds,
                "min_confidence": None if person.prediction is None else person.prediction.min_confidence,
            }
            for person in results
        ],
    }


def from_record(record: Mapping[str, Any]) -> Results:
    """The results that `to_record` wrote; KeyError, TypeError or MienError for anything else."""
    return Results(
        source=record["source"],
        image=ImageRef(path=Path(record["source"]), frame=record["frame"]),
        frame=record["frame"],
        time=record["time"],
        error=_error(record["error"]),
        people=tuple(map(_person, record["people"])),
    )


def error_of_kind(kind: str, message: str, hint: str) -> MienError:
    """An error by the name of its class; one of the base class if the name is unknown."""
    error: MienError = getattr(errors, kind, MienError)(message, hint=hint)
    return error


def _person(record: Mapping[str, Any]) -> Person:
    box = record["box"]
    return Person(
        id=record["person"],
        track=record["track"],
        box=None if box is None else Box.from_tuple(tuple(box)),
        box_source=record["box_source"],
        box_score=record["box_score"],
        prediction=None if record["label_set"] is None else _prediction(record),
        error=_error(record["error"]),
    )


def _prediction(record: Mapping[str, Any]) -> Prediction:
    dimensions = {name: record[name] for name in DIMENSIONS if record[name] is not None}
    text, found = record["description"], record.get("prediction_set")
    description = None
    if text is not None:  # only the text of a description goes into a file
        description = Description(key="", subject_id="", text=text, prompt_id="", engine="", finish="stop")
    return Prediction(
        subject_id=str(record["person"]),
        label_set=record["label_set"],
        scores=record["scores"],
        dimensions=dimensions or None,
        bounded=tuple(record["bounded"]),
        description=description,
        status=record["status"],
        thresholds=record["thresholds"],
        # A journal of an earlier version lacks these.
        min_confidence=record.get("min_confidence"),
        prediction_set=None if found is None else tuple(found),
        coverage=record.get("coverage"),
    )


def _error_record(error: MienError | None) -> dict[str, str] | None:
    if error is None:
        return None
    return {"kind": type(error).__name__, "message": str(error), "hint": error.hint}


def _error(record: Mapping[str, str] | None) -> MienError | None:
    return None if record is None else error_of_kind(record["kind"], record["message"], record["hint"])
