"""Groups images that are the same or nearly the same: re-encoded, resized, brightened, or adjacent frames.

Two images are near-duplicates if their hashes differ in at most `MAX_BITS` of 64 bits and their thumbnails,
normalized for brightness and contrast, correlate by at least `MIN_CORRELATION`. The relation is transitive:
a group is a connected component.

Not all pairs of hashes are compared. Two hashes that differ in at most 11 bits differ in at most 1 bit in at
least one of 6 bands, so only pairs that match in a band up to one bit are compared.
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

# Chosen on Playhouse, the hardest case (12 places and few figures, so that different scenes share most of
# their pixels), and on photographs. Copies as JPEG of quality 30 to 95, of half to double size, 15 % darker
# or brighter, or shifted by half a percent stay within 8 bits and above 0.984. Different photographs come no
# nearer than 8 bits and 0.79; of 18 million pairs of different scenes, the nearest is at 0.965.
MAX_BITS: Final = 10
MIN_CORRELATION: Final = 0.975

_BANDS: Final = (11, 11, 11, 11, 10, 10)  # bits; 64 in all
_PAIRS_AT_ONCE: Final = 1 << 20


def group_near_duplicate_files(paths: Sequence[Path], *, cache: Path) -> list[int]:
    """A group number for each image file, from cached fingerprints; a broken file is in a group by itself."""
    return group_near_duplicates(cached_fingerprints(paths, cache=cache))


def group_exact_duplicates(fingerprints: Sequence[Fingerprint | None]) -> list[int]:
    """A group number for each image, shared by equal bytes. Numbers count from 0 in order of occurrence."""
    return _number(index if print_ is None else print_.digest for index, print_ in enumerate(fingerprints))


def group_near_duplicates(fingerprints: Sequence[Fingerprint | None]) -> list[int]:
    """A group number for each image, shared by exact and near-duplicates, also indirect ones.

    Numbers count from 0 in order of occurrence. None is in a group by itself.
    """
    # Images with equal thumbnails are compared once: a dataset may contain thousands of frames of one still.
    keys = _number(_identity(index, print_) for index, print_ in enumerate(fingerprints))
    featured = {
        key: (print_.hash, print_.thumbnail)
        for key, print_ in zip(keys, fingerprints, strict=True)
        if print_ is not None and print_.hash is not None and print_.thumbnail is not None
    }
    if not featured:
        return keys
    hashes = np.array([bits for bits, _ in featured.values()], dtype=np.uint64)
    thumbnails = np.frombuffer(b"".join(thumbnail for _, thumbnail in featured.values()), np.uint8)
    components = _connected_components(hashes, thumbnails.reshape(len(featured), -1))
    component_of = dict(zip(featured, components.tolist(), strict=True))
    return _number(("component", component_of[key]) if key in component_of else key for key in keys)


def _number(keys: Iterable[object]) -> list[int]:
    """Equal keys get equal numbers, which count from 0 in order of occurrence."""
    numbers: dict[object, int] = {}
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def _identity(index: int, print_: Fingerprint | None) -> object:
    if print_ is None:
        return index
    return print_.digest if print_.hash is None else (print_.hash, print_.thumbnail)


def _connected_components(
    hashes: UInt64[np.ndarray, " n"], thumbnails: UInt8[np.ndarray, "n pixel"]
) -> Int[np.ndarray, " n"]:
    """A component number for each image. Pairs that are already connected are not compared again."""
    component = np.arange(len(hashes))
    for a, b in _candidate_pairs(hashes):
        is_separate = component[a] != component[b]
        left, right = a[is_separate], b[is_separate]
        is_match = _correlation(thumbnails, left, right) >= MIN_CORRELATION
        edges = (component[left[is_match]], component[right[is_match]])
        if not len(edges[0]):
            continue
        from scipy.sparse import coo_array  # late: most datasets have few pairs, and many none
        from scipy.sparse.csgraph import connected_components

        graph = coo_array((np.ones(len(edges[0])), edges), shape=(len(hashes), len(hashes)))
        component = connected_components(graph, directed=False)[1][component]
    return component


def _candidate_pairs(
    hashes: UInt64[np.ndarray, " n"],
) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Pairs whose hashes differ in at most `MAX_BITS`; a pair may occur once per band."""
    offset = 0
    for width in _BANDS:
        keys = (hashes >> np.uint64(offset)).astype(np.int64) & ((1 << width) - 1)
        offset += width
        order = np.argsort(keys, kind="stable")
        for flipped in (0, *(1 << bit for bit in range(width))):
            for a, b in _matching_pairs(keys[order], flipped):
                left, right = order[a], order[b]
                is_near = np.bitwise_count(hashes[left] ^ hashes[right]) <= MAX_BITS
                yield left[is_near], right[is_near]


def _matching_pairs(
    keys: Int[np.ndarray, " n"], flipped: int
) -> Iterator[tuple[Int[np.ndarray, " pair"], Int[np.ndarray, " pair"]]]:
    """Positions in the sorted keys of all pairs whose keys differ in exactly these bits, each pair once."""
    partner = keys ^ flipped
    end = np.searchsorted(keys, partner, side="right")
    # Equal keys pair with those that follow. Other keys pair from the lower key only.
    start = np.arange(1, len(keys) + 1) if not flipped else np.searchsorted(keys, partner, side="left")
    count = np.where(partner >= keys, end - start, 0)
    total = np.concatenate(([0], np.cumsum(count)))
    row = 0
    while row < len(keys):
        stop = max(row + 1, int(np.searchsorted(total, total[row] + _PAIRS_AT_ONCE, side="right")) - 1)
        counts = count[row:stop]
        a = np.repeat(np.arange(row, stop), counts)
        b = np.arange(len(a)) + np.repeat(start[row:stop] - (total[row:stop] - total[row]), counts)
        if len(a):
            yield a, b
        row = stop


def _correlation(
    thumbnails: UInt8[np.ndarray, "n pixel"], a: Int[np.ndarray, " pair"], b: Int[np.ndarray, " pair"]
) -> Float[np.ndarray, " pair"]:
    """Pearson correlation of the gray levels of each pair."""
    correlation = np.empty(len(a), dtype=np.float32)
    for begin in range(0, len(a), _PAIRS_AT_ONCE >> 6):
        chunk = slice(begin, begin + (_PAIRS_AT_ONCE >> 6))
        left, right = (_normalize(thumbnails[side[chunk]]) for side in (a, b))
        correlation[chunk] = (left * right).sum(axis=1)
    return correlation


def _normalize(thumbnails: UInt8[np.ndarray, "n pixel"]) -> Float[np.ndarray, "n pixel"]:
    levels = thumbnails.astype(np.float32)
    levels -= levels.mean(axis=1, keepdims=True)
    levels /= np.linalg.norm(levels, axis=1, keepdims=True)
    return levels
