"""Scores by what a description says: how near it is to what a label means, and whether it names the label.

The score of a label is the mean of two values from 0 to 1. Nearness: the highest cosine of any sentence of
the description with the label's definition, by a sentence encoder; below 0 it counts as 0. Naming: 1 if the
description uses a form of the label's own name, one half if it uses a word of nearly the same meaning, 0 if
it uses neither or only after a negation. Where exactly one label holds, the scores are divided by their sum.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Final

import numpy as np
from jaxtyping import Float
from pydantic import JsonValue

from mien.describe.engine import Engine
from mien.describe.prompts import Prompt
from mien.digests import digest
from mien.predict.zero_shot.describing import DescribingScorer, as_scores
from mien.predict.zero_shot.labels import ZeroShotLabels, read_data, words_of
from mien.predict.zero_shot.scorer import LabelScores
from mien.predict.zero_shot.sentence_encoder import SentenceEncoder
from mien.recipe.describe import MarkStyle
from mien.types import Description

__all__ = ["WordsScorer", "named_labels"]

_VERSION: Final = 1  # raise it when the same text gets other scores
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+|\n+")
_CLAUSE_END: Final = re.compile(r"[.,;:!?]|\b(?:and|but|yet|although|while)\b")
_WORDS_BEFORE: Final = 4  # of the same clause, in which a negation counts


class WordsScorer(DescribingScorer):
    """Scores labels by descriptions.

    Args:
        engine: Writes the descriptions.
        labels: What to score.
        encoder: Compares sentences; None to score by naming alone.
        prompt: The prompt for descriptions.
        marking: How the person is marked in the image.
    """

    def __init__(
        self,
        engine: Engine,
        labels: ZeroShotLabels,
        *,
        encoder: SentenceEncoder | None,
        prompt: Prompt,
        marking: MarkStyle = "red_box",
    ) -> None:
        super().__init__(engine, labels, prompt=prompt, marking=marking)
        self._encoder = encoder

    @property
    def name(self) -> str:
        encoder = "" if self._encoder is None else f" with {self._encoder.name}"
        return f"words/{self._engine.name}{encoder}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "scorer": "words",
            "version": _VERSION,
            "word_forms": digest(read_data("word_forms.json")),
            "encoder": None if self._encoder is None else dict(self._encoder.signature),
            **self._shared_signature(),
        }

    def read(self, found: Description) -> LabelScores:
        return LabelScores(scores=self.score_text(found.text), description=found)

    def score_text(self, text: str) -> tuple[float, ...]:
        """The scores of a description, by label in order."""
        scores = named_labels(text, self.labels)
        if self._encoder is not None:
            scores = (scores + self._nearness(text, self._encoder)) / 2
        return as_scores(scores, self.labels)

    def _nearness(self, text: str, encoder: SentenceEncoder) -> Float[np.ndarray, " label"]:
        sentences = [part for part in map(str.strip, _SENTENCE_END.split(text)) if part] or [text]
        cosines = self._label_vectors @ encoder.encode(sentences).T
        nearness: np.ndarray = np.maximum(cosines.max(axis=1), 0.0)
        return nearness

    @cached_property
    def _label_vectors(self) -> Float[np.ndarray, "label dim"]:
        assert self._encoder is not None
        names = self.labels.label_set.labels
        return self._encoder.encode([_meaning(name, self.labels) for name in names])


def _meaning(label: str, labels: ZeroShotLabels) -> str:
    words, definition = words_of(label), labels.definitions.get(label)
    return f"The person appears to feel {words}" + (f": {definition}." if definition else ".")


def named_labels(text: str, labels: ZeroShotLabels) -> Float[np.ndarray, " label"]:
    """Per label 1 if a text names it, 0.5 if it uses a word of nearly the same meaning, else 0."""
    lowered = text.lower()
    found = np.zeros(len(labels.label_set))
    for index, label in enumerate(labels.label_set.labels):
        own, near = labels.forms(label)
        if any(_is_said(form, lowered) for form in own):
            found[index] = 1.0
        elif any(_is_said(form, lowered) for form in near):
            found[index] = 0.5
    return found


def _is_said(form: str, lowered: str) -> bool:
    """Whether a text uses these words without a negation shortly before them."""
    pattern = rf"(?<![\w-]){re.escape(form)}(?![\w-])"
    return any(not _is_negated(lowered[: match.start()]) for match in re.finditer(pattern, lowered))


def _is_negated(before: str) -> bool:
    clause = _CLAUSE_END.split(before)[-1]
    last = " ".join(clause.split()[-_WORDS_BEFORE:])
    return any(re.search(rf"(?<!\w){re.escape(word)}(?!\w)", last) for word in _negations())


def _negations() -> Sequence[str]:
    negations: Sequence[str] = read_data("word_forms.json")["negations"]
    return negations
