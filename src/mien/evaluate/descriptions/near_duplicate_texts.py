"""Counts descriptions that say the same as another one, word for word or nearly.

Two texts are nearly the same if they share four fifths of their runs of five words (Jaccard index). Not every
pair is compared: MinHash (Broder 1997) with bands finds the candidates, so that the work grows with the
number of texts and not with its square. It misses about one pair in fifty of those that are only just similar
enough.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.evaluate.descriptions.text_statistics import split_words

__all__ = ["NearDuplicates", "find_near_duplicates"]

_RUN: Final = 5  # words
_SIMILAR: Final = 0.8  # Jaccard index
_BANDS: Final = 8
_ROWS: Final = 4
_MAX_LEADERS: Final = 8  # texts of a bucket that others are compared with, so that large buckets stay cheap
_MAX_SHOWN: Final = 200  # characters

_Runs = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """How many of `n` texts repeat another one.

    Attributes:
        n: How many texts there are.
        distinct: How many different texts there are.
        identical: The share of texts with an exact duplicate.
        near: The share of texts with a near-duplicate, exact ones included.
        most_common: The beginning of the most frequent text.
        most_common_count: How often it occurs.
    """

    n: int
    distinct: int
    identical: float
    near: float
    most_common: str
    most_common_count: int


def find_near_duplicates(texts: Sequence[str]) -> NearDuplicates | None:
    """Counts near-duplicates; None for no texts. Case, punctuation and Markdown are ignored."""
    if not texts:
        return None
    normalized = [" ".join(split_words(text)) for text in texts]
    counts = Counter(normalized)
    most_common, most_common_count = counts.most_common(1)[0]
    groups = _groups(list(counts))
    sizes: Counter[int] = Counter()
    for group, count in zip(groups, counts.values(), strict=True):
        sizes[group] += count
    return NearDuplicates(
        n=len(texts),
        distinct=len(counts),
        identical=sum(count for count in counts.values() if count > 1) / len(texts),
        near=sum(size for size in sizes.values() if size > 1) / len(texts),
        # A text may contain lone surrogates, which cannot be encoded.
        most_common=texts[normalized.index(most_common)][:_MAX_SHOWN]
        .encode(errors="backslashreplace")
        .decode(),
        most_common_count=most_common_count,
    )


def _groups(texts: Sequence[str]) -> list[int]:
    """A group number for each text, the same for near-duplicates."""
    parents = list(range(len(texts)))
    runs = [_hash_runs(text.split()) for text in texts]
    for index, other in _similar_pairs(runs):
        parents[_root(parents, index)] = _root(parents, other)
    return [_root(parents, index) for index in range(len(texts))]


def _similar_pairs(runs: Sequence[_Runs]) -> Iterable[tuple[int, int]]:
    """Enough pairs of near-duplicates to connect each group."""
    leaders: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    rng = np.random.default_rng(0)
    factors = rng.integers(2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    offsets = rng.integers(2**63, size=_BANDS * _ROWS, dtype=np.uint64)
    for index, own in enumerate(runs):
        lowest = ((own[:, None] * factors + offsets) >> np.uint64(32)).min(axis=0).reshape(_BANDS, _ROWS)
        compared: set[int] = set()
        for band, key in enumerate(lowest):
            bucket = leaders[band, key.tobytes()]
            found = [
                other for other in bucket if other not in compared and _jaccard(own, runs[other]) >= _SIMILAR
            ]
            compared.update(bucket)
            yield from ((index, other) for other in found)
            if not found and len(bucket) < _MAX_LEADERS:
                bucket.append(index)


def _hash_runs(words: Sequence[str]) -> _Runs:
    """The hashes of all runs of five words; a shorter text is one run."""
    starts = range(max(1, len(words) - _RUN + 1))
    hashes = {zlib.crc32(" ".join(words[start : start + _RUN]).encode()) for start in starts}
    return np.sort(np.fromiter(hashes, dtype=np.uint64))


def _jaccard(one: _Runs, other: _Runs) -> float:
    # Sets of such different sizes cannot be similar enough.
    if min(len(one), len(other)) < _SIMILAR * max(len(one), len(other)):
        return 0.0
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
