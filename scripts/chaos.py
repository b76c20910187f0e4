"""Kills a describing process again and again, runs it again each time, and compares what it leaves.

    python scripts/chaos.py [--kills 2000] [--seed 1] [--engine fake|local|remote] [--model M] [--endpoint U]

The parent imports everything once and forks a child for each attempt; the child is killed by `kill -9` after
a random part of the time that a whole run takes. Before and after every write the child notes its keys in a
log, so that the parent knows what must be there. The last line counts
    lost        rows that a write which returned, or an uninterrupted run, promised, and that are not there
    duplicated  questions asked again whose answers were kept, and subjects with two rows
    torn        rows that differ from those of an uninterrupted run, groups of which only a part was written
and the exit code is 0 only if all three are 0.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Final

from PIL import Image

from mien.describe.engine import Engine, EngineWrapper, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.open import open_engine
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.labels import CAERS
from mien.media.images import Marking
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Description, Failure, Subject

_SHARE: Final = 0.6  # of a whole run, at most, is an attempt: so several kills fall into each
_FAKE: Final = FakeOptions(refuse=("s7",), poison=("s21", "s30"), delay=0.004)
_LONGEST: Final = 600  # seconds for any attempt, after which something hangs
Row = tuple[str | int, ...]  # all columns of either table; the first two are the key and the subject


@dataclass
class Tally:
    kills: int = 0
    lost: int = 0
    duplicated: int = 0
    torn: int = 0
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, number: int, note: str) -> None:
        if number:
            setattr(self, kind, getattr(self, kind) + number)
            self.notes.append(f"after kill {self.kills}: {kind} {number}: {note}")

    def __str__(self) -> str:
        return f"kills={self.kills} lost={self.lost} duplicated={self.duplicated} torn={self.torn}"


# --- The child -----------------------------------------------------------------------------------------


class Log:
    """Lines that are out of the process once `write` returns, so that they survive its death."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, words: Iterable[str]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, (json.dumps([kind, *words]) + "\n").encode())
        os.close(descriptor)

    def read(self, kind: str) -> list[list[str]]:
        """The words of each line of this kind; a last line that was cut off never counted."""
        found = []
        for line in self.path.read_bytes().split(b"\n") if self.path.exists() else ():
            with suppress(ValueError):
                first, *words = json.loads(line)
                if first == kind:
                    found.append(words)
        return found


class LoggingEngine(EngineWrapper):
    """Logs the ids of each call's requests before they are answered."""

    def __init__(self, inner: Engine, log: Log) -> None:
        super().__init__(inner)
        self.log = log

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        self.log.write("ask", (request.subject_id for request in requests))
        return super().describe(requests)


class Witnessed(Store):
    """Notes the keys of each group before it is written, and once that has returned."""

    def __init__(self, path: Path, log: Log) -> None:
        super().__init__(path)
        self.log = log

    def put(
        self,
        descriptions: Iterable[Description] = (),
        failures: Iterable[Failure] = (),
        *,
        resolved: Iterable[str] = (),
    ) -> None:
        described, failed = list(descriptions), list(failures)
        keys = [*(row.key for row in described), *(row.key for row in failed)]
        self.log.write("begin", keys)
        super().put(described, failed, resolved=resolved)
        self.log.write("done", keys)


def work(store: Path, log: Log, subjects: Sequence[Subject], engine: Engine, batch_size: int) -> None:
    with Witnessed(store, log) as opened:
        describe(
            subjects,
            RequestBuilder(
                engine=LoggingEngine(engine, log),
                prompt=get_prompt("paper"),
                label_set=CAERS,
                marking=Marking(),
            ),
            opened,
            batch_size=batch_size,
        )


def attempt(run: Callable[[], None], seconds: float | None) -> bool:
    """Runs in a child that is killed after so many seconds, unless it ends before; whether it was killed."""
    child = os.fork()
    if child == 0:
        signal.alarm(_LONGEST)
        try:
            run()
        except BaseException:  # noqa: BLE001  the child must never return into the parent's loop
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status != 0:
        raise SystemExit(f"an attempt ended by itself with status {status}")
    return False


# --- The parent ----------------------------------------------------------------------------------------


def people(folder: Path, count: int) -> list[Subject]:
    """Subjects in pictures of different content."""
    made = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (number % 256, number // 256, 9)).save(path)
        made.append(Subject.still(f"s{number}", path, Box(left=2, top=2, right=12, bottom=12)))
    return made


def content(store: Path) -> dict[str, Row]:
    """All rows by key, read as the next attempt will find them."""
    if not store.exists() or store.stat().st_size == 0:
        return {}
    with Store(store) as opened:
        rows = {row.key: astuple(row) for row in opened}
        return rows | {f"failure {row.key}": astuple(row) for row in opened.iterate_failures()}


class Storm:
    """Attempts on one store after another, each killed several times until it is whole."""

    def __init__(self, folder: Path, subjects: Sequence[Subject], engine: Engine, batch_size: int) -> None:
        self._folder, self._subjects, self._engine, self._batch = folder, subjects, engine, batch_size
        self._store, self._log = folder / "killed.sqlite", Log(folder / "attempt.log")
        whole = folder / "whole.sqlite"
        # Once here, so that no child spends its short life on imports.
        work(folder / "first.sqlite", Log(folder / "first.log"), subjects[:1], FakeEngine(), 1)
        start = time.monotonic()
        attempt(lambda: work(whole, Log(folder / "whole.log"), subjects, engine, batch_size), None)
        self._seconds = time.monotonic() - start
        self._whole = content(whole)
        self.tally = Tally()

    def rage(self, kills: int, rng: random.Random) -> Tally:
        """Kills so often, and lets the last store be finished."""
        while self.tally.kills < kills:
            self._step(rng.uniform(0, self._seconds * _SHARE))
        while not self._step(None):
            pass
        return self.tally

    def _step(self, seconds: float | None) -> bool:
        """One attempt and what it left; whether the store is whole now, and was put away."""
        before = content(self._store)
        self._log.path.unlink(missing_ok=True)
        run = lambda: work(self._store, self._log, self._subjects, self._engine, self._batch)  # noqa: E731
        was_killed = attempt(run, seconds)
        self.tally.kills += was_killed
        after = content(self._store)
        self._check_promises(before, after)
        self._check_rows(after)
        if was_killed:
            return False
        missing = self._whole.keys() - after.keys()
        self.tally.add("lost", len(missing), f"a finished store lacks {sorted(missing)[:3]}")
        for file in self._folder.glob(f"{self._store.name}*"):
            file.unlink()
        return True

    def _check_promises(self, before: dict[str, Row], after: dict[str, Row]) -> None:
        """What was kept is kept, what was written is written, nothing was asked for nothing."""
        keys = {str(row[0]) for row in after.values()}
        gone = {str(row[0]) for row in before.values()} - keys
        self.tally.add("lost", len(gone), f"rows that were there: {sorted(gone)[:3]}")
        written = {key for group in self._log.read("done") for key in group}
        self.tally.add("lost", len(written - keys), f"written and gone: {sorted(written - keys)[:3]}")
        for group in self._log.read("begin"):
            held = len(keys.intersection(group))
            self.tally.add("torn", held not in {0, len(group)}, f"{held} of a group of {len(group)}")
        settled = {str(row[1]) for row in before.values()}
        again = settled.intersection(name for names in self._log.read("ask") for name in names)
        self.tally.add("duplicated", len(again), f"asked again: {sorted(again)[:3]}")

    def _check_rows(self, after: dict[str, Row]) -> None:
        other = [key for key, row in after.items() if self._whole.get(key) != row]
        self.tally.add("torn", len(other), f"other rows than in a whole run: {other[:3]}")
        twice = [name for name, number in Counter(row[1] for row in after.values()).items() if number > 1]
        self.tally.add("duplicated", len(twice), f"two rows: {twice[:3]}")


def main() -> int:
    arguments = _arguments()
    engine, count, batch_size = _engine(arguments)
    with tempfile.TemporaryDirectory() as name:
        storm = Storm(Path(name), people(Path(name), count), engine, batch_size)
        tally = storm.rage(arguments.kills, random.Random(arguments.seed))
    print(*tally.notes, tally, sep="\n")
    return 1 if tally.lost or tally.duplicated or tally.torn else 0


def _engine(arguments: argparse.Namespace) -> tuple[Engine, int, int]:
    """The engine, and how many subjects in which batches make a run of a fraction of a second or more."""
    if arguments.engine == "fake":
        return FakeEngine(_FAKE), 32, 4
    options = DescribeOptions(engine=arguments.engine, model=arguments.model, max_new_tokens=24)
    engine = open_engine(options, RunOptions(endpoints=tuple(arguments.endpoint)))
    if arguments.engine == "local":
        # Loaded before the first fork: the children share it.
        engine.describe([Request(subject_id="first", images=(Image.new("RGB", (64, 64)),), prompt="How?")])
    return engine, 24, 2


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--engine", choices=("fake", "local", "remote"), default="fake")
    parser.add_argument("--model", default="playhouse")
    parser.add_argument("--endpoint", action="append", default=[], help="of engine remote")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
