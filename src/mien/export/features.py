"""Exports image features, so that others can train on them without the images.

Features are those that a training reads: the encoder's tokens of the marked image, rounded to float16. Those
that the recipe's cache lacks are encoded first.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from jaxtyping import Float

from mien.errors import ConfigError
from mien.export.descriptions import ExportSummary
from mien.export.webdataset import write_shards
from mien.features.cache import FeatureReader
from mien.files import atomic_folder, require_new_folder
from mien.prefetch import batched
from mien.workflow.experiment import Experiment

__all__ = ["FEATURE_FORMATS", "FeatureFormat", "export_features"]

FeatureFormat = Literal["parquet", "webdataset"]
FEATURE_FORMATS: Final[tuple[FeatureFormat, ...]] = ("parquet", "webdataset")
_BATCH: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    id: str
    split: str
    tokens: Float[np.ndarray, "token dim"]


def export_features(
    experiment: Experiment, folder: Path, *, format: FeatureFormat, splits: Sequence[str] | None = None
) -> ExportSummary:
    """Writes the image features of a recipe's subjects into a new folder.

    Args:
        experiment: The recipe's.
        folder: A new or empty folder.
        format: "parquet": `features.parquet`, with a list of float16 per subject, and its shape.
            "webdataset": shards with NPY and JSON.
        splits: Which splits; all by default.

    Raises:
        ConfigError: The recipe trains its encoder, so it has no features of its own.
        DataError: The dataset has no such split, the folder is not empty, or an image cannot be read.
    """
    dataset = experiment.dataset
    chosen = [dataset.resolve_split(split) for split in splits or dataset.splits]
    if experiment.input_builder.trains_encoder:
        raise ConfigError(
            "this recipe trains its encoder, so features change with every step",
            hint='set train.encoder to "frozen"',
        )
    require_new_folder(folder)
    with atomic_folder(folder) as target:
        rows = _rows(experiment, chosen)
        written = _write_parquet(target, rows) if format == "parquet" else _write_webdataset(target, rows)
    return ExportSummary(path=folder, written=written, left_out=0)


def _rows(experiment: Experiment, splits: Sequence[str]) -> Iterator[_Row]:
    for split in splits:
        samples = experiment.samples(split)
        data = experiment.input_builder.build_split(split, samples, experiment.dataset.label_set)
        assert data.images is not None
        reader = data.images.reader
        assert isinstance(reader, FeatureReader)
        for start in range(0, len(samples), _BATCH):
            indices = np.arange(start, min(start + _BATCH, len(samples)))
            for index, tokens in zip(indices.tolist(), reader.read(indices), strict=True):
                yield _Row(id=data.ids[index], split=split, tokens=tokens)


def _write_parquet(folder: Path, rows: Iterator[_Row]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    schema = pa.schema(
        [
            ("id", pa.string()),
            ("split", pa.string()),
            ("num_tokens", pa.int32()),
            ("dim", pa.int32()),
            ("features", pa.list_(pa.float16())),
        ]
    )
    count = 0
    with parquet.ParquetWriter(folder / "features.parquet", schema) as writer:
        for batch in batched(rows, _BATCH):
            columns: Mapping[str, Any] = {
                "id": [row.id for row in batch],
                "split": [row.split for row in batch],
                "num_tokens": [row.tokens.shape[0] for row in batch],
                "dim": [row.tokens.shape[1] for row in batch],
                "features": [np.ravel(row.tokens) for row in batch],
            }
            writer.write_table(pa.table(columns, schema=schema))
            count += len(batch)
    return count


def _write_webdataset(folder: Path, rows: Iterator[_Row]) -> int:
    def members(row: _Row) -> Mapping[str, bytes]:
        array = io.BytesIO()
        np.save(array, row.tokens, allow_pickle=False)
        about = json.dumps({"id": row.id, "split": row.split}).encode()
        return {"npy": array.getvalue(), "json": about}

    return write_shards(folder, map(members, rows))
