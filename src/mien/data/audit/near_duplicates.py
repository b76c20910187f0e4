"""Which pictures are the same, or nearly the same, among many.

In: fingerprints, or paths. Out: a group number for each: those of one group are the same picture, re-encoded,
resized, a little brighter, or a neighbouring frame. Knows nothing about splits or what follows from a group.

Two pictures are alike if their hashes differ in at most `MAX_BITS` of 64 bits and their thumbnails, freed of
brightness and contrast, correlate by at least `MIN_CORRELATION`. Being alike is passed on: a group is all
that hangs together.

Hashes are not compared all with all. Two that differ in at most 11 bits differ in at most 1 bit of at least
one of 6 bands; so only those are compared whose bits in a band are equal but for one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from jaxtyping import Float, Int, UInt8, UInt64

from mien.data.audit.fingerprint_cache import cached_fingerprints
from mien.data.audit.fingerprints import Fingerprint

__all__ = [
    "MAX_BITS",
    "MIN_CORRELATION",
    "group_exact_duplicates",
    "group_near_duplicate_files",
    "group_near_duplicates",
]

# Chosen on Playhouse, the hardest case (12 places and few figures, so that different scenes have most of
# their pixels in common), and on photographs. Copies as JPEG of quality 30 to 95, of half to double size, or
# 15 % darker or lighter, or moved by half a percent stay within 8 bits and above 0.984. Different photographs
# come no nearer than 8 bits and 0.79; of 18 million pairs of different scenes the nearest is at 0.965.
MAX_BITS: Final = 10
MIN_CORRELATION: Final = 0.975

_BANDS: Final = (11, 11, 11, 11, 10, 10)  # bits; 64 in all
_PAIRS_AT_ONCE: Final = 1 << 20


def group_near_duplicate_files(paths: Sequence[Path], *, cache: Path) -> list[int]:
    """A group number for each picture; one that cannot be shown is alone. See `cached_fingerprints`."""
    return group_near_duplicates(cached_fingerprints(paths, cache=cache))


def group_exact_duplicates(prints: Sequence[Fingerprint | None]) -> list[int]:
    """A group number for each; equal bytes share one. Numbers count from 0 in the order of occurrence."""
    return _numbered(index if print_ is None else print_.digest for index, print_ in enumerate(prints))


def group_near_duplicates(prints: Sequence[Fingerprint | None]) -> list[int]:
    """A group number for each; equal bytes and pictures that are alike share one, also by way of others."""
    # What is the same to the last grey level is compared once: a set may hold thousands of one still.
    labels = np.array(_numbered(_seen(index, print_) for index, print_ in enumerate(prints)), dtype=np.int64)
    featured = {
        label: (print_.hash, print_.thumb)
        for label, print_ in zip(labels.tolist(), prints, strict=True)
        if print_ is not None and print_.hash is not None and print_.thumb is not None
    }
    if not featured:
        return [int(label) for label in labels]
    hashes = np.array([bits for bits, _ in featured.values()], dtype=np.uint64)
    thumbs = np.frombuffer(b"".join(thumb for _, thumb in featured.values()), np.uint8)
    component = _merge(hashes, thumbs.reshape(len(featured), -1))
    joined = dict(zip(featured, component.tolist(), strict=True))
    return _numbered(("alike", joined[label]) if label in joined else label for label in labels.tolist())


def _numbered(keys: Iterable[object]) -> list[int]:
    """Equal keys, equal numbers; they count from 0 in the order of occurrence."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _seen(index: int, print_: Fingerprint | None) -> object:
    if print_ is None:
        return index
    return print_.digest if print_.hash is None else (print_.hash, print_.thumb)


def _merge(hashes: UInt64[np.ndarray, " n"], thumbs: UInt8[np.ndarray, "n pixel"]) -> Int[np.ndarray, " n"]:
    """A component's number for each; pairs that hang together already are not looked at again."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    component = np.arange(len(hashes))
    for a, b in _candidates(hashes):
        apart = component[a] != component[b]
        left, right = a[apart], b[apart]
        alike = _correlation(thumbs, left, right) >= MIN_CORRELATION
        edges = (component[left[alike]], component[right[alike]])
        if not len(edges[0]):
            continue
        graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(hashes), len(hashes)))
        component = connected_components(graph, directed=False)[1][component]
    return component


def _candidates(
    hashes: UInt64[np.ndarray, " n"],
) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Pairs whose hashes differ in at most `MAX_BITS`; the same pair may come once a band."""
    offset = 0
    for width in _BANDS:
        keys = (hashes >> np.uint64(offset)).astype(np.int64) & ((1 << width) - 1)
        offset += width
        order = np.argsort(keys, kind="stable")
        for flipped in (0, *(1 << bit for bit in range(width))):
            for a, b in _partners(keys[order], flipped):
                left, right = order[a], order[b]
                near = np.bitwise_count(hashes[left] ^ hashes[right]) <= MAX_BITS
                yield left[near], right[near]


def _partners(
    keys: Int[np.ndarray, " n"], flipped: int
) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Positions in the sorted keys of all pairs whose keys differ in exactly these bits, each pair once."""
    wanted = keys ^ flipped
    end = np.searchsorted(keys, wanted, side="right")
    # Equal keys: with those that follow. Else from the lower key only.
    start = np.arange(1, len(keys) + 1) if not flipped else np.searchsorted(keys, wanted, side="left")
    count = np.where(wanted >= keys, end - start, 0)
    total = np.concatenate(([0], np.cumsum(count)))
    row = 0
    while row < len(keys):
        stop = max(row + 1, int(np.searchsorted(total, total[row] + _PAIRS_AT_ONCE, side="right")) - 1)
        part = count[row:stop]
        a = np.repeat(np.arange(row, stop), part)
        b = np.arange(len(a)) + np.repeat(start[row:stop] - (total[row:stop] - total[row]), part)
        if len(a):
            yield a, b
        row = stop


def _correlation(
    thumbs: UInt8[np.ndarray, "n pixel"], a: Int[np.ndarray, " pair"], b: Int[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    """Pearson's, of the grey levels of each pair."""
    found = np.empty(len(a), dtype=np.float32)
    for begin in range(0, len(a), _PAIRS_AT_ONCE >> 6):
        part = slice(begin, begin + (_PAIRS_AT_ONCE >> 6))
        left, right = (_centred(thumbs[side[part]]) for side in (a, b))
        found[part] = (left * right).sum(axis=1)
    return found


def _centred(thumbs: UInt8[np.ndarray, "n pixel"]) -> Float[np.ndarray, "n pixel"]:
    levels = thumbs.astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    levels /= np.linalg.norm(levels, axis=1, keepdims=True)
    return levels
