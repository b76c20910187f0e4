"""The run directory: its manifest and its events.

`manifest.json` says what the run is. `events.jsonl` grows by one line per event; a crash
can leave its last line incomplete, which the reader reports and skips.
"""

from __future__ import annotations

import difflib
import json
import os
import platform
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any, Final, Literal, TypedDict

from mien.documents import MAX_TABLE_BYTES, parse_json, read_bytes, read_json, require_file
from mien.errors import RunError
from mien.files import atomic_write_json, make_folder, map_write_errors

__all__ = [
    "MANIFEST",
    "Event",
    "Events",
    "Run",
    "RunManifest",
    "append_event",
    "command_event",
    "command_line",
    "read_events",
]

# From schema 2 on, places inside of a run are relative to it.
_SCHEMA: Final = 2
_SCHEMAS: Final = (1, _SCHEMA)
MANIFEST: Final = "manifest.json"
_RESTORE: Final = "restore the file, or run again"
_EVENTS: Final = "events.jsonl"
_COMMAND: Final = "command"
# The command line of this process, and when it started (time.monotonic); None in Python and in workers.
_COMMAND_LINE: Final[ContextVar[tuple[str, float] | None]] = ContextVar("command_line", default=None)

# Libraries that a result can depend on.
_RECORDED: Final = ("mien", "torch", "transformers", "tokenizers", "numpy", "pillow", "scikit-learn")


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in _RECORDED:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class RunManifest:
    """What a run is.

    Attributes:
        command: The command that created it, such as "train".
        recipe: The resolved recipe.
        digest: Digest of the recipe.
        versions: Versions of Python and of libraries, by name.
        created: When the run was created, in UTC: ISO 8601.
        schema: The version of this file. From 2 on, paths inside of the run directory are relative to it.
    """

    command: str
    recipe: Mapping[str, Any]
    digest: str
    versions: Mapping[str, str] = field(default_factory=_versions)
    created: str = field(default_factory=_now)
    schema: Literal[1, 2] = _SCHEMA


class Event(TypedDict):
    """A line of `events.jsonl`. Further keys depend on the event.

    Attributes:
        event: What happened, such as "command", "epoch", "trained" or "scored".
        time: When it happened, in UTC: ISO 8601.
    """

    event: str
    time: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Events:
    """Events in the order in which they were written, and the numbers of incomplete lines."""

    items: tuple[dict[str, Any], ...]
    torn_lines: tuple[int, ...]

    def named(self, event: str) -> Iterator[dict[str, Any]]:
        """The events of this name."""
        return (item for item in self.items if item.get("event") == event)


class Run:
    """A run directory; get one with `create`, `open` or `open_or_create`."""

    def __init__(self, path: Path, manifest: RunManifest) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def create(cls, path: Path, *, command: str, recipe: Mapping[str, Any], digest: str) -> Run:
        """Creates a run in a new or empty directory; RunError if it already holds one."""
        if (path / MANIFEST).exists():
            raise RunError(f"{path} already holds a run", hint="name another directory, or remove that one")
        make_folder(path)
        manifest = RunManifest(command=command, recipe=dict(recipe), digest=digest)
        atomic_write_json(path / MANIFEST, asdict(manifest))
        return cls(path, manifest)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Opens the run in a directory; RunError if there is none."""
        return cls(path, _read_manifest(path))

    @classmethod
    def open_or_create(cls, path: Path, *, command: str, recipe: Mapping[str, Any], digest: str) -> Run:
        """Opens the run of this recipe digest, or creates it; RunError if the directory holds another run."""
        if not (path / MANIFEST).exists():
            return cls.create(path, command=command, recipe=recipe, digest=digest)
        run = cls.open(path)
        if run.manifest.digest != digest:
            raise RunError(
                f"{path} holds a run of a different recipe ({run.manifest.digest[:12]}, not {digest[:12]})",
                hint="name another directory, or undo the change to the recipe",
            )
        return run

    def record_moved(self, recipe: Mapping[str, Any], digest: str) -> Run:
        """Replaces the recorded recipe with one that differs only in where data and models lie."""
        manifest = replace(self.manifest, recipe=dict(recipe), digest=digest, schema=_SCHEMA)
        atomic_write_json(self.path / MANIFEST, asdict(manifest))
        self.append("moved", digest=digest)
        return Run(self.path, manifest)

    def append(self, event: str, **fields: Any) -> None:
        """Appends an event: a name, the time and JSON values."""
        append_event(self.path / _EVENTS, event, **fields)

    def record_command(self) -> None:
        """Records the command line that has done its work on this run, its time, and library versions.

        The same one with the same versions is recorded once. Nothing is recorded if Python called the step.
        """
        fields = command_event()
        known = [(event.get("line"), event.get("versions")) for event in self.events().named(_COMMAND)]
        if fields and (fields["line"], fields["versions"]) not in known:
            self.append(_COMMAND, **fields)

    def events(self) -> Events:
        """All events so far."""
        return read_events(self.path / _EVENTS)


@contextmanager
def command_line(arguments: Sequence[str]) -> Iterator[None]:
    """Within it, steps record that this command line works on their runs."""
    token = _COMMAND_LINE.set((shlex.join(arguments), time.monotonic()))
    try:
        yield
    finally:
        _COMMAND_LINE.reset(token)


def command_event() -> dict[str, Any]:
    """The command line, its seconds so far, library versions and the machine, as JSON; empty in Python."""
    current = _COMMAND_LINE.get()
    if current is None:
        return {}
    line, start = current
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    seconds = round(time.monotonic() - start, 1)
    return {"line": line, "seconds": seconds, "versions": _versions(), "machine": machine}


def append_event(path: Path, event: str, **fields: Any) -> None:
    """Appends an event to a file: a name, the time and JSON values."""
    try:
        start: Event = {"event": event, "time": _now()}
        line = json.dumps({**start, **fields}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RunError(
            f"event {event!r} cannot be written: {error}", hint="give finite JSON values"
        ) from error
    try:
        require_file(path)  # a pipe or a device would take the event, and lose it
    except FileNotFoundError:
        pass
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}", hint=_RESTORE) from error
    with map_write_errors(path), path.open("ab+") as file:
        # A newline after an incomplete line keeps this event intact.
        separator = "\n" if _ends_incomplete(file.fileno()) else ""
        file.write(f"{separator}{line}\n".encode())


def read_events(path: Path) -> Events:
    """Reads the events in a file, none if it does not exist; skips incomplete lines, counted from 1."""
    items: list[dict[str, Any]] = []
    torn: list[int] = []
    try:
        data = read_bytes(path, max_bytes=MAX_TABLE_BYTES)
    except FileNotFoundError:
        data = b""
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}", hint=_RESTORE) from error
    for number, line in enumerate(data.splitlines(), start=1):
        event = _parse_event(line)
        if event is None:
            torn.append(number)
        else:
            items.append(event)
    return Events(items=tuple(items), torn_lines=tuple(torn))


def _read_manifest(path: Path) -> RunManifest:
    file = path / MANIFEST
    try:
        fields = read_json(file)
    except (FileNotFoundError, NotADirectoryError) as error:
        if os.path.lexists(path):
            raise RunError(f"{path} is not a run", hint=f"name a directory with a {MANIFEST}") from error
        raise RunError(f"no run at {path}", hint=_near_run(path)) from error
    except (OSError, ValueError) as error:
        raise RunError(f"{file} cannot be read: {error}", hint=_RESTORE) from error
    schema = fields.get("schema") if isinstance(fields, dict) else None
    if schema not in _SCHEMAS:
        raise RunError(
            f"{file} has schema {schema!r}, not {_SCHEMA}",
            hint="read it with the version of mien that wrote it",
        )
    try:
        return RunManifest(**fields)
    except TypeError as error:
        raise RunError(f"{file} is not a manifest: {error}", hint=_RESTORE) from error


def _near_run(path: Path) -> str:
    """A hint with the run of the same folder whose name is closest, if one is close."""
    try:
        names = sorted(entry.name for entry in path.parent.iterdir() if (entry / MANIFEST).is_file())
    except (OSError, ValueError):  # no such folder, or a NUL
        names = []
    close = difflib.get_close_matches(path.name, names, n=1)
    guess = f"did you mean {path.parent / close[0]}? " if close else ""
    return f"{guess}name a directory with a {MANIFEST}, such as those that mien train makes in runs/"


def _parse_event(line: bytes) -> dict[str, Any] | None:
    try:
        event = parse_json(line)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _ends_incomplete(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
