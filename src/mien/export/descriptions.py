"""Exports descriptions with the images and prompts that they answer, for those who only want stage 1.

Three formats: a Parquet table; WebDataset shards; and conversations in the manner of ShareGPT, with which
tools fine-tune a vision-language model. Images are those that the describing model got, with the person
marked. Labels are left out: a description must not have seen them.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from PIL import Image

from mien.describe.requests import RequestBuilder
from mien.describe.store.lookup import lookup_descriptions
from mien.describe.store.store import Store
from mien.export.webdataset import write_shards
from mien.files import atomic_folder, require_new_folder
from mien.prefetch import batched
from mien.types import Description, Sample
from mien.workflow.experiment import Experiment

__all__ = ["DESCRIPTION_FORMATS", "DescriptionFormat", "ExportSummary", "export_descriptions"]

DescriptionFormat = Literal["parquet", "webdataset", "sharegpt"]
DESCRIPTION_FORMATS: Final[tuple[DescriptionFormat, ...]] = ("parquet", "webdataset", "sharegpt")
_BATCH: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written, and how many subjects were left out because they have no description."""

    path: Path
    written: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A description, what it answers, and the images on demand."""

    sample: Sample
    description: Description
    prompt: str
    images: Callable[[], Sequence[Image.Image]]

    def about(self) -> dict[str, Any]:
        """Plain values, without the images."""
        subject = self.sample.subject
        boxes = [None if box is None else list(box.as_tuple()) for box in subject.boxes]
        return {
            "id": subject.id,
            "split": self.sample.split,
            "boxes": boxes,
            "prompt": self.prompt,
            "text": self.description.text,
            "prompt_id": self.description.prompt_id,
            "engine": self.description.engine,
            "finish": self.description.finish,
        }


def export_descriptions(
    experiment: Experiment, folder: Path, *, format: DescriptionFormat, splits: Sequence[str] | None = None
) -> ExportSummary:
    """Writes the descriptions of a recipe's subjects into a new folder.

    Args:
        experiment: The recipe's.
        folder: A new or empty folder.
        format: "parquet": `descriptions.parquet`, with images as PNG. "webdataset": shards with PNG, TXT and
            JSON. "sharegpt": `descriptions.jsonl` and a folder of images.
        splits: Which splits; all by default.

    Raises:
        StoreError: Nothing was described yet.
        DataError: The dataset has no such split, the folder is not empty, or an image cannot be read.
    """
    dataset = experiment.dataset
    chosen = [dataset.resolve_split(split) for split in splits or dataset.splits]
    require_new_folder(folder)
    samples = [sample for split in chosen for sample in experiment.samples(split)]
    builder = experiment.open_request_builder()
    with Store(experiment.store, writable=False) as store, atomic_folder(folder) as target:
        written = _WRITERS[format](target, _rows(samples, builder, store))
    return ExportSummary(path=folder, written=written, left_out=len(samples) - written)


def _rows(samples: Sequence[Sample], builder: RequestBuilder, store: Store) -> Iterator[_Row]:
    """The rows of described samples, in order, with a bounded number of descriptions in memory."""
    for batch in batched(samples, _BATCH):
        found = lookup_descriptions((sample.subject for sample in batch), builder, store).descriptions
        for sample in batch:
            description = found.get(sample.subject.id)
            if description is not None:
                request = builder.request(sample.subject, description.key)
                yield _Row(
                    sample=sample,
                    description=description,
                    prompt=request.prompt,
                    images=lambda request=request: builder.prepare(request).images,  # type: ignore[misc]
                )


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


# --- Formats -------------------------------------------------------------------------------------------


def _write_parquet(folder: Path, rows: Iterable[_Row]) -> int:
    import pyarrow as pa
    from pyarrow import parquet

    text = pa.string()
    schema = pa.schema(
        [
            *((name, text) for name in ("id", "split")),
            ("boxes", pa.list_(pa.list_(pa.float64()))),
            *((name, text) for name in ("prompt", "text", "prompt_id", "engine", "finish")),
            ("images", pa.list_(pa.binary())),
        ]
    )
    count = 0
    with parquet.ParquetWriter(folder / "descriptions.parquet", schema) as writer:
        for batch in batched(rows, _BATCH):
            values = [{**row.about(), "images": [_png(image) for image in row.images()]} for row in batch]
            writer.write_table(pa.Table.from_pylist(values, schema=schema))
            count += len(values)
    return count


def _write_webdataset(folder: Path, rows: Iterable[_Row]) -> int:
    def members(row: _Row) -> Mapping[str, bytes]:
        images = row.images()
        # One image has the plain suffix; the frames of a clip are numbered.
        suffixes = ["png"] if len(images) == 1 else [f"{index}.png" for index in range(len(images))]
        encoded = {suffix: _png(image) for suffix, image in zip(suffixes, images, strict=True)}
        about = json.dumps(row.about(), ensure_ascii=False).encode("utf-8", "replace")
        return {**encoded, "txt": row.description.text.encode("utf-8", "replace"), "json": about}

    return write_shards(folder, map(members, rows))


def _write_sharegpt(folder: Path, rows: Iterable[_Row]) -> int:
    (folder / "images").mkdir()
    count = 0
    with (folder / "descriptions.jsonl").open("w", encoding="utf-8", errors="replace") as file:
        for row in rows:
            names = []
            for index, image in enumerate(row.images()):
                names.append(f"images/{count:09d}-{index}.png")
                (folder / names[-1]).write_bytes(_png(image))
            question = "<image>" * len(names) + "\n" + row.prompt
            turns = [
                {"from": "human", "value": question},
                {"from": "gpt", "value": row.description.text},
            ]
            line = {"id": row.sample.subject.id, "split": row.sample.split, "images": names}
            file.write(json.dumps({**line, "conversations": turns}) + "\n")
            count += 1
    return count


_WRITERS: Final[Mapping[DescriptionFormat, Callable[[Path, Iterable[_Row]], int]]] = {
    "parquet": _write_parquet,
    "webdataset": _write_webdataset,
    "sharegpt": _write_sharegpt,
}
