"""Questions about a label, and what scorers that ask them share."""

from __future__ import annotations

from typing import Final

from mien.describe.engine import Engine
from mien.describe.prompts import Prompt, resolve_prompt, select_prompt
from mien.errors import ConfigError
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_images, select_frames
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.predict.zero_shot.scorer import ScorerInput, ZeroShotScorer
from mien.recipe.describe import DescribeOptions, MarkStyle
from mien.types import Subject

__all__ = ["QUESTION", "AskingScorer", "Question", "fill_question"]

# As the embedded model was asked in its training.
QUESTION: Final = "Does the person in the red box appear to feel <label>? Answer yes or no."


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
                f"the question {text!r} does not name the label",
                hint="write <label> where the label is to stand",
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


class AskingScorer(ZeroShotScorer):
    """A scorer that asks an engine about a marked person. A subclass reads the scores from its answers.

    Args:
        engine: Answers.
        labels: What to score.
        question: The wording; see `Question`.
        marking: How the person is marked in the image.
        needs_label: Whether the question must name the label.
    """

    def __init__(
        self,
        engine: Engine,
        labels: ZeroShotLabels,
        *,
        question: str,
        marking: MarkStyle,
        needs_label: bool = True,
    ) -> None:
        self.labels = labels
        self._asked = engine
        self._marking = Marking(style=marking)
        self._question = Question(question, self._marking, needs_label=needs_label)

    @property
    def engine(self) -> Engine:
        """The engine that answers."""
        return self._asked

    @property
    def marking(self) -> Marking:
        """How the person is marked in the image."""
        return self._marking

    def prepare(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput:
        shown = select_frames(subject, "middle_frame")
        images = prepare_images(subject, marking=self._marking, size=self._asked.image_size, photo=photo)
        return ScorerInput(subject=subject, images=images, prompt=self._question.about(shown))
