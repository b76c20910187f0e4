"""How much of the labels can be read from the words alone, by a classifier that only counts words.

Goes in: texts and their gold labels. Comes out: `Probe`: its score on texts it was not trained on, with
chance, and for each label the word that tells most.
Knows nothing about: pictures, how texts came about, what the words mean.

Multinomial naive Bayes with add-one smoothing, in five folds that are drawn once with a fixed seed:
accuracy where exactly one label holds, else mAP. Real descriptions are weak alone. A probe that is nearly
always right has found the answer in the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from jaxtyping import Bool, Float

from mien.evaluate.bootstrap import interval
from mien.evaluate.metrics.metric_inputs import MetricInput
from mien.evaluate.metrics.table import primary_metric
from mien.labels import LabelSet

__all__ = ["FOLDS", "LEAST", "Probe", "Telling", "probe"]

FOLDS: Final = 5
LEAST: Final = 10 * FOLDS  # texts; with fewer the score is noise
_RESAMPLES: Final = 200
_WORD: Final = r"[^\W_]+"
_LEAST_TEXTS: Final = 10  # with a label and without: in fewer, some word tells them apart by luck

_Truth = Bool[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """The word that most tells a label: the share of texts with and without the label that have it.

    There is none for a label that too few texts have, or lack.
    """

    label: str
    word: str
    with_label: float
    without: float

    @property
    def gap(self) -> float:
        """1 where the word comes with the label and never else, 0 where it tells nothing."""
        return self.with_label - self.without


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """The score of the probe in `metric` on `n` texts, its 95 % interval, what is reached without reading."""

    metric: str
    n: int
    value: float
    low: float
    high: float
    chance: float
    telling: tuple[Telling, ...]

    @property
    def told(self) -> float:
        """How far the labels have words of their own: the gap of the label that is told least."""
        return min((one.gap for one in self.telling), default=0.0)


def probe(label_set: LabelSet, texts: Sequence[str], truth: _Truth, *, seed: int = 0) -> Probe | None:
    """The probe's score; None for fewer than `LEAST` texts, without words, or where nothing differs."""
    told = ~truth.all(axis=0) & truth.any(axis=0)
    counts, names = _count_words(texts)
    if len(texts) < LEAST or not told.any() or counts is None:
        return None
    scores = _held_out(counts, truth, np.random.default_rng(seed).permutation(len(texts)) % FOLDS, label_set)
    metric = primary_metric(label_set)
    targets = truth.astype(np.float32)
    ids = [str(row) for row in range(len(texts))]
    item = MetricInput(metric=metric, targets=targets, scores=[scores])
    found = interval(item, groups=ids, resamples=_RESAMPLES, seed=seed)
    return Probe(
        metric=metric.name,
        n=len(texts),
        value=found.value,
        low=found.low,
        high=found.high,
        chance=metric.chance(targets),
        telling=_telling(label_set, counts, names, truth),
    )


def _count_words(texts: Sequence[str]) -> tuple[Any, list[str]]:
    """A sparse array of [text word] counts, and the words; None where there is no word at all."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=_WORD, dtype=np.float64)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # "empty vocabulary"
        return None, []
    return counts.tocsr(), list(vectorizer.get_feature_names_out())


def _held_out(
    counts: Any, truth: _Truth, folds: np.ndarray, label_set: LabelSet
) -> Float[np.ndarray, "sample label"]:
    """Each text's scores by the model of the other folds."""
    scores = np.zeros(truth.shape)
    for fold in range(FOLDS):
        here = folds == fold
        weights, bias = _fit(counts[~here], truth[~here].astype(float), exclusive=label_set.exclusive)
        scores[here] = counts[here] @ weights.T + bias
    return scores


def _fit(counts: Any, truth: np.ndarray, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Log odds of each word by label against all else: of all other labels' texts where several may hold."""
    of_label = np.asarray((counts.T @ truth).T) + 1  # label word
    weights = np.log(of_label / of_label.sum(axis=1, keepdims=True))
    num = truth.sum(axis=0)
    if exclusive:
        return weights, np.log((num + 1) / (len(truth) + len(num)))
    other = np.asarray((counts.T @ (1 - truth)).T) + 1
    weights -= np.log(other / other.sum(axis=1, keepdims=True))
    return weights, np.log((num + 1) / (len(truth) - num + 1))


def _telling(label_set: LabelSet, counts: Any, names: Sequence[str], truth: _Truth) -> tuple[Telling, ...]:
    has = (counts > 0).astype(np.float64)
    found = []
    for index, label in enumerate(label_set.labels):
        gold = truth[:, index]
        if not _LEAST_TEXTS <= gold.sum() <= len(gold) - _LEAST_TEXTS:
            continue
        inside, outside = (np.asarray(has[rows].sum(axis=0)).ravel() / rows.sum() for rows in (gold, ~gold))
        best = int(np.argmax(inside - outside))
        found.append(
            Telling(
                label=label,
                word=names[best],
                with_label=float(inside[best]),
                without=float(outside[best]),
            )
        )
    return tuple(found)
