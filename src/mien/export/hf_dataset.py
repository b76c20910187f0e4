"""Writes predictions with descriptions as a folder that `datasets.load_dataset` reads.

One Parquet file per split, or several (`data/test-00000-of-00001.parquet`), with the features in its schema,
and a dataset card. Images are only named, unless they are asked for: they are rarely ours to pass on.
"""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.evaluate.metrics.targets import POSITIVE
from mien.evaluate.results.measured_on import embedded_notice
from mien.export.predictions import PredictedPerson, Predictions
from mien.files import atomic_folder, atomic_write_text, require_new_folder
from mien.media.views import OpenedPhoto, load_frames
from mien.predict.saved.card import markdown_text
from mien.prefetch import batched
from mien.types import DIMENSIONS, Subject, Target
from mien.version import __version__

if TYPE_CHECKING:
    import pyarrow

__all__ = ["DatasetExport", "write_dataset"]

_TEMPLATE: Final = Path(__file__).with_name("dataset_card.md")
_BATCH: Final = 100
_PER_FILE: Final = 100_000
_PER_FILE_WITH_IMAGES: Final = 1_000
_ALL: Final = "all"  # `datasets` takes it for the sum of all splits
_SIZES: Final = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (math.inf, "100K<n<1M"))


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetExport:
    """What was written.

    Attributes:
        path: The folder.
        splits: How many people each split has, by its name in the folder.
        images: How many images are in the folder.
        left_out: Rows without scores.
    """

    path: Path
    splits: Mapping[str, int]
    images: int
    left_out: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """A column: its type in Arrow, its feature as `datasets` writes it, and its value."""

    type: pyarrow.DataType
    feature: Any
    value: Callable[[PredictedPerson], Any]
    text: str


def write_dataset(predictions: Predictions, folder: Path, *, images: bool = False) -> DatasetExport:
    """Writes a new folder with the people of each split, and a card.

    Args:
        predictions: From `mien.export.predictions.read_predictions`.
        folder: A new or empty folder.
        images: Whether to put the images into it, upright and as PNG, without the metadata of their files.

    Raises:
        DataError: The folder is not empty or cannot be written, or an image cannot be read.
    """
    require_new_folder(folder)
    splits = _split_names(predictions.people)
    is_clip = any(len(person.images) > 1 for people in predictions.people.values() for person in people)
    columns = _columns(predictions.labels, is_clip=is_clip, images=images)
    count = 0
    with atomic_folder(folder) as target:
        (target / "data").mkdir()
        for split, people in predictions.people.items():
            count += _write_split(target / "data", splits[split], people, columns)
        _write_card(target, predictions, splits, columns, num_images=count)
    return DatasetExport(
        path=folder,
        splits={splits[split]: len(people) for split, people in predictions.people.items()},
        images=count,
        left_out=predictions.left_out,
    )


def _split_names(splits: Iterable[str]) -> dict[str, str]:
    """Names that `datasets` takes: letters, digits and _; no split may be called "all"."""
    found: dict[str, str] = {}
    for split in splits:
        name = re.sub(r"\W", "_", split, flags=re.ASCII)
        name = f"{name}_people" if name == _ALL else name
        while name in found.values():
            name += "_"
        found[split] = name
    return found


# --- Columns -------------------------------------------------------------------------------------------


def _columns(labels: Sequence[str], *, is_clip: bool, images: bool) -> dict[str, _Column]:
    """The columns by name. Clips have lists where photos have one value."""
    import pyarrow as pa

    number, text = pa.float64(), pa.string()
    plain = {"dtype": "float64", "_type": "Value"}
    words = {"dtype": "string", "_type": "Value"}
    names = {"names": list(labels), "_type": "ClassLabel"}
    by_label = (pa.struct([(label, number) for label in labels]), dict.fromkeys(labels, plain))
    by_dimension = (pa.struct([(name, number) for name in DIMENSIONS]), dict.fromkeys(DIMENSIONS, plain))
    one_annotator = (
        pa.struct([("labels", pa.list_(pa.int64())), *((name, number) for name in DIMENSIONS)]),
        {"labels": [names], **dict.fromkeys(DIMENSIONS, plain)},
    )
    index = {label: position for position, label in enumerate(labels)}

    def indices(given: Mapping[str, float]) -> list[int]:
        return sorted(index[label] for label, value in given.items() if value >= POSITIVE)

    def annotator(target: Target) -> dict[str, Any]:
        given = target.dimensions or {}
        return {"labels": indices(target.labels), **{name: given.get(name) for name in DIMENSIONS}}

    def of_target(value: Callable[[Target], Any]) -> Callable[[PredictedPerson], Any]:
        return lambda person: None if person.target is None else value(person.target)

    def of_origin(position: int) -> Callable[[PredictedPerson], Any]:
        return lambda person: None if person.origin is None else person.origin[position]

    def box(person: PredictedPerson, position: int = 0) -> list[float] | None:
        found = person.boxes[position]
        return None if found is None else list(found.as_tuple())

    where = {
        "image_path": _Column(
            type=text, feature=words, value=lambda person: person.names[0], text="the file of the photo"
        ),
        "frame": _Column(
            type=pa.int64(),
            feature={"dtype": "int64", "_type": "Value"},
            value=lambda person: person.images[0].frame,
            text="its number, from 0, if the photo is a frame of a video",
        ),
        "box": _Column(
            type=pa.list_(number),
            feature=[plain],
            value=box,
            text="left, top, right, bottom in pixels of the upright photo; right and bottom are exclusive",
        ),
    }
    if is_clip:
        values: dict[str, Callable[[PredictedPerson], Any]] = {
            "image_path": lambda person: list(person.names),
            "frame": lambda person: [image.frame for image in person.images],
            "box": lambda person: [box(person, position) for position in range(len(person.images))],
        }
        where = {
            f"{name}es" if name == "box" else f"{name}s": _Column(
                type=pa.list_(column.type),
                feature=[column.feature],
                value=values[name],
                text=f"of each image: {column.text}",
            )
            for name, column in where.items()
        }
    image = (pa.struct([("bytes", pa.binary()), ("path", text)]), {"_type": "Image"})
    embedded = {}
    if images:
        embedded = {
            "images" if is_clip else "image": _Column(
                type=pa.list_(image[0]) if is_clip else image[0],
                feature=[image[1]] if is_clip else image[1],
                value=_ImageReader(is_clip=is_clip),
                text="the frames of the clip, upright" if is_clip else "the photo, upright",
            )
        }

    def column(kind: tuple[Any, Any], value: Callable[[PredictedPerson], Any], about: str) -> _Column:
        return _Column(type=kind[0], feature=kind[1], value=value, text=about)

    label_list = (pa.list_(pa.int64()), [names])
    return {
        "id": column((text, words), lambda person: person.id, "unique within the split"),
        **embedded,
        **where,
        "labels": column(
            label_list,
            of_target(lambda target: indices(target.labels)),
            "what the annotators say, combined: labels from 0.5 on",
        ),
        "label_scores": column(
            by_label,
            of_target(lambda target: {label: target.labels.get(label, 0.0) for label in labels}),
            "the same from 0 to 1; with soft targets, the share of annotators who chose the label",
        ),
        "dimensions": column(
            by_dimension,
            of_target(lambda target: None if target.dimensions is None else dict(target.dimensions)),
            "valence, arousal and dominance by the annotators, from 0 to 1",
        ),
        "annotators": column(
            (pa.list_(one_annotator[0]), [one_annotator[1]]),
            lambda person: None if person.annotators is None else list(map(annotator, person.annotators)),
            "the answer of each annotator, where that is known",
        ),
        "description": column(
            (text, words),
            lambda person: person.description,
            "the person in words, by a vision-language model",
        ),
        "prompt_id": column((text, words), of_origin(0), "the prompt that the description answers"),
        "engine": column((text, words), of_origin(1), "what wrote it"),
        "finish": column((text, words), of_origin(2), 'why it ended: "stop", or "length" if it was cut'),
        "predicted_scores": column(
            by_label, lambda person: person.scores, "the model's score of each label, from 0 to 1"
        ),
        "predicted_labels": column(
            label_list,
            lambda person: None if person.above is None else sorted(index[label] for label in person.above),
            "the labels that reach their thresholds",
        ),
        "predicted_dimensions": column(
            by_dimension,
            lambda person: person.dimensions,
            "valence, arousal and dominance by the model, from 0 to 1",
        ),
    }


class _ImageReader:
    """The images of a person as `datasets` stores them: bytes of a PNG, and a name without folders."""

    def __init__(self, *, is_clip: bool) -> None:
        self._is_clip = is_clip
        self._photo = OpenedPhoto()  # people in one photo follow each other

    def __call__(self, person: PredictedPerson) -> Any:
        subject = Subject(id=person.id, images=person.images, boxes=(None,) * len(person.images))
        found = []
        for loaded, reference in zip(load_frames(subject, photo=self._photo), person.images, strict=True):
            buffer = io.BytesIO()
            loaded.image.save(buffer, "PNG")
            found.append({"bytes": buffer.getvalue(), "path": f"{reference.path.stem}.png"})
        return found if self._is_clip else found[0]


# --- Files ---------------------------------------------------------------------------------------------


def _write_split(
    folder: Path, split: str, people: Sequence[PredictedPerson], columns: Mapping[str, _Column]
) -> int:
    """Writes the files of one split, and returns the number of images in them."""
    import pyarrow as pa
    from pyarrow import parquet

    has_images = "image" in columns or "images" in columns
    features = {name: column.feature for name, column in columns.items()}
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema([(name, column.type) for name, column in columns.items()], metadata)
    per_file = _PER_FILE_WITH_IMAGES if has_images else _PER_FILE
    total, count = max(1, math.ceil(len(people) / per_file)), 0
    for number in range(total):
        part = people[number * per_file : (number + 1) * per_file]
        with parquet.ParquetWriter(folder / f"{split}-{number:05d}-of-{total:05d}.parquet", schema) as writer:
            for batch in batched(part, _BATCH):
                rows = [{name: column.value(person) for name, column in columns.items()} for person in batch]
                writer.write_table(pa.Table.from_pylist(rows, schema=schema))
                count += sum(len(person.images) for person in batch)
    return count if has_images else 0


def _write_card(
    folder: Path,
    predictions: Predictions,
    splits: Mapping[str, str],
    columns: Mapping[str, _Column],
    *,
    num_images: int,
) -> None:
    from huggingface_hub import DatasetCard, DatasetCardData

    size = sum(map(len, predictions.people.values()))
    data = DatasetCardData(
        pretty_name=" ".join(predictions.name.split()),
        license="other",
        license_name="see-the-dataset-card",
        task_categories=["image-classification"],
        tags=["apparent-emotion", "affective-computing", "mien"],
        size_categories=[next(name for limit, name in _SIZES if size < limit)],
        configs=[
            {
                "config_name": "default",
                "data_files": [{"split": name, "path": f"data/{name}-*.parquet"} for name in splits.values()],
            }
        ],
    )
    values: dict[str, Any] = {
        "name": markdown_text(predictions.name),
        "version": __version__,
        "warning": _warning(predictions),
        "splits": [
            (splits[split], "" if splits[split] == split else markdown_text(split), f"{len(people):,}")
            for split, people in predictions.people.items()
        ],
        "columns": [(name, column.text) for name, column in columns.items()],
        "sources": list(_sources(predictions)),
        "scores": {
            True: "Scores are calibrated, for images like those of the dataset.",
            False: "Scores are not calibrated: they rank people and labels, and are not probabilities.",
            None: "Whether scores are calibrated is not known.",
        }[predictions.is_calibrated],
        "num_images": f"{num_images:,}" if num_images else "",
        "notes": [markdown_text(note) for note in predictions.notes],
    }
    card = DatasetCard.from_template(data, template_path=str(_TEMPLATE), **values)
    atomic_write_text(folder / "README.md", str(card).strip() + "\n")


def _warning(predictions: Predictions) -> str:
    return "" if predictions.recipe is None else embedded_notice(predictions.recipe.to_json())


def _sources(predictions: Predictions) -> Iterator[tuple[str, str, str]]:
    """(part, where it comes from, its terms), each escaped."""
    recipe, card = predictions.recipe, predictions.card
    if card is None or recipe is None:
        yield "photos", "those that mien predict was given", "those of their owners"
        yield "descriptions and scores", "models that the file does not name", "those of these models"
        return
    own = recipe.data.name == "manifest"
    title = "a dataset of its own" if own else markdown_text(card.title)
    terms = "as its author says" if own else markdown_text(card.license)
    yield "photos, boxes, labels, dimensions", title, terms
    if recipe.zero_shot.method is None:
        encoder = markdown_text(_short(recipe.features.vision))
        yield (
            "scores",
            f"a model of mien that was trained on this dataset, with the encoder {encoder}",
            (f"those of the dataset and of {encoder}"),
        )
    model = markdown_text(_short(recipe.describe.model))
    yield (
        "descriptions",
        f"{model}, by the engine {markdown_text(recipe.describe.engine)}",
        f"those of {model}",
    )


def _short(name: str) -> str:
    """A name on the Hub as it is; of a folder of this machine only its own name."""
    return Path(name).name if Path(name).is_absolute() else name
