"""Fails every write, sync and rename in turn, and sees whether the next run makes good for it.

    python scripts/faults.py [--mode fail|full|kill|torn ...]

A small library stands between the process and the system's calls (it needs a C compiler, and exits with 77
without one). For each place, one child meets the fault at the first call, one at the second, and so on.

    fail  the call reports an error, once: no space for a write or rename, a broken disk for a sync
    full  it and every later call report an error
    kill  the process ends before the call
    torn  the process ends when the call has done half of its work

What must hold: a child ends with one of our errors or none; what was there before is there still; the next
run makes the whole. The last line counts how the children ended, and the exit code is 0 if it always held.
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

import chaos

from mien.describe.fake import FakeEngine
from mien.describe.store.export import read_export, write_export
from mien.describe.store.store import Store
from mien.errors import MienError
from mien.runs import append_event, atomic_write_json, read_events
from mien.types import Description

NO_COMPILER: Final = 77  # by which test harnesses know that something was skipped
_MODES: Final = {"fail": 1, "full": 2, "kill": 3, "torn": 4}
_REFUSED, _DEFECT = 3, 1  # exit codes of a child: one of our errors, anything else
_LIBRARY: Final = "MIEN_FAULTS"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Something that writes: what is there before, what it does, and what may be there afterwards."""

    name: str
    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    kept: Callable[[Path], str | None]  # what is wrong after the fault, before anything else is done
    whole: Callable[[Path], str | None]  # what is wrong after it was done once more


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mode", action="append", choices=sorted(_MODES))
    modes = parser.parse_args().mode or list(_MODES)
    if _LIBRARY not in os.environ:
        return _again_with_the_shim()
    failures, ends = 0, Counter[str]()
    # In memory where that is possible: what counts here is which calls are made, not how long they take.
    memory = Path("/dev/shm")  # noqa: S108
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as name:
        root = Path(name).resolve()
        for place in _places(root):
            number = _count_calls(place, root)
            for mode in modes:
                for first in range(1, number + 1):
                    wrong = _try(place, root, first, mode, ends)
                    failures += wrong is not None
                    if wrong:
                        print(f"{place.name}, call {first} of {number}, {mode}: {wrong}")
            print(f"{place.name}: {number} calls")
    # An error may be no failure of the whole: what cannot be tidied up now is tidied up by the next run.
    print(f"done={ends['done']} refused={ends['refused']} killed={ends['killed']} failures={failures}")
    return 1 if failures or not ends else 0


def _again_with_the_shim() -> int:
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
    """The status in which a child ends that meets a fault (None: it counts calls), and what it said."""
    said = folder.with_suffix(".said")
    said.write_text("")
    child = os.fork()
    if child == 0:
        library = ctypes.CDLL(os.environ[_LIBRARY])
        library.fault_arm(os.fsencode(folder), ctypes.c_long(first), _MODES[mode] if mode else 0)
        code, text = 0, ""
        try:
            act(folder)
        except MienError as error:
            code, text = _REFUSED, f"{error}; {error.hint}" if error.hint else "no hint"
        except OSError as error:  # what `runs` hands on, for its callers to word
            code, text = (_REFUSED, str(error)) if act in _SPEAK_FOR_THEMSELVES else (_DEFECT, repr(error))
        except BaseException:  # noqa: BLE001  the child must never return into the parent's loop
            code, text = _DEFECT, traceback.format_exc()
        calls = library.fault_count()
        library.fault_arm(b"/nowhere", ctypes.c_long(0), 0)
        said.write_text(text if mode else str(calls))
        os._exit(code)
    status = os.waitpid(child, 0)[1]
    return status, said.read_text()


def _count_calls(place: Place, root: Path) -> int:
    folder = _fresh(place, root)
    status, said = _child(place.act, folder, 0, None)
    if status or place.whole(folder):
        raise SystemExit(f"{place.name} does not work without a fault: {status} {said}")
    return int(said)


def _try(place: Place, root: Path, first: int, mode: str, ends: Counter[str]) -> str | None:
    """What went wrong with a fault at this call, if anything did."""
    folder = _fresh(place, root)
    status, said = _child(place.act, folder, first, mode)
    code = os.waitstatus_to_exitcode(status)
    ends[{0: "done", _REFUSED: "refused"}.get(code, "killed")] += 1
    if code not in {0, _REFUSED, -signal.SIGKILL}:
        return f"no error of ours: {said}"
    if said == "no hint":
        return "the error has no hint"
    lost = place.kept(folder)
    if lost:
        return f"afterwards {lost}"
    status, said = _child(place.act, folder, 0, None)
    return f"the next attempt fails: {said}" if status else place.whole(folder)


def _fresh(place: Place, root: Path) -> Path:
    folder = root / "work"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    place.prepare(folder)
    return folder


# --- What is tried -------------------------------------------------------------------------------------


def _places(root: Path) -> list[Place]:
    return [*_stores(root), *_files(root)]


def _stores(root: Path) -> list[Place]:
    """Describing into a store that is new, and into one that has rows."""
    subjects = chaos.people(root, 9)

    def describe(people: int) -> Callable[[Path], None]:
        log = chaos.Log(root / "log")
        return lambda folder: chaos.work(
            folder / "store.sqlite", log, subjects[:people], FakeEngine(), batch_size=3
        )

    earlier, whole = root / "earlier", root / "whole"
    for folder, people in ((earlier, 3), (whole, 9)):
        folder.mkdir()
        describe(people)(folder)
    rows, every = chaos.content(earlier / "store.sqlite"), chaos.content(whole / "store.sqlite")

    def kept(before: dict[str, chaos.Row]) -> Callable[[Path], str | None]:
        def look(folder: Path) -> str | None:
            now = chaos.content(folder / "store.sqlite")
            if before.items() - now.items():
                return "earlier rows are gone"
            return "there are rows that nobody wrote" if now.items() - every.items() else None

        return look

    def complete(folder: Path) -> str | None:
        return None if chaos.content(folder / "store.sqlite") == every else "the store is not the same"

    def copy(folder: Path) -> None:
        shutil.copy(earlier / "store.sqlite", folder)

    act = describe(9)
    new = Place(name="a new store", prepare=lambda _: None, act=act, kept=kept({}), whole=complete)
    old = Place(name="a store with rows", prepare=copy, act=act, kept=kept(rows), whole=complete)
    return [new, old]


def _write_json(folder: Path) -> None:
    atomic_write_json(folder / "a.json", {"new": True})


def _append(folder: Path) -> None:
    append_event(folder / "events.jsonl", "second", text="x" * 300)


_SPEAK_FOR_THEMSELVES: Final = (_write_json, _append)


def _files(root: Path) -> list[Place]:
    """A file that is replaced, a line that is added, an export."""
    with Store(root / "whole" / "store.sqlite", writable=False) as store:
        rows = list(store)

    def was(name: str, found: Callable[[Path], object], *allowed: object) -> Callable[[Path], str | None]:
        return lambda folder: None if found(folder / name) in allowed else f"{name} is neither old nor new"

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

    replaced = Place(
        name="a file that is replaced",
        prepare=lambda folder: atomic_write_json(folder / "a.json", {"old": True}),
        act=_write_json,
        kept=was("a.json", parsed, {"old": True}, {"new": True}),
        whole=was("a.json", parsed, {"new": True}),
    )
    added = Place(
        name="a line that is added",
        prepare=first_event,
        act=_append,
        kept=was("events.jsonl", events, ["first"], ["first", "second"]),
        whole=was("events.jsonl", events, ["first", "second"], ["first", "second", "second"]),
    )
    keys = [row.key for row in rows]
    out = Place(
        name="an export",
        prepare=lambda folder: export(folder, rows[:2]),
        act=lambda folder: export(folder, rows),
        kept=was("a.csv", exported, keys[:2], keys),
        whole=was("a.csv", exported, keys),
    )
    return [replaced, added, out]


if __name__ == "__main__":
    sys.exit(main())
