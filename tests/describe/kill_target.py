"""Describes pictures in a child that is killed again and again; run by test_kill, prints JSON.

python kill_target.py FOLDER KILLS SEED
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, FakeEngine, FakeOptions, Reply, Request
from mien.describe.generate import describe
from mien.describe.prompts import prompt
from mien.describe.store import Store
from mien.errors import EngineError
from mien.images import Marking
from mien.labels import CAERS
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Box, Subject

COUNT, BATCH = 60, 4
BOX = Box(left=2, top=2, right=12, bottom=12)
OPTIONS = FakeOptions(refuse=("s7",), poison=("s21", "s40"), delay=0.004)


class Logging(Engine):
    """Writes the ids of each request to a file before it is answered."""

    def __init__(self, log: Path) -> None:
        self.fake = FakeEngine(OPTIONS)
        self.log = log

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        raise NotImplementedError

    @property
    def name(self) -> str:
        return self.fake.name

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return self.fake.signature

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        with self.log.open("a") as file:
            file.write("".join(f"{request.subject_id}\n" for request in requests))
        return self.fake.describe(requests)


def people(folder: Path) -> list[Subject]:
    made = []
    for number in range(COUNT):
        path = folder / f"{number}.png"
        if not path.exists():
            Image.new("RGB", (16, 16), (number, 0, 9)).save(path)
        made.append(Subject.still(f"s{number}", path, BOX))
    return made


def work(store: Path, log: Path, subjects: list[Subject]) -> None:
    with Store(store) as opened:
        describe(
            subjects,
            engine=Logging(log),
            prompt=prompt("paper"),
            label_set=CAERS,
            marking=Marking(),
            store=opened,
            batch_size=BATCH,
        )


def content(store: Path) -> list[tuple[str | int, ...]]:
    if not store.exists() or store.stat().st_size == 0:
        return []
    with Store(store) as opened:  # as the next attempt opens it
        rows: list[tuple[str | int, ...]] = [
            (row.key, row.subject_id, row.text, row.finish) for row in opened
        ]
        failures = opened.failures()
        return rows + [(row.key, row.subject_id, row.error, row.attempts) for row in failures]


def attempt(store: Path, log: Path, subjects: list[Subject], seconds: float | None) -> bool:
    """One child, killed after so many seconds unless it ends before; whether it was killed."""
    child = os.fork()
    if child == 0:
        work(store, log, subjects)
        os._exit(0)
    if seconds is not None:
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not os.WIFSIGNALED(status) and os.WEXITSTATUS(status) != 0:
        raise SystemExit(f"the child failed with {status}")
    return os.WIFSIGNALED(status)


def main() -> None:
    folder, kills, seed = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    rng, subjects, store = random.Random(seed), people(folder), folder / "killed.sqlite"
    start = time.monotonic()
    attempt(folder / "whole.sqlite", folder / "whole.log", subjects, None)
    whole_run = time.monotonic() - start
    killed = repeated = 0
    while killed < kills:
        settled = {row[1] for row in content(store)}
        log = folder / "attempt.log"
        log.write_text("")
        # Short beside a whole run, so that many kills fall into one; starting anew once it is whole.
        was_killed = attempt(store, log, subjects, rng.uniform(0, whole_run * 0.4))
        killed += was_killed
        repeated += len(settled.intersection(log.read_text().split()))
        if not was_killed:
            if content(store) != content(folder / "whole.sqlite"):
                raise SystemExit("the stores differ")
            for file in folder.glob("killed.sqlite*"):
                file.unlink()
    attempt(store, folder / "attempt.log", subjects, None)
    result = {
        "kills": killed,
        "repeated": repeated,
        "equal": content(store) == content(folder / "whole.sqlite"),
    }
    print(json.dumps({**result, "rows": len(content(store))}))  # noqa: T201  to the test


if __name__ == "__main__":
    main()
