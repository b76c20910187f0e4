"""Says of a data set what is there, what is missing, where to ask for it, and what its licence allows.

In: a data set's name and the folder where it is said to lie. Out: a `Diagnosis`, for people (`show`) and
programs (`to_json`). A folder that is missing, wrong or broken is a diagnosis, not an error.
Knows nothing about any data set's files but what its `DatasetCard` says of them, and opens no picture.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue

from mien.data.audit.components import PartFound, elsewhere, find
from mien.data.audit.summary import Summary, summarize
from mien.data.dataset import DatasetCard
from mien.data.open import dataset_class, open_dataset
from mien.errors import DataError
from mien.recipe import DataOptions

__all__ = ["Diagnosis", "diagnose"]

_SCHEMA: Final = 1

# What each needs beyond what reading a recipe needs, and what for.
_LIBRARIES: Final[Mapping[str, Mapping[str, str]]] = {
    "emotic": {"scipy.io": "MATLAB files"},
    "bold": {"av": "clips"},
    "manifest": {"av": "clips"},
}
_ALL_NEED: Final = {"pyarrow.parquet": "tables in the cache", "imagehash": "finding near-duplicates"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """What is known of a copy of a data set. `ready`: it can be read, and nothing was found wrong.

    `suggested_root`: where its parts are, if not at `root`. `summary`: what reading it gave, if it could be
    read; `error` and `hint` say why not. `libraries`: what does not import, by name, with the reason.
    """

    card: DatasetCard
    root: Path | None
    root_exists: bool
    parts: tuple[PartFound, ...]
    suggested_root: Path | None = None
    summary: Summary | None = None
    error: str = ""
    hint: str = ""
    libraries: Mapping[str, str] = field(default_factory=dict)

    @property
    def ready(self) -> bool:
        read = self.summary is not None and not self.summary.problems
        return read and not self.lacking and not self.libraries

    @property
    def lacking(self) -> tuple[str, ...]:
        """The needed parts of which nothing is there."""
        return tuple(part.part.name for part in self.parts if part.lacking)

    @property
    def people(self) -> dict[str, tuple[int | None, int | None]]:
        """Subjects by split: here, and in a whole copy; None where it is not known."""
        here = {} if self.summary is None else {part.split: part.subjects for part in self.summary.splits}
        published = self.card.num_subjects
        return {split: (here.get(split), published.get(split)) for split in {**published, **here}}

    @property
    def advice(self) -> tuple[str, ...]:
        """What to do, the most pressing first; empty if nothing."""
        return tuple(_advice(self))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "schema": _SCHEMA,
            "dataset": self.card.name,
            "title": self.card.title,
            "ready": self.ready,
            "root": None if self.root is None else str(self.root),
            "root_exists": self.root_exists,
            "suggested_root": None if self.suggested_root is None else str(self.suggested_root),
            "parts": [
                {
                    "what": p.part.name,
                    "any_of": list(p.part.globs),
                    "needed": p.part.required,
                    "found": p.found,
                }
                for p in self.parts
            ],
            "splits": {
                split: {"subjects": here, "official": whole} for split, (here, whole) in self.people.items()
            },
            "problems": {} if self.summary is None else dict(self.summary.problems),
            "error": self.error or None,
            "libraries_missing": dict(self.libraries),
            "advice": list(self.advice),
            "licence": self.card.license,
            "access": self.card.access,
            "homepage": self.card.homepage,
        }

    def show(self) -> str:
        """A page of text."""
        card = self.card
        lines = [f"{card.name}: {card.title}", f"  {_verdict(self)}"]
        lines += [f"  {_mark(part)} {part.part.name}: {_found(part)}" for part in self.parts]
        lines += [_people(split, *counts) for split, counts in self.people.items()]
        if self.summary is not None:
            lines += [f"  ! {kind}: {count:,}" for kind, count in self.summary.problems.items()]
        advice = self.advice
        if advice:
            lines += [
                "",
                "What to do",
                *(f"  {number}. {text}" for number, text in enumerate(advice, start=1)),
            ]
        lines += ["", f"Licence   {card.license}"]
        lines += [
            f"{name:<9} {text}" for name, text in (("Access", card.access), ("Home", card.homepage)) if text
        ]
        return "\n".join(lines)


def diagnose(
    name: str, root: Path | None, *, cache: Path, options: Mapping[str, JsonValue] | None = None
) -> Diagnosis:
    """Looks at a copy of the data set `name` below `root`; `options` are its `[data.options]`.

    Raises for a data set or an option that nobody knows, never for the copy. Reads the annotation files,
    through the cache.
    """
    card = dataset_class(name).card
    parts = find(card, root)
    lacking = any(part.lacking for part in parts)
    chosen = DataOptions(name=name, root=root, options=dict(options or {}))
    summary, error, hint = _read(chosen, cache)
    return Diagnosis(
        card=card,
        root=root,
        root_exists=root is not None and _exists(root),
        parts=parts,
        suggested_root=elsewhere(card, root) if lacking and root is not None else None,
        summary=summary,
        error=error,
        hint=hint,
        libraries=_broken_libraries(card.name),
    )


# --- What is there -----------------------------------------------------------------------------------


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _read(options: DataOptions, cache: Path) -> tuple[Summary | None, str, str]:
    try:
        return summarize(open_dataset(options, cache=cache)), "", ""
    except DataError as error:
        return None, str(error), error.hint
    except OSError as error:
        return None, str(error), "see who may read it"


def _broken_libraries(name: str) -> dict[str, str]:
    return {
        library: f"{error}; it is needed for {purpose}"
        for library, purpose in {**_LIBRARIES.get(name, {}), **_ALL_NEED}.items()
        if (error := _import(library))
    }


def _import(library: str) -> str:
    """Why it does not import, "" if it does; a broken installation raises more than ImportError."""
    try:
        importlib.import_module(library)
    except (ImportError, OSError, AttributeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


# --- In words ----------------------------------------------------------------------------------------


def _verdict(diagnosis: Diagnosis) -> str:
    if diagnosis.ready:
        return "ready"
    if diagnosis.summary is None:
        return "cannot be read"
    wrong = [
        "parts are missing" if diagnosis.lacking else "",
        f"{sum(diagnosis.summary.problems.values()):,} problems" if diagnosis.summary.problems else "",
        "libraries are missing" if diagnosis.libraries else "",
    ]
    return f"can be read, but: {', '.join(text for text in wrong if text)}"


def _mark(part: PartFound) -> str:
    return "+" if part.found else "-" if part.part.required else " "


def _found(part: PartFound) -> str:
    if part.found:
        return f"{part.found:,} found"
    first, others = part.part.globs[0], len(part.part.globs) - 1
    places = first if not others else f"{first}, nor in {others} other place{'s' if others > 1 else ''}"
    return f"not found ({places})" + ("" if part.part.required else "; not needed")


def _people(split: str, here: int | None, whole: int | None) -> str:
    known = "" if whole is None else f"; {whole:,} in a whole copy"
    return f"    {split}: {'no' if here is None else f'{here:,}'} people{known}"


def _advice(diagnosis: Diagnosis) -> Iterator[str]:
    if diagnosis.root is not None and not diagnosis.root_exists:
        yield f"There is nothing at {diagnosis.root}: check the path."
    if diagnosis.suggested_root is not None:
        yield f"The data set seems to lie at {diagnosis.suggested_root}: use it as the root."
    else:
        yield from _get(diagnosis)
    for library, reason in diagnosis.libraries.items():
        package = library.partition(".")[0]
        yield f"{package} does not import ({reason}): install it with pip install {package}."
    if diagnosis.summary is not None:
        yield from _compare(diagnosis, diagnosis.summary)


def _get(diagnosis: Diagnosis) -> Iterator[str]:
    card = diagnosis.card
    if diagnosis.root is None and diagnosis.lacking:
        yield "Name the folder in which it lies."
    elif diagnosis.error and (diagnosis.root is None or diagnosis.root_exists):
        hint = f"; {diagnosis.hint}" if diagnosis.hint else ""
        yield f"It cannot be read: {diagnosis.error}{hint}."
    if diagnosis.lacking:
        ask = card.access or (f"see {card.homepage}" if card.homepage else "")
        yield f"Missing: {', '.join(diagnosis.lacking)}." + (
            f" How to get it: {ask.rstrip('.')}." if ask else ""
        )


def _compare(diagnosis: Diagnosis, summary: Summary) -> Iterator[str]:
    if summary.problems:
        yield "See each problem with its file: mien data verify."
    # Literature counts everybody, or those with dimensions.
    counts = {part.split: {part.subjects, part.with_dimensions} for part in summary.splits}
    differ = [
        f"{split} has {here or 0:,} people and not {whole:,}"
        for split, (here, whole) in diagnosis.people.items()
        if whole is not None and whole not in counts.get(split, set())
    ]
    if differ:
        yield (
            f"This is not the whole official data set: {'; '.join(differ)}. "
            "Scores on it do not compare with published ones."
        )
