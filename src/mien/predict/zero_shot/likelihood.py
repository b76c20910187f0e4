"""Scores by the answers that a vision-language model would give, read from its probabilities.

"yes_no": the probability of "yes", given that the answer is yes or no, to one question per label. "label":
the likelihood of each label's name as the answer to one question, per token, as shares of all labels.

All questions of a subject begin alike, so the image and the shared words are read once (see
`mien.describe.local.shared_prefix`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from pydantic import JsonValue
from scipy.special import softmax

from mien.describe.local.engine import LocalEngine
from mien.describe.prompts import Prompt, resolve_prompt, select_prompt
from mien.errors import ConfigError, EngineDownError, EngineError, MienError
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_images, select_frames
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, ZeroShotScorer, from_probabilities
from mien.recipe.describe import DescribeOptions, MarkStyle
from mien.types import Subject

__all__ = ["QUESTION", "Answer", "LikelihoodScorer", "Question", "fill_question"]

Answer = Literal["yes_no", "label"]

_VERSION: Final = 1  # raise it when the same model and question give other scores
# As the embedded model learns it.
QUESTION: Final = "Does the person in the red box appear to feel <label>? Answer yes or no."
_QUESTIONS: Final[Mapping[Answer, str]] = {
    "yes_no": QUESTION,
    "label": "In one word, what does the person in the red box appear to feel?",
}


class Question:
    """A question about a marked person, with a counterpart for images without a box.

    Args:
        text: The wording; `<label>` stands for the label's name, `<definition>` for what it means.
        marking: How the person is marked.
        needs_label: Whether the question must name the label.

    Raises:
        ConfigError: The wording has no `<label>` where one is needed, or mentions a box in another way.
    """

    def __init__(self, text: str, marking: Marking, *, needs_label: bool) -> None:
        if needs_label and "<label>" not in text and "<definition>" not in text:
            raise ConfigError(
                f"the question {text!r} names no label", hint="write <label> where the label is to stand"
            )
        options = DescribeOptions(prompt="own:question", prompt_text=text)
        self.prompt: Prompt = resolve_prompt(options)
        self.marking = marking

    def about(self, subject: Subject) -> str:
        """The wording for the images of a subject."""
        return select_prompt(self.prompt, subject.boxes, self.marking).template


def fill_question(question: str, label: str, labels: ZeroShotLabels) -> str:
    """A question about one label."""
    return question.replace("<label>", label).replace("<definition>", labels.definition(label))


class LikelihoodScorer(ZeroShotScorer):
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
        self.labels = labels
        self._engine = engine
        self._answer = answer
        self._marking = Marking(style=marking)
        self._question = Question(
            question or _QUESTIONS[answer], self._marking, needs_label=answer == "yes_no"
        )

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

    def prepare(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput:
        shown = select_frames(subject, "middle_frame")
        images = prepare_images(subject, marking=self._marking, size=self._engine.image_size, photo=photo)
        return ScorerInput(subject=subject, images=images, prompt=self._question.about(shown))

    def score(self, inputs: Sequence[ScorerInput]) -> list[LabelScores | MienError]:
        return [self._score_one(item) for item in inputs]

    def _score_one(self, item: ScorerInput) -> LabelScores | MienError:
        names = self.labels.label_set.labels
        request = item.asked()
        try:
            if self._answer == "label":
                probabilities = softmax(np.array(self._engine.answer_log_likelihoods(request, names)))
            else:
                questions = [fill_question(item.prompt, name, self.labels) for name in names]
                probabilities = np.array(self._engine.yes_probabilities(request, questions))
        except EngineDownError:
            raise
        except EngineError as error:
            return error
        if not np.isfinite(probabilities).all():
            return EngineError(
                f"the model's answers about {item.subject.id!r} are not numbers",
                hint="use another data type, such as float32, or copy the model again",
            )
        is_exclusive = self.labels.label_set.exclusive and self._answer == "yes_no"
        return LabelScores(scores=from_probabilities(probabilities, exclusive=is_exclusive))
