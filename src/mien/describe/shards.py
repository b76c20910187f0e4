"""Shards of a dataset, for machines that share nothing: each describes one part into a store of its own."""

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
    """Shard `number` (from 1) of `count`; each subject is in exactly one of them.

    Raises:
        UsageError: The number is not between 1 and the count.
    """

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
        """The shard in a text such as "2/8"; UsageError if it has another form."""
        number, slash, count = text.partition("/")
        if not (slash and number.strip().isdecimal() and count.strip().isdecimal()):
            raise UsageError(
                f"shard {text!r} is not number/count", hint="write it as 1/8, the first of eight"
            )
        return cls(number=int(number), count=int(count))

    def contains(self, subject: Subject) -> bool:
        """Whether a subject belongs to this shard; its id alone decides, so all machines agree."""
        encoded_id = subject.id.encode(errors="backslashreplace")
        hash_value = int.from_bytes(hashlib.sha256(encoded_id).digest()[:8])
        return hash_value % self.count == self.number - 1

    def store_path(self, full_store: Path) -> Path:
        """The store of this shard, next to the store into which all shards are merged."""
        return full_store.with_name(f"{full_store.name}.shard-{self.number}-of-{self.count}")

    def all_store_paths(self, full_store: Path) -> list[Path]:
        """The stores of all shards, in order."""
        shards = (Shard(number=number, count=self.count) for number in range(1, self.count + 1))
        return [shard.store_path(full_store) for shard in shards]
