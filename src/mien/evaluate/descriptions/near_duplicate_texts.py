"""How many descriptions say the same as another one, word for word or nearly.

Goes in: texts. Comes out: `Sameness`.
Knows nothing about: labels, pictures, where texts come from.

Two texts are nearly the same if they share four fifths of their runs of five words (Jaccard index). Not
every pair is compared: MinHash (Broder 1997) with bands finds the pairs that are worth it, so that the
work grows with the number of texts and not with its square; it misses about one pair in fifty of those
that only just count.
"""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mien.evaluate.descriptions.text_statistics import words

__all__ = ["Sameness", "compare_texts"]

_RUN: Final = 5
_ALIKE: Final = 0.8
_BANDS: Final = 8
_ROWS: Final = 4
_LEADERS: Final = 8  # compared with in each bucket, so that a bucket of thousands stays cheap
_SHOWN: Final = 200

_Runs = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sameness:
    """Shares of `n` texts that have a twin: the same words, or nearly (the former included).

    `distinct` counts different texts; `commonest` is the one that most say, and `times` how many do.
    """

    n: int
    distinct: int
    identical: float
    near: float
    commonest: str
    times: int


def compare_texts(texts: Sequence[str]) -> Sameness | None:
    """How many texts have a twin; None if there are no texts. Case, punctuation and Markdown do not count."""
    if not texts:
        return None
    spoken = [" ".join(words(text)) for text in texts]
    counts = Counter(spoken)
    most, times = counts.most_common(1)[0]
    groups = _groups(list(counts))
    sizes: Counter[int] = Counter()
    for group, count in zip(groups, counts.values(), strict=True):
        sizes[group] += count
    return Sameness(
        n=len(texts),
        distinct=len(counts),
        identical=sum(count for count in counts.values() if count > 1) / len(texts),
        near=sum(size for size in sizes.values() if size > 1) / len(texts),
        # Halves of characters, of which a text may hold any, have no place in a file.
        commonest=texts[spoken.index(most)][:_SHOWN].encode(errors="backslashreplace").decode(),
        times=times,
    )


def _groups(spoken: Sequence[str]) -> list[int]:
    """A number for each text, the same for those that are nearly the same."""
    parents = list(range(len(spoken)))
    runs = [_runs(text.split()) for text in spoken]
    for index, other in _alike(runs):
        parents[_root(parents, index)] = _root(parents, other)
    return [_root(parents, index) for index in range(len(spoken))]


def _alike(runs: Sequence[_Runs]) -> Iterable[tuple[int, int]]:
    """Pairs that are nearly the same: enough of them to join each group."""
    leaders: dict[tuple[int, bytes], list[int]] = defaultdict(list)
    rng = np.random.default_rng(0)
    factors = rng.integers(2**63, size=_BANDS * _ROWS, dtype=np.uint64) | np.uint64(1)
    offsets = rng.integers(2**63, size=_BANDS * _ROWS, dtype=np.uint64)
    for index, own in enumerate(runs):
        lowest = ((own[:, None] * factors + offsets) >> np.uint64(32)).min(axis=0).reshape(_BANDS, _ROWS)
        seen: set[int] = set()
        for band, key in enumerate(lowest):
            bucket = leaders[band, key.tobytes()]
            found = [other for other in bucket if other not in seen and _jaccard(own, runs[other]) >= _ALIKE]
            seen.update(bucket)
            yield from ((index, other) for other in found)
            if not found and len(bucket) < _LEADERS:
                bucket.append(index)


def _runs(spoken: Sequence[str]) -> _Runs:
    """The hashes of all runs of five words; a shorter text is one run."""
    starts = range(max(1, len(spoken) - _RUN + 1))
    hashes = {zlib.crc32(" ".join(spoken[start : start + _RUN]).encode()) for start in starts}
    return np.sort(np.fromiter(hashes, dtype=np.uint64))


def _jaccard(one: _Runs, other: _Runs) -> float:
    # The shares of two sets of so different sizes cannot be close.
    if min(len(one), len(other)) < _ALIKE * max(len(one), len(other)):
        return 0.0
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common / (len(one) + len(other) - common)


def _root(parents: list[int], index: int) -> int:
    while parents[index] != index:
        parents[index] = parents[parents[index]]
        index = parents[index]
    return index
