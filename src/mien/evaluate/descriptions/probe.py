"""How much of the labels a classifier that only counts words can read from the texts.

Multinomial naive Bayes with add-one smoothing, in five folds drawn with a fixed seed: accuracy where exactly
one label holds, otherwise mAP. Real descriptions give a weak score. A probe that is nearly always right has
found the label in the text.
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

__all__ = ["FOLDS", "MIN_TEXTS", "Probe", "TellingWord", "run_probe"]

FOLDS: Final = 5
MIN_TEXTS: Final = 10 * FOLDS  # with fewer texts the score is noise
_RESAMPLES: Final = 200
_WORD: Final = r"[^\W_]+"
_MIN_TEXTS_PER_SIDE: Final = 10  # with a label and without; in fewer, some word separates them by chance

_Truth = Bool[np.ndarray, "sample label"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TellingWord:
    """The word that best indicates a label: the share of texts with and without the label that contain it.

    Labels that too few texts have, or lack, have none.

    Attributes:
        label: The label.
        word: The word.
        with_label: The share of texts with the label that contain it.
        without: The share of texts without the label that contain it.
    """

    label: str
    word: str
    with_label: float
    without: float

    @property
    def gap(self) -> float:
        """1 if the word occurs in all texts with the label and in no others, 0 if it indicates nothing."""
        return self.with_label - self.without


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What a classifier that only counts words reaches.

    Attributes:
        metric: The metric of the score.
        n: How many texts were scored.
        value: The score.
        low: Lower bound of its 95 % interval.
        high: Upper bound of its 95 % interval.
        chance: What guessing reaches.
        telling_words: The word that best indicates a label, of the labels that have one.
    """

    metric: str
    n: int
    value: float
    low: float
    high: float
    chance: float
    telling_words: tuple[TellingWord, ...]

    @property
    def min_gap(self) -> float:
        """How well every label has a word of its own: the smallest gap of all labels."""
        return min((word.gap for word in self.telling_words), default=0.0)


def run_probe(label_set: LabelSet, texts: Sequence[str], truth: _Truth, *, seed: int = 0) -> Probe | None:
    """Trains and scores the probe.

    Args:
        label_set: The labels.
        texts: The texts.
        truth: Which labels hold for which text, [text, label].
        seed: Seed of the folds and of the interval.

    Returns:
        The score; None for fewer than `MIN_TEXTS` texts, for texts without words, or if no label differs.
    """
    varies = ~truth.all(axis=0) & truth.any(axis=0)
    counts, words = _count_words(texts)
    if len(texts) < MIN_TEXTS or not varies.any() or counts is None:
        return None
    folds = np.random.default_rng(seed).permutation(len(texts)) % FOLDS
    scores = _cross_validate(counts, truth, folds, label_set)
    metric = primary_metric(label_set)
    targets = truth.astype(np.float32)
    ids = [str(row) for row in range(len(texts))]
    item = MetricInput(metric=metric, targets=targets, scores=[scores])
    found = interval(item, groups=ids, resamples=_RESAMPLES, seed=seed)
    if np.isnan(found.low):
        return None
    return Probe(
        metric=metric.name,
        n=len(texts),
        value=found.value,
        low=found.low,
        high=found.high,
        chance=metric.chance(targets),
        telling_words=_telling_words(label_set, counts, words, truth),
    )


def _count_words(texts: Sequence[str]) -> tuple[Any, list[str]]:
    """A sparse array of [text word] counts, and the words; None if there are no words."""
    from sklearn.feature_extraction.text import CountVectorizer

    vectorizer = CountVectorizer(token_pattern=_WORD, dtype=np.float64)
    try:
        counts = vectorizer.fit_transform(texts)
    except ValueError:  # "empty vocabulary"
        return None, []
    return counts.tocsr(), list(vectorizer.get_feature_names_out())


def _cross_validate(
    counts: Any, truth: _Truth, folds: np.ndarray, label_set: LabelSet
) -> Float[np.ndarray, "sample label"]:
    """Each text's scores by the model trained on the other folds."""
    scores = np.zeros(truth.shape)
    for fold in range(FOLDS):
        held_out = folds == fold
        weights, bias = _fit(counts[~held_out], truth[~held_out].astype(float), exclusive=label_set.exclusive)
        scores[held_out] = counts[held_out] @ weights.T + bias
    return scores


def _fit(counts: Any, truth: np.ndarray, *, exclusive: bool) -> tuple[np.ndarray, np.ndarray]:
    """Log probabilities of words by label; where several may hold, log odds against the texts without it."""
    of_label = np.asarray((counts.T @ truth).T) + 1  # label word
    weights = np.log(of_label / of_label.sum(axis=1, keepdims=True))
    num = truth.sum(axis=0)
    if exclusive:
        return weights, np.log((num + 1) / (len(truth) + len(num)))
    other = np.asarray((counts.T @ (1 - truth)).T) + 1
    weights -= np.log(other / other.sum(axis=1, keepdims=True))
    return weights, np.log((num + 1) / (len(truth) - num + 1))


def _telling_words(
    label_set: LabelSet, counts: Any, words: Sequence[str], truth: _Truth
) -> tuple[TellingWord, ...]:
    contains = (counts > 0).astype(np.float64)
    found = []
    for index, label in enumerate(label_set.labels):
        gold = truth[:, index]
        if not _MIN_TEXTS_PER_SIDE <= gold.sum() <= len(gold) - _MIN_TEXTS_PER_SIDE:
            continue
        inside, outside = (
            np.asarray(contains[rows].sum(axis=0)).ravel() / rows.sum() for rows in (gold, ~gold)
        )
        best = int(np.argmax(inside - outside))
        found.append(
            TellingWord(
                label=label,
                word=words[best],
                with_label=float(inside[best]),
                without=float(outside[best]),
            )
        )
    return tuple(found)
