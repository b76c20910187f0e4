"""Imports descriptions that were made elsewhere, and the engine that stands for what made them.

A file is checked as a whole before anything is written. Only the offsets of its lines are held in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast, get_args

from pydantic import Field, JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import DataError, EngineError, ImageError
from mien.prefetch import batched
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.types import Description, Finish, Subject

__all__ = ["ImportSummary", "ImportedEngine", "ImportedOptions", "import_descriptions", "is_imported"]

# In recipes; "foreign" is the name in version 0.1.0.
_ENGINE_NAMES: Final = ("imported", "foreign")
_BATCH: Final = 500
_EXAMPLE: Final = 'a line looks like {"id": "photo.jpg#1", "text": "The person appears calm."}'
_FIELDS: Final = {"id", "text", "finish"}


def is_imported(options: DescribeOptions) -> bool:
    """Whether a recipe's descriptions are made elsewhere and imported."""
    return options.engine in _ENGINE_NAMES


class ImportedOptions(Options):
    """Options of the engine "imported".

    Attributes:
        name: What made the descriptions. Another name is another engine, with other keys.
    """

    name: str = Field(min_length=1)


class ImportedEngine(Engine):
    """Stands for a model that is not available here, whose descriptions are imported from a file.

    Its signature gives the descriptions their keys. Calling it raises EngineError.
    """

    def __init__(self, options: ImportedOptions) -> None:
        self.options = options

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(ImportedOptions.parse(options.options, where="[describe.options] of engine 'imported'"))

    @property
    def name(self) -> str:
        return f"imported {self.options.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        # "foreign" is the engine's name in version 0.1.0. Stores are keyed by it.
        return {"engine": "foreign", "version": 1, "name": self.options.name}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        raise self.missing_error(len(requests))

    def missing_error(self, num_missing: int) -> EngineError:
        """The error that says how to import the missing descriptions."""
        return EngineError(
            f"{num_missing} descriptions by {self.options.name!r} are missing; they are made elsewhere, so "
            "this engine cannot generate them",
            hint="import them with: mien describe import RECIPE FILE.jsonl",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSummary:
    """The result of an import.

    Attributes:
        new: Descriptions that were added to the store.
        existing: Descriptions that were in the store already.
        unknown_ids: Ids in the file that no subject has.
        missing_ids: Ids of subjects that the file does not describe.
    """

    new: int
    existing: int
    unknown_ids: tuple[str, ...]
    missing_ids: tuple[str, ...]


def import_descriptions(
    path: Path, subjects: Iterable[Subject], *, request_builder: RequestBuilder, store: Store
) -> ImportSummary:
    """Adds the texts of a file to a store, under the keys of their subjects.

    Importing a file again changes nothing.

    Args:
        path: JSON Lines with "id" and "text", and optionally "finish".
        subjects: The subjects whose ids the file may name.
        request_builder: Determines the keys.
        store: Open for writing.

    Raises:
        DataError: A line is not valid, a text is empty, or one key gets two texts. The message names the
            lines.
    """
    try:
        with path.open("rb") as file:
            lines = _index_lines(path, file)
            return _Import(path, file, lines, request_builder, store).run(subjects)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give a file of JSON Lines"
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class _ImportLine:
    """The number of a line, and the byte at which it starts."""

    number: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Text:
    """What a line says."""

    line_number: int
    id: str
    text: str
    finish: Finish


class _Import:
    """One call of `import_descriptions`, after every line was checked."""

    def __init__(
        self,
        path: Path,
        file: IO[bytes],
        lines: dict[str, _ImportLine],
        request_builder: RequestBuilder,
        store: Store,
    ) -> None:
        self._path, self._file, self._lines = path, file, lines
        self._request_builder, self._store = request_builder, store
        self._line_number_of: dict[str, int] = {}  # by key: two subjects may share an image and a box
        self._used_ids: set[str] = set()
        self._missing_ids: list[str] = []
        self._new = self._existing = 0

    def run(self, subjects: Iterable[Subject]) -> ImportSummary:
        for batch in batched(subjects, _BATCH):
            self._import_batch(batch)
        return ImportSummary(
            new=self._new,
            existing=self._existing,
            unknown_ids=tuple(name for name in self._lines if name not in self._used_ids),
            missing_ids=tuple(self._missing_ids),
        )

    def _import_batch(self, batch: Sequence[Subject]) -> None:
        found: dict[str, Description] = {}
        for subject in batch:
            line = self._lines.get(subject.id)
            if line is None:
                self._missing_ids.append(subject.id)
                continue
            self._used_ids.add(subject.id)
            item = self._description(subject, _read_text(self._path, self._file, line))
            self._require_same(found.setdefault(item.key, item), item, line.number)
            self._line_number_of.setdefault(item.key, line.number)
        stored = self._store.descriptions(found)
        for key, item in stored.items():
            self._require_same(item, found[key], self._line_number_of[key])
        new = [item for key, item in found.items() if key not in stored]
        self._store.put(new)
        self._new += len(new)
        self._existing += len(stored)

    def _description(self, subject: Subject, text: _Text) -> Description:
        try:
            request = self._request_builder.build(subject)
        except ImageError as error:
            raise DataError(
                f"line {text.line_number} of {self._path} describes {subject.id!r}, whose image cannot be "
                f"read: {error}",
                hint="fix the image first: a description is stored under the content of its image",
            ) from error
        reply = self._request_builder.check(Reply(text=text.text, finish=text.finish))
        if isinstance(reply, EngineError):
            raise DataError(f"line {text.line_number} of {self._path}: {reply}", hint=reply.hint)
        return self._request_builder.description(request, reply)

    def _require_same(self, first: Description, second: Description, line_number: int) -> None:
        if (first.text, first.finish) == (second.text, second.finish):
            return
        other = self._line_number_of.get(second.key)
        where = f"line {other}" if other is not None and other != line_number else "the store"
        raise DataError(
            f"line {line_number} of {self._path} and {where} give different texts for the same image, box "
            f"and prompt ({first.subject_id!r}, {second.subject_id!r})",
            hint="keep one of them, or give the newer ones another describe.options.name",
        )


# --- The file ------------------------------------------------------------------------------------------


def _index_lines(path: Path, file: IO[bytes]) -> dict[str, _ImportLine]:
    """The line of each id; every line is checked."""
    lines: dict[str, _ImportLine] = {}
    for line in _iterate_lines(file):
        text = _read_text(path, file, line)
        first = lines.setdefault(text.id, line)
        if first is not line and _read_text(path, file, first).text != text.text:
            raise DataError(
                f"lines {first.number} and {line.number} of {path} give different texts for {text.id!r}",
                hint="keep one of them",
            )
    return lines


def _iterate_lines(file: IO[bytes]) -> Iterator[_ImportLine]:
    """All lines that are not blank. The file may be read elsewhere between two of them."""
    number = start = 0
    while True:
        file.seek(start)
        line = file.readline()
        if not line:
            return
        number += 1
        if line.strip():
            yield _ImportLine(number=number, start=start)
        start += len(line)


def _read_text(path: Path, file: IO[bytes], line: _ImportLine) -> _Text:
    file.seek(line.start)
    try:
        row = json.loads(file.readline().decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"line {line.number} of {path} is not JSON: {error}", hint=_EXAMPLE) from error
    problem = _find_problem(row)
    if problem:
        raise DataError(f"line {line.number} of {path}: {problem}", hint=_EXAMPLE)
    return _Text(
        line_number=line.number,
        id=row["id"],
        # Escaped as the store does it, so that a second import finds the same text.
        text=row["text"].encode(errors="backslashreplace").decode(),
        finish=cast("Finish", row.get("finish", "stop")),
    )


def _find_problem(row: Any) -> str | None:
    """What is wrong with a line, or None."""
    if not isinstance(row, dict):
        return "not a JSON object"
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        return f"unknown field {unknown[0]!r}; the fields are id, text and finish"
    for field in ("id", "text"):
        value = row.get(field)
        text = value.strip() if isinstance(value, str) else ""
        if not text or (field == "text" and Reply(text=text).is_empty):
            of = "" if field == "id" else f" of {row['id']!r}"
            return f"the {field}{of} is {'missing' if value is None else 'empty or not text'}"
    if row.get("finish", "stop") not in get_args(Finish):
        return f"finish {row['finish']!r} is not one of {', '.join(get_args(Finish))}"
    return None
