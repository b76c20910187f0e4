"""Stores in which bits have changed, as bad memory and old disks change them."""

import random
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from mien.describe.store.store import Store
from mien.types import Description, Failure

__all__ = ["descriptions", "failures", "flip", "kill_while_writing", "write_store"]

_WORDS = ("the", "person", "appears", "calm", "sad", "happy", "young", "near", "a", "window", "in", "red")


def descriptions(count: int) -> list[Description]:
    """Descriptions of 5 to 900 words, in the order of their keys; a long one takes several pages."""
    rng = random.Random(count)
    return sorted(
        (
            Description(
                key=f"{rng.getrandbits(256):064x}",
                subject_id=f"person-{number}",
                text=" ".join(rng.choices(_WORDS, k=rng.choice([5, 60, 60, 900]))),
                prompt_id="paper",
                engine="fake@1",
                finish=rng.choice(["stop", "length"]),
            )
            for number in range(count)
        ),
        key=lambda item: item.key,
    )


def failures(count: int) -> list[Failure]:
    """Failures under other keys."""
    return [
        Failure(
            key=f"{number:064x}", subject_id=f"failed-{number}", error="refused", retryable=False, attempts=2
        )
        for number in range(count)
    ]


def write_store(path: Path, rows: Iterable[Description], failed: Iterable[Failure] = ()) -> None:
    """A store that was closed."""
    with Store(path) as store:
        store.put(rows, failed)


def kill_while_writing(
    path: Path, groups: Iterable[Sequence[Description]], closed: Iterable[Description] = ()
) -> None:
    """A store as a killed writer leaves it: but for the closed rows, all are only in the journal."""
    source = path.with_name("open")
    source.mkdir(parents=True)
    write_store(source / path.name, closed)
    with Store(source / path.name) as store:
        for group in groups:
            store.put(group)
        for file in source.iterdir():
            shutil.copy(file, path.parent)
    shutil.rmtree(source)


def flip(path: Path, rng: random.Random, num_bits: int) -> None:
    """Changes single bits of a file, anywhere."""
    content = bytearray(path.read_bytes())
    for place in rng.sample(range(8 * len(content)), num_bits):
        content[place // 8] ^= 1 << place % 8
    path.write_bytes(content)
