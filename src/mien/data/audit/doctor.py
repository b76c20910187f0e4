"""Diagnoses a copy of a dataset: what is present or missing, how to get it, and what its license allows.

A missing, wrong or broken folder gives a `Diagnosis`, not an error. Annotation files are read; no image is
opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, TypedDict

from pydantic import JsonValue

from mien.data.audit.components import ComponentStatus, count_components, find_root
from mien.data.audit.summary import Summary, summarize
from mien.data.dataset import DatasetCard
from mien.data.open import dataset_class, open_dataset
from mien.errors import DataError
from mien.recipe import DataOptions
from mien.weights.dtypes import fast_bfloat16

__all__ = ["Diagnosis", "DiagnosisDict", "SubjectCount", "diagnose"]

_SCHEMA: Final = 1

# Libraries that a dataset needs beyond those for reading a recipe, and their purpose.
_LIBRARIES: Final[Mapping[str, Mapping[str, str]]] = {
    "emotic": {"scipy.io": "MATLAB files"},
    "bold": {"av": "clips"},
    "manifest": {"av": "clips"},
}
_COMMON_LIBRARIES: Final = {"pyarrow.parquet": "cached tables", "imagehash": "finding near-duplicates"}


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectCount:
    """Subjects in one split: in this copy, and as published; None if unknown."""

    found: int | None
    published: int | None


class ComponentDict(TypedDict):
    """A part of a dataset.

    Attributes:
        name: What the part is.
        globs: Where its files are, below the folder of the dataset.
        required: Whether the dataset cannot be read without it.
        found: How many files of the part there are.
    """

    name: str
    globs: list[str]
    required: bool
    found: int


class SubjectCountDict(TypedDict):
    """People in one split.

    Attributes:
        subjects: How many this copy has; None if it cannot be read.
        official: How many were published; None if that is not known.
    """

    subjects: int | None
    official: int | None


class MachineDict(TypedDict):
    """What this machine can do.

    Attributes:
        fast_bfloat16: The instructions with which its processor computes fast in bfloat16; None without any.
        auto_dtype: The type of numbers that `auto` is on its processor.
    """

    fast_bfloat16: str | None
    auto_dtype: str


class DiagnosisDict(TypedDict):
    """`Diagnosis` as plain values.

    Attributes:
        dataset: The name of the dataset.
        title: The full name of the dataset.
        ready: Whether the copy can be read and no problem was found.
        root: The folder of the dataset; None if none was given.
        root_exists: Whether the folder exists.
        suggested_root: The folder that has the required parts, if `root` does not.
        components: The parts of the dataset.
        splits: How many people there are, by split.
        problems: The number of problems by kind.
        error: Why the dataset cannot be read; None if it can.
        libraries_missing: Why a library cannot be imported, by its name.
        machine: What this machine can do.
        advice: What to do, the most urgent first.
        license: The terms of the dataset.
        access: How to get the dataset.
        homepage: The address of the dataset's page.
    """

    schema: Literal[1]
    dataset: str
    title: str
    ready: bool
    root: str | None
    root_exists: bool
    suggested_root: str | None
    components: list[ComponentDict]
    splits: dict[str, SubjectCountDict]
    problems: dict[str, int]
    error: str | None
    libraries_missing: dict[str, str]
    machine: MachineDict
    advice: list[str]
    license: str
    access: str
    homepage: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """The state of a copy of a dataset.

    Attributes:
        components: What is present.
        suggested_root: The folder that has the required components, if `root` does not.
        summary: The statistics, None if the copy cannot be read.
        error: Why it cannot be read, with a `hint`.
        broken_libraries: Why a library cannot be imported, by its name.
        fast_bfloat16: The instructions with which this machine's processor computes fast in bfloat16.
    """

    card: DatasetCard
    root: Path | None
    root_exists: bool
    components: tuple[ComponentStatus, ...]
    suggested_root: Path | None = None
    summary: Summary | None = None
    error: str = ""
    hint: str = ""
    broken_libraries: Mapping[str, str] = field(default_factory=dict)
    fast_bfloat16: str | None = None

    @property
    def is_ready(self) -> bool:
        """Whether the copy can be read and no problem was found."""
        is_clean = self.summary is not None and not self.summary.problems
        return is_clean and not self.missing_components and not self.broken_libraries

    @property
    def auto_dtype(self) -> str:
        """The type that `auto` is on this machine's processor."""
        return "float32" if self.fast_bfloat16 is None else "bfloat16"

    @property
    def missing_components(self) -> tuple[str, ...]:
        """The names of the required components that are absent."""
        return tuple(status.component.name for status in self.components if status.is_missing)

    @property
    def num_subjects(self) -> dict[str, SubjectCount]:
        """Subjects by split."""
        splits = () if self.summary is None else self.summary.splits
        found = {split.split: split.num_subjects for split in splits}
        published = self.card.num_subjects
        return {
            split: SubjectCount(found=found.get(split), published=published.get(split))
            for split in {**published, **found}
        }

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, the most urgent first; empty if there is nothing to do."""
        return tuple(_advice(self))

    def to_json(self) -> DiagnosisDict:
        """The document of `mien doctor --json`."""
        return {
            "schema": _SCHEMA,
            "dataset": self.card.name,
            "title": self.card.title,
            "ready": self.is_ready,
            "root": None if self.root is None else str(self.root),
            "root_exists": self.root_exists,
            "suggested_root": None if self.suggested_root is None else str(self.suggested_root),
            "components": [
                {
                    "name": status.component.name,
                    "globs": list(status.component.globs),
                    "required": status.component.required,
                    "found": status.num_found,
                }
                for status in self.components
            ],
            "splits": {
                split: {"subjects": count.found, "official": count.published}
                for split, count in self.num_subjects.items()
            },
            "problems": {} if self.summary is None else dict(self.summary.problems),
            "error": self.error or None,
            "libraries_missing": dict(self.broken_libraries),
            "machine": {"fast_bfloat16": self.fast_bfloat16, "auto_dtype": self.auto_dtype},
            "advice": list(self.advice),
            "license": self.card.license,
            "access": self.card.access,
            "homepage": self.card.homepage,
        }


def diagnose(
    name: str, root: Path | None, *, cache: Path, options: Mapping[str, JsonValue] | None = None
) -> Diagnosis:
    """Diagnoses the copy of a dataset at `root`. Reads the annotation files, through the cache.

    Args:
        name: The name of the dataset.
        options: Its `[data.options]`.

    Raises:
        ConfigError: The dataset or an option is unknown. Problems of the copy are never raised.
    """
    card = dataset_class(name).card
    components = count_components(card, root)
    is_incomplete = any(status.is_missing for status in components)
    summary, error, hint = _summarize(DataOptions(name=name, root=root, options=dict(options or {})), cache)
    return Diagnosis(
        card=card,
        root=root,
        root_exists=root is not None and _exists(root),
        components=components,
        suggested_root=find_root(card, root) if is_incomplete and root is not None else None,
        summary=summary,
        error=error,
        hint=hint,
        broken_libraries=_broken_libraries(card.name),
        fast_bfloat16=fast_bfloat16(),
    )


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _summarize(options: DataOptions, cache: Path) -> tuple[Summary | None, str, str]:
    try:
        return summarize(open_dataset(options, cache=cache)), "", ""
    except DataError as error:
        return None, str(error), error.hint
    except OSError as error:
        return None, str(error), "check the permissions"


def _broken_libraries(name: str) -> dict[str, str]:
    return {
        library: f"{error}; needed for {purpose}"
        for library, purpose in {**_LIBRARIES.get(name, {}), **_COMMON_LIBRARIES}.items()
        if (error := _import_error(library))
    }


def _import_error(library: str) -> str:
    """Why a library cannot be imported, "" if it can; broken installations raise more than ImportError."""
    try:
        importlib.import_module(library)
    except (ImportError, OSError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


# --- Advice ------------------------------------------------------------------------------------------


def _advice(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.root is not None and not diagnosis.root_exists:
        yield f"{diagnosis.root} does not exist. Check the path."
    if diagnosis.suggested_root is not None:
        yield f"The dataset seems to be in {diagnosis.suggested_root}. Use it as the root."
    else:
        yield from _root_advice(diagnosis)
    for library, reason in diagnosis.broken_libraries.items():
        package = library.partition(".")[0]
        yield f"{package} cannot be imported ({reason}). Install it with pip install {package}."
    if diagnosis.summary is not None:
        yield from _content_advice(diagnosis, diagnosis.summary)


def _root_advice(diagnosis: Diagnosis) -> Iterator[str]:
    card = diagnosis.card
    if diagnosis.root is None and diagnosis.missing_components:
        yield "Give the folder of the dataset."
    elif diagnosis.error and (diagnosis.root is None or diagnosis.root_exists):
        hint = f"; {diagnosis.hint}" if diagnosis.hint else ""
        yield f"It cannot be read: {diagnosis.error}{hint}."
    if diagnosis.missing_components:
        access = card.access or (f"see {card.homepage}" if card.homepage else "")
        yield f"Missing: {', '.join(diagnosis.missing_components)}." + (
            f" How to get it: {access.rstrip('.')}." if access else ""
        )


def _content_advice(diagnosis: Diagnosis, summary: Summary) -> Iterator[str]:
    if summary.problems:
        yield "List each problem with its file: mien data verify."
    # Publications count either all people, or only those with dimensions.
    counts = {split.split: {split.num_subjects, split.num_with_dimensions} for split in summary.splits}
    differences = [
        f"{split} has {count.found or 0:,} people instead of {count.published:,}"
        for split, count in diagnosis.num_subjects.items()
        if count.published is not None and count.published not in counts.get(split, set())
    ]
    if differences:
        yield (
            f"This is not the complete official dataset: {'; '.join(differences)}. "
            "Its scores cannot be compared with published ones."
        )
