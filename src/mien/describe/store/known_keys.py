"""The keys of a store in memory, 16 bytes each, so that many are found without the disk."""

from __future__ import annotations

import binascii
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import compress
from typing import Final, TypeVar

import numpy as np
from jaxtyping import UInt64

__all__ = ["KnownKeys"]

_LENGTH: Final = 64  # hex digits of a key
_Key = TypeVar("_Key", str, bytes)


class KnownKeys:
    """Keys as `description_key` makes them: digests in hexadecimal. Other keys are counted, and not found.

    128 bits of each are held, by which no two digests are equal.

    Args:
        groups: Lists of keys, in ascending order; each is read once.

    Attributes:
        num_keys: How many there are.
    """

    def __init__(self, groups: Iterable[Sequence[bytes]]) -> None:
        self.num_keys = 0
        first, rest = bytearray(), bytearray()
        for group in groups:
            self.num_keys += len(group)
            packed = _pack(_digests(group, b"")[1])
            first += packed[0].tobytes()
            rest += packed[1].tobytes()
        self._first, self._rest = np.frombuffer(first, np.uint64), np.frombuffer(rest, np.uint64)

    def find(self, keys: Iterable[str]) -> set[str]:
        """The subset of the keys that is held."""
        digests, data = _digests(list(keys), "")
        if not digests or not len(self._first):
            return set()
        first, rest = _pack(data)
        # In ascending order, one key is found near the last one, in memory that is still at hand.
        order = first.argsort()
        place = np.empty_like(order)
        place[order] = np.searchsorted(self._first, first[order])
        place = np.minimum(place, len(self._first) - 1)
        # Of keys with the same first half, one is looked at; the others are not found.
        is_held = (self._first[place] == first) & (self._rest[place] == rest)
        return set(digests) if is_held.all() else set(compress(digests, is_held.tolist()))


def _digests(keys: Sequence[_Key], empty: _Key) -> tuple[Sequence[_Key], bytes]:
    """Those of the keys that are digests, and their bytes, 32 of each."""
    joined = empty.join(keys)
    # Mostly all are, which is faster to see for all at once.
    if set(map(len, keys)) == {_LENGTH} and joined == joined.lower():
        with suppress(ValueError):
            return keys, binascii.unhexlify(joined)
    keys = [key for key in keys if len(key) == _LENGTH and _is_hexadecimal(key)]
    return keys, binascii.unhexlify(empty.join(keys))


def _is_hexadecimal(key: str | bytes) -> bool:
    return not (key.strip("0123456789abcdef") if isinstance(key, str) else key.strip(b"0123456789abcdef"))


def _pack(digests: bytes) -> tuple[UInt64[np.ndarray, " key"], UInt64[np.ndarray, " key"]]:
    """The first 64 bits of each key, which keep the order, and 64 bits of the others."""
    words = np.frombuffer(digests, ">u8").astype(np.uint64).reshape(-1, 4)
    return words[:, 0], words[:, 1] ^ words[:, 2] ^ words[:, 3]
