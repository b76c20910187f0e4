"""Keys in memory: exactly those of a store are found, digests or not."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from mien.describe.store.known_keys import KnownKeys
from mien.describe.store.store import Store
from mien.prefetch import batched
from mien.types import Description


def digest(number: int) -> str:
    return f"{random.Random(number).getrandbits(256):064x}"


def known(keys: list[str]) -> KnownKeys:
    return KnownKeys(batched((key.encode() for key in sorted(keys)), 7))


@pytest.mark.parametrize("count", [0, 1, 2, 300])
def test_exactly_the_keys_are_found(count: int) -> None:
    keys, others = [digest(n) for n in range(count)], [digest(n) for n in range(1_000, 1_100)]
    others += ["0" * 64, "f" * 64]
    held = known(keys)
    assert held.num_keys == count
    assert held.find([*keys, *others]) == set(keys)
    assert held.find([]) == set()


def test_similar_keys_are_not_confused() -> None:
    key = digest(0)
    similar = [
        f"{key[:place]}{'1' if digit == '0' else '0'}{key[place + 1 :]}" for place, digit in enumerate(key)
    ]
    odd = [key.upper(), f"{key[:63]} ", key[:63], key + "0", "", "subject", "ü" * 32]
    held = known([key, *odd])
    assert held.num_keys == 1 + len(odd)
    assert held.find([key, *similar, *odd]) == {key}


def test_a_store_finds_all_keys_that_it_holds(tmp_path: Path) -> None:
    keys = [digest(0)[:63] + last for last in "0123"] + [digest(9), "short"]

    def row(key: str) -> Description:
        return Description(key=key, subject_id="a", text="t", prompt_id="p", engine="e", finish="stop")

    with Store(tmp_path / "store.sqlite") as store:
        store.put(map(row, keys))
        assert store.described_keys([*keys, "other"]) == set(keys)
    with (
        Store(tmp_path / "store.sqlite") as store,
        Store(tmp_path / "store.sqlite", writable=False) as reader,
    ):
        for opened in (store, reader):
            assert opened.described_keys([*keys, digest(5)]) == set(keys)
        store.put([row(digest(5))])
        for opened in (store, reader):
            assert opened.described_keys([*keys, digest(5)]) == {*keys, digest(5)}
