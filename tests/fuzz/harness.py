"""Feeds mutated bytes to a reader, each mutant within a time and a memory limit.

The reader runs in a process of its own, so that a crash, a hang or a flood of memory is a finding and not the
end of the tests. Mutants depend only on the seeds and their number: `mutant(seeds, number)` makes one again.
"""

from __future__ import annotations

import multiprocessing
import random
import resource
import shutil
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from mien.errors import MienError

__all__ = ["MUTANTS", "FuzzReport", "fuzz", "mutant"]

MUTANTS: Final = 2_000
_MEMORY: Final = 1 << 30  # bytes above what the process takes before the first mutant
_SECONDS: Final = 5.0
_MAX_FINDINGS: Final = 5

Reader = Callable[[Path], object]
Repair = Callable[[bytes], bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class FuzzReport:
    """How many mutants were read, and how many were refused with one of our errors."""

    read: int
    refused: int


def fuzz(
    seeds: Sequence[bytes],
    read: Reader,
    *,
    count: int = MUTANTS,
    first: int = 0,
    suffix: str = "",
    seconds: float = _SECONDS,
    memory: int = _MEMORY,
    repair: Repair | None = None,
) -> FuzzReport:
    """Reads `count` mutants; AssertionError if one does anything but succeed or raise a `MienError`.

    A hang, and too much memory, count if a fresh process confirms them.

    Args:
        seeds: Contents of valid files.
        read: Reads the file at a path, which is alone in its folder. Its result is ignored.
        count: Number of mutants.
        first: Number of the first mutant, to repeat one.
        suffix: Ending of the file's name, such as ".jpg".
        seconds: Limit of time per mutant.
        memory: Limit of resident memory in bytes, above what the process takes at first.
        repair: Applied to each mutant, for example to correct checksums.
    """
    make = _Maker(tuple(seeds), repair)
    found: list[str] = []
    totals = {"read": 0, "refused": 0}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"mutant{suffix}"
        worker = _Worker(file, make, read, memory)
        try:
            for number in range(first, first + count):
                outcome = worker.run(number, seconds)
                if outcome in ("hang", "memory"):
                    worker.stop()
                    worker = _Worker(file, make, read, memory)
                    outcome = worker.run(number, seconds)
                if outcome in totals:
                    totals[outcome] += 1
                    continue
                found.append(f"mutant {number}: {outcome}")
                worker.stop()
                if len(found) == _MAX_FINDINGS:
                    break
                worker = _Worker(file, make, read, memory)
        finally:
            worker.stop()
    assert not found, "\n".join(found)
    return FuzzReport(**totals)


def mutant(seeds: Sequence[bytes], number: int) -> bytes:
    """One seed after one to four mutations; every mutant has another number."""
    chance = random.Random(number)
    data = seeds[number % len(seeds)]
    for _ in range(chance.choice((1, 1, 2, 3, 4))):
        data = chance.choice(_MUTATIONS)(data, chance, seeds)
    return data


@dataclass(frozen=True, slots=True)
class _Maker:
    seeds: tuple[bytes, ...]
    repair: Repair | None

    def __call__(self, number: int) -> bytes:
        data = mutant(self.seeds, number)
        return data if self.repair is None else self.repair(data)


# --- Mutations ---------------------------------------------------------------------------------------

_Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def _range(data: bytes, chance: random.Random) -> tuple[int, int]:
    """A part of the data; mostly a short one, often near the start, where headers are."""
    length = min(len(data), chance.choice((1, 2, 4, 8, 64, 1024)))
    end = len(data) - length
    start = chance.randint(0, min(end, 256) if chance.random() < 0.4 else end)
    return start, start + length


def _flip(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    changed = bytearray(data)
    for _bit in range(chance.choice((1, 1, 2, 8)) if data else 0):
        changed[_range(data, chance)[0]] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _extremes(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    """Overwrites a part with 0, the largest values, or noise: lengths, counts and sizes become absurd."""
    start, end = _range(data, chance)
    length = end - start
    new = chance.choice((bytes(length), b"\xff" * length, b"\x7f" + b"\xff" * (length - 1), None))
    return data[:start] + (chance.randbytes(length) if new is None else new[:length]) + data[end:]


def _cut(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    return data[: chance.randint(0, len(data))]


def _delete(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    start, end = _range(data, chance)
    return data[:start] + data[end:]


def _insert(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    start, end = _range(data, chance)
    return data[:start] + chance.randbytes(end - start) + data[start:]


def _duplicate(data: bytes, chance: random.Random, _: Sequence[bytes]) -> bytes:
    start, end = _range(data, chance)
    return data[:end] + data[start:end] * chance.choice((1, 1, 3, 100)) + data[end:]


def _splice(data: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """The start of one seed and the rest of another one."""
    other = chance.choice(seeds)
    return data[: chance.randint(0, len(data))] + other[chance.randint(0, len(other)) :]


_MUTATIONS: Final[tuple[_Mutation, ...]] = (
    _flip,
    _flip,
    _extremes,
    _extremes,
    _cut,
    _delete,
    _insert,
    _duplicate,
    _splice,
)


# --- The process that reads --------------------------------------------------------------------------


class _Worker:
    """A process that reads mutants by number."""

    def __init__(self, file: Path, make: Callable[[int], bytes], read: Reader, memory: int) -> None:
        context: Any = multiprocessing.get_context("fork")  # so that any function can be a reader
        self._pipe, far_end = context.Pipe()
        self._process = context.Process(target=_serve, args=(far_end, file, make, read, memory), daemon=True)
        self._process.start()
        far_end.close()

    def run(self, number: int, seconds: float) -> str:
        """ "read", "refused", "hang", "memory", or what went wrong."""
        try:
            self._pipe.send(number)
            if not self._pipe.poll(seconds):
                return "hang"
            return str(self._pipe.recv())
        except (EOFError, OSError):
            self._process.join()
            return f"crash with code {self._process.exitcode}"

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self._pipe.close()


def _serve(pipe: Connection, file: Path, make: Callable[[int], bytes], read: Reader, memory: int) -> None:
    # The kernel's own limit only protects the machine: a reader may turn MemoryError into one of our errors.
    size = resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (size + 4 * memory,) * 2)
    Path("/proc/self/clear_refs").write_text("5")  # a child starts with its parent's peak
    allowed = _peak() + memory
    for number in _numbers(pipe):
        shutil.rmtree(file.parent)
        file.parent.mkdir()
        file.write_bytes(make(number))
        outcome = _outcome(read, file)
        pipe.send("memory" if _peak() > allowed else outcome)


def _numbers(pipe: Connection) -> Iterator[int]:
    while True:
        try:
            yield pipe.recv()
        except EOFError:
            return


def _outcome(read: Reader, file: Path) -> str:
    try:
        read(file)
    except MienError:
        return "refused"
    except Exception:  # noqa: BLE001  anything else is a finding
        return traceback.format_exc()
    return "read"


def _peak() -> int:
    """The most resident memory of this process so far, in bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
