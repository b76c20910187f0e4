"""What a command has predicted so far, line by line on disk, so that a killed one can go on.

A journal is a folder `.NAME.journal` next to the file NAME that results are for. It has a lock, the request
(a digest of everything that determines the results), and one line per image or frame. A line counts once it
is complete, and if it or a later one ends a round (see `Predicted`): what a kill or a crash left after the
last round is cut off, because its batches were not finished. The file itself appears only at the end.
The request stays: it says what made the file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Self

from mien.documents import read_bytes
from mien.errors import DataError, MienError, UsageError
from mien.files import atomic_write_json, make_folder, map_write_errors
from mien.locks import FileLock, LockHolder, lacks_locks, try_lock
from mien.predict.output.records import from_record, to_record
from mien.predict.results import Results

__all__ = ["Journal"]

_FORMAT: Final = 1
_LOCK, _REQUEST, _LINES = "lock", "request.json", "results.jsonl"
_COMPLETE, _ENDS_ROUND = "complete", "ends_round"  # keys of lines
_MAX_REQUEST: Final = 1 << 20  # bytes
_SYNC_EVERY: Final = 64  # lines: a crash of the machine loses at most so many


@dataclass(frozen=True, slots=True, kw_only=True)
class _Line:
    """A complete line.

    Attributes:
        results: None for the mark of the end.
        ends_round: Whether another process can go on behind it.
        num_bytes: Its length.
    """

    results: Results | None
    ends_round: bool
    num_bytes: int


class Journal:
    """The journal of one output file, which this process alone writes until it is closed.

    Args:
        target: The file that the results are for.
        request: A digest of everything that determines the results.
        command: The command, for messages.

    Raises:
        DataError: Another process writes it, or the folder cannot be written.
        UsageError: The file, or the journal, is of another request.

    Attributes:
        num_results: How many results are in the journal and end with a round.
        is_complete: Whether all are.
        is_finished: Whether the file is written, too.
    """

    def __init__(self, target: Path, *, request: str, command: str) -> None:
        self.target = target
        self._folder = target.with_name(f".{target.name}.journal")
        if target.is_dir():
            raise UsageError(f"{target} is a folder", hint="name a file")
        if not target.parent.is_dir():
            raise DataError(f"no folder {target.parent}", hint="create it, or name a file in another one")
        make_folder(self._folder)
        self._file: IO[bytes] | None = None
        self._unsynced = self._length = self.num_results = 0
        self.is_complete = False
        self._lock = _lock(self._folder / _LOCK, target)
        try:
            self._read_lines()
            self.is_finished = self._check_request(request, command)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def _lines(self) -> Path:
        return self._folder / _LINES

    def results(self, count: int | None = None) -> Iterator[Results]:
        """What is in the journal, in order; at most the first so many."""
        found = (line.results for line in self._all_lines() if line.results is not None)
        yield from islice(found, count)

    def append(self, results: Results, *, ends_round: bool = True) -> None:
        """Adds the next results; after a kill of the process they are there, if they end a round."""
        self._write({**to_record(results), _ENDS_ROUND: ends_round})
        self.num_results += 1

    def finish(self) -> None:
        """Marks that all results are here."""
        if not self.is_complete:
            self._write({_COMPLETE: True})
            self._sync()
            self.is_complete = True

    def remove(self, outcome: Mapping[str, Any]) -> None:
        """Removes the lines, once the file is written. The request and the outcome stay on record."""
        self._close_file()
        atomic_write_json(self._folder / _REQUEST, {**self._recorded, "outcome": outcome})
        with map_write_errors(self._lines):
            self._lines.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets other processes write."""
        self._close_file()
        if self._lock is not None:
            self._lock.release()

    def _check_request(self, request: str, command: str) -> bool:
        """Whether the file is there already, of this very request; UsageError if it is of another."""
        path, target = self._folder / _REQUEST, self.target
        recorded = _read_request(path)
        exists = target.exists()
        if recorded is not None and recorded.get("request") != request and (exists or self._lines.exists()):
            begun = "holds the results of" if exists else "was begun by"
            raise UsageError(
                f"{target} {begun} another command or model: {recorded.get('command', 'unknown')}",
                hint=f"name another file, or remove {target} and {self._folder} to start anew",
            )
        if exists and (recorded is None or self._lines.exists()) and not self._is_published():
            raise UsageError(f"{target} exists already", hint="name another file, or remove it")
        if recorded is None or recorded.get("request") != request or not exists:
            recorded = {"format": _FORMAT, "request": request, "command": command}
            atomic_write_json(path, recorded)
        self._recorded = recorded
        return exists and not self._lines.exists()

    @property
    def outcome(self) -> Mapping[str, Any]:
        """What `remove` recorded; empty before."""
        outcome: Mapping[str, Any] = self._recorded.get("outcome", {})
        return outcome

    def _is_published(self) -> bool:
        """Whether a process was killed between writing the file and removing the journal."""
        return self._lines.exists() and self.is_complete

    def _read_lines(self) -> None:
        """Counts what an earlier process has written, without what follows the last round."""
        length = num_results = 0
        for line in self._all_lines():
            length += line.num_bytes
            num_results += line.results is not None
            self.is_complete = self.is_complete or line.results is None
            if line.ends_round:
                self._length, self.num_results = length, num_results

    def _all_lines(self) -> Iterator[_Line]:
        with suppress(FileNotFoundError), self._lines.open("rb") as file:
            for line in file:
                try:
                    found = _parse(line)
                except (ValueError, KeyError, TypeError, AttributeError, MienError, RecursionError):
                    return  # what is left of a line
                yield found

    def _write(self, record: Mapping[str, Any]) -> None:
        with map_write_errors(self._lines):
            if self._file is None:
                self._file = self._lines.open("ab")
                self._file.truncate(self._length)
            # One call, so that a kill leaves at most one line in pieces.
            self._file.write(json.dumps(record, allow_nan=False).encode() + b"\n")
            self._file.flush()
            self._unsynced += 1
            if self._unsynced >= _SYNC_EVERY:
                self._sync()

    def _sync(self) -> None:
        if self._file is not None:
            os.fsync(self._file.fileno())
        self._unsynced = 0

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None


def _lock(path: Path, target: Path) -> FileLock | None:
    try:
        lock = try_lock(path)
    except OSError as error:
        if lacks_locks(error):
            return None
        raise DataError(
            f"{path} cannot be written: {error.strerror}", hint="make its folder writable"
        ) from error
    if isinstance(lock, LockHolder):
        raise DataError(
            f"{target} is being written by {lock}", hint="wait for it to end, stop it, or name another file"
        )
    return lock


def _read_request(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(read_bytes(path, max_bytes=_MAX_REQUEST))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and found.get("format") == _FORMAT else None


def _parse(line: bytes) -> _Line:
    """A complete line; raises nearly anything for others."""
    if not line.endswith(b"\n"):
        raise ValueError("the line has no end")
    record = json.loads(line)
    if _COMPLETE in record:
        return _Line(results=None, ends_round=True, num_bytes=len(line))
    return _Line(results=from_record(record), ends_round=record.get(_ENDS_ROUND, False), num_bytes=len(line))
