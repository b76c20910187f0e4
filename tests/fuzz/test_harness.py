"""The fuzz harness reports crashes, hangs, floods of memory and foreign exceptions, and nothing else."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.fuzz.harness import FuzzReport, fuzz, mutant

from mien.errors import DataError

SEEDS = (b"one valid file" * 20, b"another valid file" * 20)


def raise_key_error(path: Path) -> None:
    raise KeyError(path.name)


BAD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "a foreign exception": ("KeyError", raise_key_error),
    "a crash": ("crash", lambda path: os._exit(7)),
    "a hang": ("hang", lambda path: time.sleep(60)),
    "too much memory": ("memory", lambda path: len(b"x" * (64 << 20))),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_reader_is_found(kind: str) -> None:
    expected, read = BAD[kind]
    with pytest.raises(AssertionError, match=f"(?s)mutant 0: .*{expected}"):
        fuzz(SEEDS, read, count=1, seconds=0.5, memory=32 << 20)


def test_our_errors_and_results_are_fine() -> None:
    def read(path: Path) -> None:
        if len(path.read_bytes()) % 2:
            raise DataError("odd")

    report = fuzz(SEEDS, read, count=50, suffix=".txt")
    assert report.read + report.refused == 50
    assert report.read > 0
    assert report.refused > 0


def test_mutants_are_the_same_every_time_and_differ() -> None:
    assert [mutant(SEEDS, number) for number in range(100)] == [
        mutant(SEEDS, number) for number in range(100)
    ]
    assert len({mutant(SEEDS, number) for number in range(100)}) > 80


def test_mutants_can_be_repaired() -> None:
    def read(path: Path) -> None:
        assert path.read_bytes().startswith(b"magic")

    assert fuzz(SEEDS, read, count=20, repair=lambda data: b"magic" + data) == FuzzReport(read=20, refused=0)
