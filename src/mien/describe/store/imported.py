"""Descriptions that were made elsewhere, taken into a store under the keys that they would have had.

Goes in: a file of JSON lines with id and text, the subjects, a store. Comes out: rows, and an account.
Knows nothing about: how the texts were made. They are marked as foreign, by the name that the recipe gives.

The file is checked as a whole before anything is written, and only places in it are held in memory.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Final, Self, cast, get_args

from pydantic import Field, JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.requests import Questioner
from mien.describe.store.store import Store
from mien.errors import DataError, EngineError, ImageError
from mien.prefetch import groups
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.types import Description, Finish, Subject

__all__ = ["ForeignEngine", "ForeignOptions", "Imported", "import_answers"]

_GROUP: Final = 500
_EXAMPLE: Final = 'a line looks like {"id": "photo.jpg#1", "text": "The person appears calm."}'
_FIELDS: Final = {"id", "text", "finish"}


class ForeignOptions(Options):
    """`name`: what made the descriptions; another name is another engine, with keys of its own."""

    name: str = Field(min_length=1)


class ForeignEngine(Engine):
    """Stands for a model that is not here, but whose answers are, or will be: it cannot be asked."""

    def __init__(self, options: ForeignOptions) -> None:
        self.options = options

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        return cls(ForeignOptions.parse(options.options, where="[describe.options] of engine 'foreign'"))

    @property
    def name(self) -> str:
        return f"foreign {self.options.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"engine": "foreign", "version": 1, "name": self.options.name}

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        raise self.refusal(len(requests))

    def refusal(self, num_missing: int) -> EngineError:
        """The error that says how to get the descriptions that are missing."""
        return EngineError(
            f"{num_missing} descriptions by {self.options.name!r} are missing, and they are made elsewhere: "
            "this engine cannot be asked",
            hint="bring them in with mien describe import RECIPE FILE.jsonl",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What came of a file: texts that are new and that were there; ids of no subject; subjects without."""

    new: int
    present: int
    unknown: tuple[str, ...]
    without: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where an answer stands: the number of its line, and the byte that it begins with."""

    line: int
    start: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    line: int
    id: str
    text: str
    finish: Finish


def import_answers(
    path: Path, subjects: Iterable[Subject], *, questioner: Questioner, store: Store
) -> Imported:
    """Writes the texts of a file under the keys of their subjects; a second time changes nothing.

    DataError, with the lines, for what is no answer, an empty text, and two texts for one question.
    """
    try:
        with path.open("rb") as file:
            places = _index(path, file)
            return _Import(path, file, places, questioner, store).run(subjects)
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}", hint="give a file of JSON lines"
        ) from error


class _Import:
    """One call of `import_answers`, after the file was found to be sound."""

    def __init__(
        self, path: Path, file: IO[bytes], places: dict[str, _Place], questioner: Questioner, store: Store
    ) -> None:
        self._path, self._file, self._places = path, file, places
        self._questioner, self._store = questioner, store
        self._line_of: dict[str, int] = {}  # by key: one photo and box may be two subjects
        self._used: set[str] = set()
        self._without: list[str] = []
        self._new = self._present = 0

    def run(self, subjects: Iterable[Subject]) -> Imported:
        for group in groups(subjects, _GROUP):
            self._take(group)
        unknown = tuple(name for name in self._places if name not in self._used)
        return Imported(new=self._new, present=self._present, unknown=unknown, without=tuple(self._without))

    def _take(self, group: Sequence[Subject]) -> None:
        found: dict[str, Description] = {}
        for subject in group:
            place = self._places.get(subject.id)
            if place is None:
                self._without.append(subject.id)
                continue
            self._used.add(subject.id)
            item = self._description(subject, _read(self._path, self._file, place))
            self._require_same(found.setdefault(item.key, item), item, place.line)
            self._line_of.setdefault(item.key, place.line)
        stored = self._store.descriptions(found)
        for key, item in stored.items():
            self._require_same(item, found[key], self._line_of[key])
        new = [item for key, item in found.items() if key not in stored]
        self._store.put(new)
        self._new += len(new)
        self._present += len(stored)

    def _description(self, subject: Subject, answer: _Answer) -> Description:
        try:
            question = self._questioner.question(subject)
        except ImageError as error:
            raise DataError(
                f"line {answer.line} of {self._path} is about {subject.id!r}, whose picture cannot be read: "
                f"{error}",
                hint="a description is kept under what its picture shows; mend the picture first",
            ) from error
        reply = self._questioner.checked(Reply(text=answer.text, finish=answer.finish))
        if isinstance(reply, EngineError):
            raise DataError(f"line {answer.line} of {self._path}: {reply}", hint=reply.hint)
        return Description(
            key=question.key,
            subject_id=subject.id,
            text=reply.text,
            prompt_id=question.prompt_id,
            engine=self._questioner.engine,
            finish=reply.finish,
        )

    def _require_same(self, first: Description, second: Description, line: int) -> None:
        if (first.text, first.finish) == (second.text, second.finish):
            return
        other = self._line_of.get(second.key)
        where = f"line {other}" if other is not None and other != line else "the store"
        raise DataError(
            f"line {line} of {self._path} and {where} give different texts for one picture, box and question "
            f"({first.subject_id!r}, {second.subject_id!r})",
            hint="keep one of them, or give the newer ones another describe.options.name",
        )


# --- The file ------------------------------------------------------------------------------------------


def _index(path: Path, file: IO[bytes]) -> dict[str, _Place]:
    """Where the answer of each id stands, after every line was checked."""
    places: dict[str, _Place] = {}
    for place in _lines(file):
        answer = _read(path, file, place)
        first = places.setdefault(answer.id, place)
        if first is not place and _read(path, file, first).text != answer.text:
            raise DataError(
                f"lines {first.line} and {place.line} of {path} give different texts for {answer.id!r}",
                hint="keep one of them",
            )
    return places


def _lines(file: IO[bytes]) -> Iterator[_Place]:
    """The places of all lines that hold something; reading elsewhere in between does no harm."""
    number = start = 0
    while True:
        file.seek(start)
        line = file.readline()
        if not line:
            return
        number += 1
        if line.strip():
            yield _Place(line=number, start=start)
        start += len(line)


def _read(path: Path, file: IO[bytes], place: _Place) -> _Answer:
    file.seek(place.start)
    try:
        row = json.loads(file.readline().decode("utf-8-sig"))
    except ValueError as error:
        raise DataError(f"line {place.line} of {path} is not JSON: {error}", hint=_EXAMPLE) from error
    problem = _problem(row)
    if problem:
        raise DataError(f"line {place.line} of {path}: {problem}", hint=_EXAMPLE)
    return _Answer(
        line=place.line,
        id=row["id"],
        # As the store spells it, so that a second import finds the same text.
        text=row["text"].encode(errors="backslashreplace").decode(),
        finish=cast("Finish", row.get("finish", "stop")),
    )


def _problem(row: Any) -> str | None:
    """What is wrong with a line, in words."""
    if not isinstance(row, dict):
        return "not a JSON object"
    unknown = sorted(set(row) - _FIELDS)
    if unknown:
        return f"unknown field {unknown[0]!r}; there are id, text and finish"
    for field in ("id", "text"):
        value = row.get(field)
        if not isinstance(value, str) or not value.strip():
            of = "" if field == "id" else f" of {row['id']!r}"
            return f"the {field}{of} is {'missing' if value is None else 'empty or not text'}"
    if row.get("finish", "stop") not in get_args(Finish):
        return f"finish {row['finish']!r} is not one of {', '.join(get_args(Finish))}"
    return None
