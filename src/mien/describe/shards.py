"""Parts of a data set for machines that share nothing, each with a store of its own.

Goes in: "2/8". Comes out: which subjects belong to the part, and where its store lies.
Knows nothing about: job schedulers, engines, how stores are put together again (see `merge`).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from mien.errors import UsageError
from mien.types import Subject

__all__ = ["Shard"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """The part `number` (counted from 1) of `count`; together they hold every subject once."""

    number: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.number <= self.count:
            raise UsageError(
                f"there is no shard {self.number} of {self.count}",
                hint=f"give a number from 1 to {max(1, self.count)}, as in 1/{max(1, self.count)}",
            )

    @classmethod
    def parse(cls, text: str) -> Self:
        """The shard that "2/8" names."""
        number, slash, count = text.partition("/")
        if not (slash and number.strip().isdecimal() and count.strip().isdecimal()):
            raise UsageError(
                f"shard {text!r} is not number/count", hint="write it as 1/8, the first of eight"
            )
        return cls(number=int(number), count=int(count))

    def holds(self, subject: Subject) -> bool:
        """Decided by the id alone: a path may differ between machines, and a picture would be read."""
        spelt = subject.id.encode(errors="backslashreplace")
        lot = int.from_bytes(hashlib.sha256(spelt).digest()[:8])
        return lot % self.count == self.number - 1

    def store(self, whole: Path) -> Path:
        """Where the shard's own store lies: beside the one that it is to become a part of."""
        return whole.with_name(f"{whole.name}.shard-{self.number}-of-{self.count}")

    def siblings(self, whole: Path) -> list[Path]:
        """The stores of all shards, in order."""
        return [Shard(number=number, count=self.count).store(whole) for number in range(1, self.count + 1)]
