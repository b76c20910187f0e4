"""Kills a describing process again and again, restarts it each time, and checks what it leaves.

    python scripts/chaos_describing.py [--kills 2000] [--seed 1] [--engine fake|local|remote] [--model M]
        [--endpoint U]

The parent imports everything once and forks a child per attempt. The child is killed with `kill -9` after a
random part of the time that a complete run takes. Before and after every write the child logs the keys, so
that the parent knows which rows must exist. The last line counts
    lost        missing rows that a completed write, or an uninterrupted run, promised
    duplicated  stored descriptions that were requested again, and subjects with two rows
    torn        rows that differ from those of an uninterrupted run, and partially written groups
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

_MAX_SHARE: Final = 0.6  # of a complete run per attempt, so that several kills hit each run
_FAKE: Final = FakeOptions(refuse=("s7",), poison=("s21", "s30"), delay=0.004)
_TIMEOUT: Final = 600  # seconds per attempt
Row = tuple[str | int, ...]  # all columns of a table; the first two are the key and the subject


@dataclass
class Losses:
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
    """Lines that survive the death of the process once `write` returns."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, kind: str, values: Iterable[str]) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(descriptor, (json.dumps([kind, *values]) + "\n").encode())
        os.close(descriptor)

    def read(self, kind: str) -> list[list[str]]:
        """The values of each line of this kind; a truncated last line is ignored."""
        found = []
        for line in self.path.read_bytes().split(b"\n") if self.path.exists() else ():
            with suppress(ValueError):
                first, *values = json.loads(line)
                if first == kind:
                    found.append(values)
        return found


class LoggingEngine(EngineWrapper):
    """Logs the subject ids of each call's requests before they are described."""

    def __init__(self, inner: Engine, log: Log) -> None:
        super().__init__(inner)
        self.log = log

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        self.log.write("request", (request.subject_id for request in requests))
        return super().describe(requests)


class LoggingStore(Store):
    """Logs the keys of each group before and after it is written."""

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
    with LoggingStore(store, log) as opened:
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
    """Run in a child, kill it after `seconds` unless it ends earlier, and return whether it was killed."""
    child = os.fork()
    if child == 0:
        signal.alarm(_TIMEOUT)
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
        raise SystemExit(f"an attempt failed with status {status}")
    return False


# --- The parent ----------------------------------------------------------------------------------------


def build_subjects(folder: Path, count: int) -> list[Subject]:
    """Subjects in images with different content."""
    made = []
    for number in range(count):
        path = folder / f"{number}.png"
        Image.new("RGB", (16, 16), (number % 256, number // 256, 9)).save(path)
        made.append(Subject.still(f"s{number}", path, Box(left=2, top=2, right=12, bottom=12)))
    return made


def read_rows(store: Path) -> dict[str, Row]:
    """All rows by key, as the next attempt will read them."""
    if not store.exists() or store.stat().st_size == 0:
        return {}
    with Store(store) as opened:
        rows = {row.key: astuple(row) for row in opened}
        return rows | {f"failure {row.key}": astuple(row) for row in opened.iterate_failures()}


class KillTest:
    """Fills one store after another; each attempt is killed until a store is complete."""

    def __init__(self, folder: Path, subjects: Sequence[Subject], engine: Engine, batch_size: int) -> None:
        self._folder, self._subjects, self._engine, self._batch = folder, subjects, engine, batch_size
        self._store, self._log = folder / "killed.sqlite", Log(folder / "attempt.log")
        complete = folder / "complete.sqlite"
        # Import everything here, so that no child spends its time on imports.
        work(folder / "first.sqlite", Log(folder / "first.log"), subjects[:1], FakeEngine(), 1)
        start = time.monotonic()
        attempt(lambda: work(complete, Log(folder / "complete.log"), subjects, engine, batch_size), None)
        self._seconds = time.monotonic() - start
        self._complete = read_rows(complete)
        self.losses = Losses()

    def run(self, kills: int, rng: random.Random) -> Losses:
        """Kill this many times, then complete the last store."""
        while self.losses.kills < kills:
            self._step(rng.uniform(0, self._seconds * _MAX_SHARE))
        while not self._step(None):
            pass
        return self.losses

    def _step(self, seconds: float | None) -> bool:
        """Run and check one attempt; return whether the store is complete, in which case it is deleted."""
        before = read_rows(self._store)
        self._log.path.unlink(missing_ok=True)
        start = lambda: work(self._store, self._log, self._subjects, self._engine, self._batch)  # noqa: E731
        was_killed = attempt(start, seconds)
        self.losses.kills += was_killed
        after = read_rows(self._store)
        self._check_promises(before, after)
        self._check_rows(after)
        if was_killed:
            return False
        missing = self._complete.keys() - after.keys()
        self.losses.add("lost", len(missing), f"missing from a complete store: {sorted(missing)[:3]}")
        for file in self._folder.glob(f"{self._store.name}*"):
            file.unlink()
        return True

    def _check_promises(self, before: dict[str, Row], after: dict[str, Row]) -> None:
        """Earlier rows still exist, written rows exist, and no stored description was requested again."""
        keys = {str(row[0]) for row in after.values()}
        gone = {str(row[0]) for row in before.values()} - keys
        self.losses.add("lost", len(gone), f"earlier rows: {sorted(gone)[:3]}")
        written = {key for group in self._log.read("done") for key in group}
        self.losses.add("lost", len(written - keys), f"written rows: {sorted(written - keys)[:3]}")
        for group in self._log.read("begin"):
            num_written = len(keys.intersection(group))
            self.losses.add(
                "torn", num_written not in {0, len(group)}, f"{num_written} of a group of {len(group)}"
            )
        stored = {str(row[1]) for row in before.values()}
        again = stored.intersection(name for names in self._log.read("request") for name in names)
        self.losses.add("duplicated", len(again), f"requested again: {sorted(again)[:3]}")

    def _check_rows(self, after: dict[str, Row]) -> None:
        different = [key for key, row in after.items() if self._complete.get(key) != row]
        self.losses.add("torn", len(different), f"different from a complete run: {different[:3]}")
        twice = [name for name, number in Counter(row[1] for row in after.values()).items() if number > 1]
        self.losses.add("duplicated", len(twice), f"two rows: {twice[:3]}")


def main() -> int:
    arguments = _arguments()
    engine, count, batch_size = _engine(arguments)
    with tempfile.TemporaryDirectory() as name:
        test = KillTest(Path(name), build_subjects(Path(name), count), engine, batch_size)
        losses = test.run(arguments.kills, random.Random(arguments.seed))
    print(*losses.notes, losses, sep="\n")
    return 1 if losses.lost or losses.duplicated or losses.torn else 0


def _engine(arguments: argparse.Namespace) -> tuple[Engine, int, int]:
    """The engine, the number of subjects and the batch size, for runs of a fraction of a second or more."""
    if arguments.engine == "fake":
        return FakeEngine(_FAKE), 32, 4
    options = DescribeOptions(engine=arguments.engine, model=arguments.model, max_new_tokens=24)
    engine = open_engine(options, RunOptions(endpoints=tuple(arguments.endpoint)))
    if arguments.engine == "local":
        # Load the model before the first fork, so that the children share it.
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
    parser.add_argument(
        "--endpoint", action="append", default=[], help="server address for the engine remote"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
