"""The explanations that a run directory keeps, so that a report needs no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

import numpy as np

from mien.documents import read_json
from mien.errors import RunError
from mien.evaluate.explanations.heat_map import HeatMap, HeatMapDict
from mien.files import atomic_write_json
from mien.names import plain_name

__all__ = [
    "ExplainedLabel",
    "ExplainedPerson",
    "Explanations",
    "ExplanationsDict",
    "explanations_file",
    "read_explanations",
]

_SCHEMA: Final = 1


class ExplainedLabelDict(TypedDict):
    """`ExplainedLabel` as plain values."""

    label: str
    score: float
    words: list[tuple[int, int, float]]
    maps: list[HeatMapDict]
    warnings: list[str]


class ExplainedPersonDict(TypedDict):
    """`ExplainedPerson` as plain values.

    Attributes:
        id: The id of the person.
        description: What the model read; None if nothing.
        labels: The explained labels.
        notes: What a reader should know, in sentences.
    """

    id: str
    description: str | None
    labels: list[ExplainedLabelDict]
    notes: list[str]


class ExplanationsDict(TypedDict):
    """`Explanations` as plain values.

    Attributes:
        split: The split.
        model: The digest of the weights.
        people: Some people of the split.
    """

    schema: Literal[1]
    split: str
    model: str
    people: list[ExplainedPersonDict]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedLabel:
    """Why one label has its score.

    Attributes:
        label: The label.
        score: The score of the label, from 0 to 1.
        words: Start, end and drop of each word of the description: its first character, the one after its
            last, and how much hiding it lowers the score.
        maps: The maps of the photo, in the order in which to look at them.
        warnings: What was measured and found unfaithful.
    """

    label: str
    score: float
    words: tuple[tuple[int, int, float], ...]
    maps: tuple[HeatMap, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainedPerson:
    """One person: the description that the model read, the labels, and what a reader should know."""

    id: str
    description: str | None
    labels: tuple[ExplainedLabel, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanations:
    """Some people of a split, explained by the model whose weights have this digest."""

    split: str
    model: str
    people: tuple[ExplainedPerson, ...]

    def save(self, run: Path) -> Path:
        """Writes them into a run directory, and returns the file."""
        path = explanations_file(run, self.split)
        document: ExplanationsDict = {
            "schema": _SCHEMA,
            "split": self.split,
            "model": self.model,
            "people": [_to_json(person) for person in self.people],
        }
        atomic_write_json(path, document)
        return path


def explanations_file(run: Path, split: str) -> Path:
    """The file with a run's explanations of a split; DataError if the split's name is not plain."""
    return run / f"explanations-{plain_name(split, 'the split')}.json"


def read_explanations(run: Path, split: str) -> Explanations | None:
    """What was saved; None if nothing was, RunError if the file is damaged or of another schema."""
    path = explanations_file(run, split)
    if not path.exists():
        return None
    hint = f"run mien report {run} --explain again"
    try:
        found = read_json(path)
        if found["schema"] != _SCHEMA:
            raise RunError(f"{path} is not of schema {_SCHEMA}", hint=hint)
        return Explanations(
            split=str(found["split"]),
            model=str(found["model"]),
            people=tuple(_person(item) for item in found["people"]),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path} is damaged: {error}", hint=hint) from error


def _to_json(person: ExplainedPerson) -> ExplainedPersonDict:
    return {
        "id": person.id,
        "description": person.description,
        "labels": [
            {
                "label": item.label,
                "score": item.score,
                "words": list(item.words),
                "maps": [heat_map.to_dict() for heat_map in item.maps],
                "warnings": list(item.warnings),
            }
            for item in person.labels
        ],
        "notes": list(person.notes),
    }


def _person(fields: Mapping[str, Any]) -> ExplainedPerson:
    description = fields["description"]
    return ExplainedPerson(
        id=str(fields["id"]),
        description=None if description is None else str(description),
        labels=tuple(_label(item) for item in fields["labels"]),
        notes=_texts(fields["notes"]),
    )


def _label(fields: Mapping[str, Any]) -> ExplainedLabel:
    return ExplainedLabel(
        label=str(fields["label"]),
        score=float(fields["score"]),
        words=tuple((int(start), int(end), float(drop)) for start, end, drop in fields["words"]),
        maps=tuple(_map(item) for item in fields["maps"]),
        warnings=_texts(fields["warnings"]),
    )


def _map(fields: Mapping[str, Any]) -> HeatMap:
    values = np.array(fields["values"], dtype=np.float64)
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise ValueError("a map is not a table of numbers")
    return HeatMap(method=str(fields["method"]), values=values)


def _texts(values: Sequence[Any]) -> tuple[str, ...]:
    return tuple(str(value) for value in values)
