"""A model's scores on one split with the targets: what metrics and reports need, saved as `.npz`."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from jaxtyping import Float32

from mien.documents import require_file
from mien.errors import DataError, MienError, RunError
from mien.files import atomic_write_bytes
from mien.labels import LabelSet
from mien.names import plain_name
from mien.types import DIMENSIONS

__all__ = ["SplitScores", "scores_file"]

_SCHEMA: Final = 1
_TOLERANCE: Final = 1e-3
# (sample, label) or (sample, dimension). No axis names, so that our own error names a wrong shape in a file.
Array = Float32[np.ndarray, "_ _"]

_ARRAYS: Final = ("scores", "targets", "dimensions", "dimension_targets")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitScores:
    """A model's scores on one split, with the targets. Rows are samples.

    Attributes:
        split: The split.
        label_set: The labels, in the order of the columns.
        ids: The subject id of each sample.
        groups: The image of each sample. Samples of one image are not independent, so intervals resample
            images.
        scores: Scores in 0..1, [sample, label].
        targets: What annotators chose, 0..1, [sample, label]; from 0.5 on a label holds.
        dimensions: Valence, arousal and dominance as the model predicts them, [sample, 3]; None if it does
            not. The scale is 0..1, which a linear head may leave; pages and predictions bound them, metrics
            do not.
        dimension_targets: What annotators chose, 0..1, [sample, 3]; NaN where they did not.
        has_labels: Whether the model predicts labels. If not, the scores are base rates, the same for all
            samples.

    Raises:
        DataError: The split's name is not plain, shapes do not fit the ids and the label set, or scores or
            targets are not finite or not in 0..1.
    """

    split: str
    label_set: LabelSet
    ids: tuple[str, ...]
    groups: tuple[str, ...]
    scores: Array
    targets: Array
    dimensions: Array | None = None
    dimension_targets: Array | None = None
    has_labels: bool = True

    def __post_init__(self) -> None:
        plain_name(self.split, "the split")
        rows = len(self.ids)
        if len(self.groups) != rows:
            raise DataError(f"{rows} samples of split {self.split!r} have {len(self.groups)} images")
        for name in _ARRAYS:
            columns = len(self.label_set) if name in ("scores", "targets") else len(DIMENSIONS)
            values = getattr(self, name)
            if values is not None and values.shape != (rows, columns):
                raise DataError(
                    f"{name} of split {self.split!r} have the shape {values.shape}, not {(rows, columns)}",
                    hint="give one row per sample, in the order of the ids",
                )
        self._check_values("scores", self.scores, "the weights contain NaN; check the loss in events.jsonl")
        self._check_values("targets", self.targets, "check the annotations of the split")
        for name in ("dimensions", "dimension_targets"):
            values = getattr(self, name)
            # Not annotated is NaN, and a model may leave the scale.
            if values is not None and (np.isinf(values) | (np.isnan(values) & (name == "dimensions"))).any():
                raise DataError(
                    f"{name} of split {self.split!r} are not finite",
                    hint="the weights or the annotations contain NaN or infinite numbers",
                )

    def _check_values(self, name: str, values: Array, hint: str) -> None:
        """DataError, with the first sample, for values that are not finite or not in 0..1."""
        for what, wrong in (
            ("not finite", ~np.isfinite(values)),
            # Rounding may lift a softmax slightly above 1.
            ("not from 0 to 1", (values < -_TOLERANCE) | (values > 1 + _TOLERANCE)),
        ):
            if wrong.any():
                first = self.ids[int(wrong.any(axis=1).argmax())]
                raise DataError(
                    f"{name} of split {self.split!r} are {what}, for example of {first!r}", hint=hint
                )

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_dimensions(self) -> bool:
        """Whether valence, arousal and dominance were predicted, and annotated for some sample."""
        return (
            self.dimensions is not None
            and self.dimension_targets is not None
            and bool(np.isfinite(self.dimension_targets).any())
        )

    def save(self, path: Path) -> None:
        """Writes an `.npz` file: the arrays, and the rest as JSON text in `meta`."""
        meta = {
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
        # JSON rather than arrays of text, which drop a trailing NUL and are as wide as the longest id.
        meta_bytes = np.frombuffer(json.dumps(meta).encode(), dtype=np.uint8)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, meta=meta_bytes, **arrays)
        atomic_write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: Path) -> SplitScores:
        """Reads what `save` wrote; RunError if the file is missing, damaged or of another schema."""
        try:
            require_file(path)
            with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
                meta = json.loads(bytes(file["meta"]))
                arrays = {name: file[name] for name in _ARRAYS if name in file}
        except FileNotFoundError as error:
            raise RunError(f"no scores at {path}", hint="create them with mien evaluate") from error
        except Exception as error:  # damaged bytes raise almost anything in zlib and numpy
            raise _damaged(path, error) from error
        if not isinstance(meta, dict) or meta.get("schema") != _SCHEMA:
            raise RunError(
                f"{path} is not of schema {_SCHEMA}",
                hint="read it with the version of mien that wrote it",
            )
        try:
            return cls(**_fields(meta), **arrays)
        except (MienError, KeyError, TypeError, AttributeError) as error:
            raise _damaged(path, error) from error


def scores_file(run: Path, split: str) -> Path:
    """The file with a run's scores on a split; DataError if the split's name is not plain."""
    return run / f"scores-{plain_name(split, 'the split')}.npz"


def _fields(meta: dict[str, Any]) -> dict[str, Any]:
    labels = meta["label_set"]
    return {
        "split": meta["split"],
        "label_set": LabelSet(
            name=labels["name"], labels=tuple(labels["labels"]), exclusive=labels["exclusive"]
        ),
        "ids": tuple(meta["ids"]),
        "groups": tuple(meta["groups"]),
        "has_labels": bool(meta.get("has_labels", True)),
    }


def _damaged(path: Path, error: Exception) -> RunError:
    return RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again")
