"""The samples of a scored split: image, box, targets and description, saved so that reports need no dataset.

Images inside the run directory are named relative to it, so that the directory can be moved.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NotRequired, TypedDict

from mien.documents import MAX_TABLE_BYTES, parse_json, read_text
from mien.errors import MienError, RunError
from mien.evaluate.results.votes import Votes
from mien.files import atomic_write_text
from mien.names import is_path_below, plain_name
from mien.types import Box, Description, Sample

__all__ = ["Example", "examples_file", "read_attributes", "read_examples", "write_examples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One sample of a scored split; `description` is None if there is none.

    `votes` are those of its annotators; None if there is one, or it is not known what each of them chose.
    `attributes` are what annotators said besides emotion, such as gender and age. They are for audits of
    scores by group, and are written after scoring: neither a description nor a model has seen them.
    """

    id: str
    images: tuple[Path, ...]
    frames: tuple[int | None, ...]
    boxes: tuple[Box | None, ...]
    labels: Mapping[str, float]
    dimensions: Mapping[str, float] | None
    description: str | None
    votes: Votes | None = None
    attributes: Mapping[str, str] = field(default_factory=dict)


class VotesDict(TypedDict):
    """`Votes` as plain values."""

    annotators: int
    chosen: dict[str, int]


class ExampleLine(TypedDict):
    """A sample with its labels and its description.

    Attributes:
        id: The id of the person.
        images: Paths of the images, or of the clip once per frame: below the run directory, or absolute.
        frames: The number of each frame in a clip; None for images.
        boxes: The box in each image: left, top, right, bottom in pixels; None if the whole image is the
            subject.
        labels: Scores from 0 to 1 by label; empty without annotation.
        dimensions: Valence, arousal and dominance from 0 to 1; None without annotation.
        split: The split.
        description: What the model read; None if nothing.
        votes: What several annotators chose; missing with fewer than two.
        attributes: Gender, age and ethnicity as annotated, for audits only; missing without any.
    """

    id: str
    images: list[str]
    frames: list[int | None]
    boxes: list[tuple[float, float, float, float] | None]
    labels: dict[str, float]
    dimensions: dict[str, float] | None
    split: str
    description: str | None
    votes: NotRequired[VotesDict]
    attributes: NotRequired[dict[str, str]]


def examples_file(run: Path, split: str) -> Path:
    """The file with a run's samples of a split; DataError if the split's name is not plain."""
    return run / f"samples-{plain_name(split, 'the split')}.jsonl"


def write_examples(
    path: Path,
    samples: Iterable[Sample],
    descriptions: Mapping[str, Description | str],
    *,
    votes: Mapping[str, Votes] | None = None,
    attributes: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Writes one line of JSON per sample.

    Args:
        path: The file.
        samples: The samples.
        descriptions: By subject id, as values or as plain text.
        votes: By subject id.
        attributes: By subject id, for audits; see `Example`.
    """
    lines = [
        json.dumps(_line(sample, descriptions, path.parent, votes or {}, attributes or {}))
        for sample in samples
    ]
    atomic_write_text(path, "".join(f"{line}\n" for line in lines))


def read_examples(path: Path) -> Iterator[Example]:
    """Reads samples in order; RunError, with the line, if the file is missing or damaged."""
    try:
        text = read_text(path, max_bytes=MAX_TABLE_BYTES)
    except FileNotFoundError as error:
        raise RunError(f"no samples at {path}", hint="create them with mien evaluate") from error
    except (OSError, UnicodeDecodeError) as error:
        raise RunError(f"{path} cannot be read: {error}", hint="run mien evaluate again") from error
    # Not splitlines(), which also splits at separators that JSON allows inside strings.
    for number, line in enumerate(text.removesuffix("\n").split("\n") if text else (), start=1):
        try:
            yield _example(parse_json(line), path.parent)
        except (ValueError, KeyError, TypeError, AttributeError, MienError) as error:
            raise RunError(
                f"{path} line {number} is not a sample: {error}", hint="run mien evaluate again"
            ) from error


def read_attributes(run: Path, split: str) -> dict[str, Mapping[str, str]]:
    """The attributes of the people of a split by subject id; empty if the split's samples were not saved."""
    path = examples_file(run, split)
    return {example.id: example.attributes for example in read_examples(path)} if path.exists() else {}


def _line(
    sample: Sample,
    descriptions: Mapping[str, Description | str],
    run: Path,
    votes: Mapping[str, Votes],
    attributes: Mapping[str, Mapping[str, str]],
) -> ExampleLine:
    """Without votes and attributes, it is as in the files of earlier versions."""
    subject, target = sample.subject, sample.target
    description = descriptions.get(subject.id)
    line: ExampleLine = {
        "id": subject.id,
        "images": [_relative(image.path, run) for image in subject.images],
        "frames": [image.frame for image in subject.images],
        "boxes": [None if box is None else box.as_tuple() for box in subject.boxes],
        "labels": {} if target is None else dict(target.labels),
        "dimensions": None if target is None or target.dimensions is None else dict(target.dimensions),
        "split": sample.split,
        "description": description.text if isinstance(description, Description) else description,
    }
    if (found := votes.get(subject.id)) is not None:
        line["votes"] = {"annotators": found.annotators, "chosen": dict(found.chosen)}
    if values := attributes.get(subject.id):
        line["attributes"] = dict(values)
    return line


def _votes(fields: Mapping[str, Any] | None) -> Votes | None:
    if fields is None:
        return None
    chosen = {str(label): int(count) for label, count in fields["chosen"].items()}
    return Votes(annotators=max(2, int(fields["annotators"])), chosen=chosen)


def _example(fields: dict[str, Any], run: Path) -> Example:
    return Example(
        id=str(fields["id"]),
        images=tuple(_absolute(name, run) for name in fields["images"]),
        frames=tuple(fields["frames"]),
        boxes=tuple(None if box is None else Box.from_tuple(tuple(box)) for box in fields["boxes"]),
        labels={str(name): float(score) for name, score in fields["labels"].items()},
        dimensions=fields["dimensions"],
        description=fields["description"],
        votes=_votes(fields.get("votes")),
        attributes={str(name): str(value) for name, value in fields.get("attributes", {}).items()},
    )


def _absolute(name: str, run: Path) -> Path:
    """An absolute name is that of an image elsewhere; others are below the run."""
    if not (Path(name).is_absolute() or is_path_below(name)):
        raise ValueError(f"the image {name!r} is not in the run")
    return run / name


def _relative(path: Path, run: Path) -> str:
    """Relative to the run if the image is inside it, otherwise absolute."""
    path, run = path.absolute(), run.absolute()
    return (path.relative_to(run) if path.is_relative_to(run) else path).as_posix()
