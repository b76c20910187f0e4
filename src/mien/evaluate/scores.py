"""What a model answered on one split, beside the truth: all that metrics and pages need.

Goes in: scores and targets, row by row. Comes out: a checked value that is saved as `.npz` and read back.
Knows nothing about: models, pictures, metrics.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from mien.errors import DataError, MienError, RunError
from mien.labels import LabelSet
from mien.runs import atomic_write_bytes
from mien.types import DIMENSIONS

__all__ = ["SplitScores", "scores_file"]

_SCHEMA: Final = 1
# (sample, label) or (sample, dimension). Without names: a file may hold others, and says so in our words.
Rows = Float32[np.ndarray, "_ _"]

_ARRAYS: Final = ("scores", "targets", "dimensions", "dimension_targets")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitScores:
    """Scores in 0..1 and targets, a row a sample and a column a label, in the label set's order.

    `groups` names each sample's picture. `dimensions` (0..1, in the order of `types.DIMENSIONS`) is None
    for a model that does not estimate them; `dimension_targets` is NaN where nobody annotated. Without
    `has_labels` the scores are base rates, the same for everybody, and no estimates.
    """

    split: str
    label_set: LabelSet
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    scores: Rows
    targets: Rows
    dimensions: Rows | None = None
    dimension_targets: Rows | None = None
    has_labels: bool = True

    def __post_init__(self) -> None:
        rows = len(self.ids)
        if len(self.groups) != rows:
            raise DataError(f"{rows} samples of split {self.split!r} have {len(self.groups)} pictures")
        for name in _ARRAYS:
            columns = len(self.label_set) if name in ("scores", "targets") else len(DIMENSIONS)
            values = getattr(self, name)
            if values is not None and values.shape != (rows, columns):
                raise DataError(
                    f"{name} of split {self.split!r} have the shape {values.shape}, not {(rows, columns)}",
                    hint="give one row a sample, in the order of the ids",
                )
        if not np.isfinite(self.scores).all():
            raise DataError(
                f"scores of split {self.split!r} are not finite",
                hint="the weights hold NaN; look at the loss in events.jsonl",
            )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_dimensions(self) -> bool:
        """True where valence, arousal and dominance were estimated, and annotated for some sample."""
        return (
            self.dimensions is not None
            and self.dimension_targets is not None
            and bool(np.isfinite(self.dimension_targets).any())
        )

    def save(self, path: Path) -> None:
        """Writes an `.npz` file: the arrays, and the rest as JSON text in `meta`."""
        about = {
            "schema": _SCHEMA,
            "split": self.split,
            "label_set": {
                "name": self.label_set.name,
                "labels": self.label_set.labels,
                "exclusive": self.label_set.exclusive,
            },
            "ids": self.ids,
            "groups": self.groups,
            "has_labels": self.has_labels,
        }
        arrays = {name: getattr(self, name) for name in _ARRAYS if getattr(self, name) is not None}
        # JSON and not arrays of text: those drop a NUL at the end and are as wide as the longest id.
        meta = np.frombuffer(json.dumps(about).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, meta=meta, **arrays)
        atomic_write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> SplitScores:
        """What `save` wrote; RunError if the file is missing, damaged or of a newer schema."""
        try:
            with np.load(path, allow_pickle=False) as file:
                about = json.loads(bytes(file["meta"]))
                arrays = {name: file[name] for name in _ARRAYS if name in file}
        except FileNotFoundError as error:
            raise RunError(f"no scores at {path}", hint="make them with mien evaluate") from error
        except Exception as error:  # damaged bytes raise nearly anything in zlib and numpy; this is the seam
            raise _damaged(path, error) from error
        if not isinstance(about, dict) or about.get("schema") != _SCHEMA:
            raise RunError(f"{path} is not of schema {_SCHEMA}", hint="read it with the mien that wrote it")
        try:
            return cls(**_fields(about), **arrays)
        except (MienError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error


def scores_file(run: Path, split: str) -> Path:
    """Where a run keeps the scores of a split."""
    return run / f"scores-{split}.npz"


def _fields(about: dict[str, Any]) -> dict[str, Any]:
    labels = about["label_set"]
    return {
        "split": about["split"],
        "label_set": LabelSet(
            name=labels["name"], labels=tuple(labels["labels"]), exclusive=labels["exclusive"]
        ),
        "ids": tuple(about["ids"]),
        "groups": tuple(about["groups"]),
        "has_labels": bool(about.get("has_labels", True)),
    }


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} cannot be read: {error}", hint="make it again with mien evaluate")
