"""Fails every write, sync and rename in turn, and checks that the next run recovers.

    python scripts/faults.py [--mode fail|full|kill|torn ...]

A small library intercepts the process's system calls (it needs a C compiler; without one the script exits
with 77). For each scenario, one child meets the fault at the first call, one at the second, and so on.

    fail  the call reports an error, once: no space for a write or rename, an I/O error for a sync
    full  this and every later call report an error
    kill  the process ends before the call
    torn  the process ends after half of the call's work

Checks that a child ends with one of mien's errors or none, that existing data is intact, and that the next
run completes. The last line counts how the children ended; the exit code is 0 if every check passed.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import chaos_describing as chaos

from mien.describe.fake import FakeEngine
from mien.describe.store.export import read_export, write_export
from mien.describe.store.store import Store
from mien.errors import MienError
from mien.files import atomic_write_json
from mien.runs import append_event, read_events
from mien.types import Description

NO_COMPILER: Final = 77  # the exit code by which test harnesses recognize a skipped test
_MODES: Final = {"fail": 1, "full": 2, "kill": 3, "torn": 4}
_REFUSED, _DEFECT = 3, 1  # exit codes of a child: one of mien's errors, any other error
_LIBRARY: Final = "MIEN_FAULTS"


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """Code that writes: how to prepare it, how to run it, and what to check afterwards."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    check_intact: Callable[[Path], str | None]  # the problem right after the fault, if any
    check_complete: Callable[[Path], str | None]  # the problem after the next run, if any


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", action="append", choices=sorted(_MODES))
    modes = parser.parse_args().mode or list(_MODES)
    if _LIBRARY not in os.environ:
        return _restart_with_library()
    failures, ends = 0, Counter[str]()
    # In memory if possible: only the calls matter, not their duration.
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        root = Path(name).resolve()
        for scenario in _scenarios(root):
            number = _count_calls(scenario, root)
            for mode in modes:
                for first in range(1, number + 1):
                    problem = _try(scenario, root, first, mode, ends)
                    failures += problem is not None
                    if problem:
                        print(f"{scenario.name}, call {first} of {number}, {mode}: {problem}")
            print(f"{scenario.name}: {number} calls")
    # A child may also succeed despite an error, if the next run cleans up.
    print(f"done={ends['done']} refused={ends['refused']} killed={ends['killed']} failures={failures}")
    return 1 if failures or not ends else 0


def _restart_with_library() -> int:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        print("no C compiler", file=sys.stderr)
        return NO_COMPILER
    with tempfile.TemporaryDirectory() as name:
        library = Path(name) / "faults.so"
        source = Path(__file__).with_suffix(".c")
        command = [compiler, "-shared", "-fPIC", "-O1", "-w", str(source), "-o", str(library), "-ldl"]
        subprocess.run(command, check=True)
        environment = os.environ | {"LD_PRELOAD": str(library), _LIBRARY: str(library)}
        return subprocess.run([sys.executable, *sys.argv], env=environment, check=False).returncode


def _child(act: Callable[[Path], None], folder: Path, first: int, mode: str | None) -> tuple[int, str]:
    """Run in a child with a fault (mode None: count the calls); return its exit status and its message."""
    message = folder.with_suffix(".message")
    message.write_text("")
    child = os.fork()
    if child == 0:
        library = ctypes.CDLL(os.environ[_LIBRARY])
        library.fault_arm(os.fsencode(folder), ctypes.c_long(first), _MODES[mode] if mode else 0)
        code, text = 0, ""
        try:
            act(folder)
        except MienError as error:
            code, text = _REFUSED, f"{error}; {error.hint}" if error.hint else "no hint"
        except OSError as error:  # `mien.runs` passes these on to its callers
            code, text = (_REFUSED, str(error)) if act in _MAY_RAISE_OS_ERROR else (_DEFECT, repr(error))
        except BaseException:  # noqa: BLE001  the child must never return into the parent's loop
            code, text = _DEFECT, traceback.format_exc()
        calls = library.fault_count()
        library.fault_arm(b"/nowhere", ctypes.c_long(0), 0)
        message.write_text(text if mode else str(calls))
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    return status, message.read_text()


def _count_calls(scenario: Scenario, root: Path) -> int:
    folder = _fresh(scenario, root)
    status, message = _child(scenario.act, folder, 0, None)
    if status or scenario.check_complete(folder):
        raise SystemExit(f"{scenario.name} does not work without a fault: {status} {message}")
    return int(message)


def _try(scenario: Scenario, root: Path, first: int, mode: str, ends: Counter[str]) -> str | None:
    """Run with a fault at this call; return the problem, if any."""
    folder = _fresh(scenario, root)
    status, message = _child(scenario.act, folder, first, mode)
    code = os.waitstatus_to_exitcode(status)
    ends[{0: "done", _REFUSED: "refused"}.get(code, "killed")] += 1
    if code not in {0, _REFUSED, -signal.SIGKILL}:
        return f"not one of mien's errors: {message}"
    if message == "no hint":
        return "the error has no hint"
    lost = scenario.check_intact(folder)
    if lost:
        return f"after the fault: {lost}"
    status, message = _child(scenario.act, folder, 0, None)
    return f"the next run fails: {message}" if status else scenario.check_complete(folder)


def _fresh(scenario: Scenario, root: Path) -> Path:
    folder = root / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    scenario.prepare(folder)
    return folder


# --- Scenarios -------------------------------------------------------------------------------------


def _scenarios(root: Path) -> list[Scenario]:
    return [*_stores(root), *_files(root)]


def _stores(root: Path) -> list[Scenario]:
    """Describe into a new store, and into one with rows."""
    subjects = chaos.build_subjects(root, 9)

    def describe(count: int) -> Callable[[Path], None]:
        log = chaos.Log(root / "log")
        return lambda folder: chaos.work(
            folder / "store.sqlite", log, subjects[:count], FakeEngine(), batch_size=3
        )

    earlier, complete = root / "earlier", root / "complete"
    for folder, count in ((earlier, 3), (complete, 9)):
        folder.mkdir()
        describe(count)(folder)
    rows = chaos.read_rows(earlier / "store.sqlite")
    all_rows = chaos.read_rows(complete / "store.sqlite")

    def intact(before: dict[str, chaos.Row]) -> Callable[[Path], str | None]:
        def check(folder: Path) -> str | None:
            now = chaos.read_rows(folder / "store.sqlite")
            if before.items() - now.items():
                return "earlier rows are gone"
            return "there are unexpected rows" if now.items() - all_rows.items() else None

        return check

    def is_complete(folder: Path) -> str | None:
        return (
            None
            if chaos.read_rows(folder / "store.sqlite") == all_rows
            else "the store differs from a complete one"
        )

    def copy(folder: Path) -> None:
        shutil.copy(earlier / "store.sqlite", folder)

    act = describe(9)
    new = Scenario(
        name="a new store",
        prepare=lambda _: None,
        act=act,
        check_intact=intact({}),
        check_complete=is_complete,
    )
    old = Scenario(
        name="a store with rows", prepare=copy, act=act, check_intact=intact(rows), check_complete=is_complete
    )
    return [new, old]


def _write_json(folder: Path) -> None:
    atomic_write_json(folder / "a.json", {"new": True})


def _append(folder: Path) -> None:
    append_event(folder / "events.jsonl", "second", text="x" * 300)


_MAY_RAISE_OS_ERROR: Final = (_write_json, _append)


def _files(root: Path) -> list[Scenario]:
    """Replace a file, append a line, write an export."""
    with Store(root / "complete" / "store.sqlite", writable=False) as store:
        rows = list(store)

    def is_one_of(
        name: str, read: Callable[[Path], object], *allowed: object
    ) -> Callable[[Path], str | None]:
        return lambda folder: None if read(folder / name) in allowed else f"{name} is neither old nor new"

    def parsed(path: Path) -> object:
        try:
            return json.loads(path.read_text())
        except ValueError:
            return "torn"

    def events(path: Path) -> object:
        return [item["event"] for item in read_events(path).items if "text" not in item or item["text"]]

    def first_event(folder: Path) -> None:
        append_event(folder / "events.jsonl", "first")

    def export(folder: Path, chosen: list[Description]) -> None:
        write_export(folder / "a.csv", chosen)

    def exported(path: Path) -> object:
        return [row.key for row in read_export(path)]

    replaced = Scenario(
        name="a replaced file",
        prepare=lambda folder: atomic_write_json(folder / "a.json", {"old": True}),
        act=_write_json,
        check_intact=is_one_of("a.json", parsed, {"old": True}, {"new": True}),
        check_complete=is_one_of("a.json", parsed, {"new": True}),
    )
    added = Scenario(
        name="an appended line",
        prepare=first_event,
        act=_append,
        check_intact=is_one_of("events.jsonl", events, ["first"], ["first", "second"]),
        check_complete=is_one_of("events.jsonl", events, ["first", "second"], ["first", "second", "second"]),
    )
    keys = [row.key for row in rows]
    out = Scenario(
        name="an export",
        prepare=lambda folder: export(folder, rows[:2]),
        act=lambda folder: export(folder, rows),
        check_intact=is_one_of("a.csv", exported, keys[:2], keys),
        check_complete=is_one_of("a.csv", exported, keys),
    )
    return [replaced, added, out]


if __name__ == "__main__":
    sys.exit(main())
