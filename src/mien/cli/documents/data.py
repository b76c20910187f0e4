"""Documents of `mien data`."""

from __future__ import annotations

from typing import NotRequired, TypedDict

__all__ = ["DataProblem", "DrawnDataset", "ExportedPeople", "ExportedSplit", "VerifiedDataset"]


class DataProblem(TypedDict):
    """What is wrong with a file of a dataset.

    Attributes:
        kind: What it is, in a word, such as "missing" or "unreadable".
        file: The file, or the folder of the dataset.
        message: What is wrong, in a sentence.
    """

    kind: str
    file: str
    message: str


class VerifiedDataset(TypedDict):
    """What opening every image and clip of a dataset found.

    Attributes:
        dataset: The name of the dataset.
        images: How many files were opened.
        subjects: How many people are in those files.
        problems: What is wrong; empty if nothing is.
        report: The file of the page; missing if the dataset cannot be read at all.
        table: The file with the same as JSON; missing if the dataset cannot be read at all.
    """

    dataset: str
    images: int
    subjects: int
    problems: list[DataProblem]
    report: NotRequired[str]
    table: NotRequired[str]


class ExportedSplit(TypedDict):
    """A split of a dataset as JSON Lines.

    Attributes:
        subjects: How many lines were written.
        file: The file.
    """

    subjects: int
    file: str


class ExportedPeople(TypedDict):
    """An evaluated run or predictions as a Hugging Face dataset.

    Attributes:
        folder: The folder.
        people: How many people were written, by split.
        images: How many images are in the folder; 0 without `--images`.
        left_out: How many rows have no person or no scores, and were left out.
    """

    folder: str
    people: dict[str, int]
    images: int
    left_out: int


class DrawnDataset(TypedDict):
    """Drawn scenes in the layout of an official dataset.

    Attributes:
        layout: The name of the dataset.
        root: The folder.
    """

    layout: str
    root: str
