"""Scores by the answers that a vision-language model would give, read from its probabilities.

"yes_no": the probability of "yes", given that the answer is yes or no, to one question per label. "label":
the likelihood of each label's name as the answer to one question, per token, as shares of all labels.

All questions of a subject begin alike, so the image and the shared words are read once, and those of several
subjects together (see `mien.describe.local.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from pydantic import JsonValue
from scipy.special import softmax

from mien.describe.local.engine import LocalEngine
from mien.errors import EngineError, MienError
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.predict.zero_shot.question import QUESTION, AskingScorer, fill_question
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, from_probabilities
from mien.recipe.describe import MarkStyle
from mien.recipe.zero_shot import Answer

__all__ = ["LikelihoodScorer"]

_VERSION: Final = 1  # raise it when the same model and question give other scores
_QUESTIONS: Final[Mapping[Answer, str]] = {
    "yes_no": QUESTION,
    "label": "In one word, what does the person in the red box appear to feel?",
}


class LikelihoodScorer(AskingScorer):
    """Asks a model that runs in this process.

    Args:
        engine: Runs the model.
        labels: What to score.
        answer: See above.
        question: Another wording; see `Question`.
        marking: How the person is marked in the image.
    """

    def __init__(
        self,
        engine: LocalEngine,
        labels: ZeroShotLabels,
        *,
        answer: Answer = "yes_no",
        question: str | None = None,
        marking: MarkStyle = "red_box",
    ) -> None:
        super().__init__(
            engine,
            labels,
            question=question or _QUESTIONS[answer],
            marking=marking,
            needs_label=answer == "yes_no",
        )
        self._engine = engine
        self._answer = answer

    @property
    def name(self) -> str:
        return f"likelihood/{self._engine.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "scorer": "likelihood",
            "version": _VERSION,
            "answer": self._answer,
            "question": self._question.prompt.template,
            "marking": self._marking.digest(),
            "labels": self.labels.digest(),
            "engine": dict(self._engine.signature),
        }

    def score(self, inputs: Sequence[ScorerInput]) -> list[LabelScores | MienError]:
        names = self.labels.label_set.labels
        requests = [item.asked() for item in inputs]
        if self._answer == "label":
            answered = self._engine.answer_log_likelihoods(requests, names)
        else:
            questions = [[fill_question(item.prompt, name, self.labels) for name in names] for item in inputs]
            answered = self._engine.yes_probabilities(requests, questions)
        return [self._read(item, found) for item, found in zip(inputs, answered, strict=True)]

    def _read(self, item: ScorerInput, found: Sequence[float] | EngineError) -> LabelScores | MienError:
        if isinstance(found, EngineError):
            return found
        probabilities = np.array(found)
        if self._answer == "label":
            probabilities = softmax(probabilities)
        if not np.isfinite(probabilities).all():
            return EngineError(
                f"the model's answers about {item.subject.id!r} are not numbers",
                hint="use another data type, such as float32, or copy the model again",
            )
        is_exclusive = self.labels.label_set.exclusive and self._answer == "yes_no"
        return LabelScores(scores=from_probabilities(probabilities, exclusive=is_exclusive))
