"""Scores by engines whose probabilities are out of reach, such as servers.

vLLM, and a server that gives the likeliest first words of its answer with their log-probabilities, get one
question per label, as a local model does. Any other engine gets one request to rate all labels in a JSON
object.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from PIL import Image
from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import get_prompt
from mien.describe.remote.engine import RemoteEngine
from mien.describe.retry import describe_with_retries
from mien.describe.structured_output import parse_scores
from mien.describe.vllm import VllmEngine
from mien.errors import EngineError, MienError
from mien.predict.zero_shot.describing import DescribingScorer, as_scores
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.predict.zero_shot.question import QUESTION, AskingScorer, fill_question
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, ZeroShotScorer, from_probabilities
from mien.recipe.describe import MarkStyle
from mien.types import Description

__all__ = ["FirstWordScorer", "RatingScorer", "open_remote_scorer"]

_log = logging.getLogger(__name__)
_VERSION: Final = 1  # raise it when the same replies give other scores
_PROBE: Final = "Is this image gray? Answer yes or no."


def open_remote_scorer(
    engine: RemoteEngine, labels: ZeroShotLabels, *, question: str | None, marking: MarkStyle
) -> ZeroShotScorer:
    """The scorer for a server; one request shows whether it gives log-probabilities.

    Raises:
        EngineDownError: No server can be reached, or none works.
    """
    asked = engine.for_first_words()
    request = Request(subject_id="probe", images=(Image.new("RGB", (64, 64), "gray"),), prompt=_PROBE)
    (outcome,) = describe_with_retries(asked, [request])
    if isinstance(outcome.result, Reply) and outcome.result.first_words:
        return FirstWordScorer(asked, labels, question=question, marking=marking)
    why = outcome.result if isinstance(outcome.result, EngineError) else "its answer has none"
    _log.warning("%s gives no log-probabilities (%s); it is asked for ratings in JSON", engine.name, why)
    return RatingScorer(engine, labels, marking=marking)


class FirstWordScorer(AskingScorer):
    """Asks an engine about each label, and reads how likely "yes" is as the first word of the answer.

    Args:
        engine: Gives the likeliest first words; see `RemoteEngine.for_first_words` and
            `VllmEngine.for_first_words`.
        labels: What to score.
        question: Another wording; see `Question`.
        marking: How the person is marked in the image.
    """

    def __init__(
        self,
        engine: RemoteEngine | VllmEngine,
        labels: ZeroShotLabels,
        *,
        question: str | None = None,
        marking: MarkStyle = "red_box",
    ) -> None:
        super().__init__(engine, labels, question=question or QUESTION, marking=marking)
        self._engine = engine

    @property
    def name(self) -> str:
        return f"likelihood/{self._engine.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "scorer": "first_word",
            "version": _VERSION,
            "question": self._question.prompt.template,
            "marking": self._marking.digest(),
            "labels": self.labels.digest(),
            "engine": dict(self._engine.signature),
        }

    def score(self, inputs: Sequence[ScorerInput]) -> list[LabelScores | MienError]:
        names = self.labels.label_set.labels
        requests = [
            item.asked(fill_question(item.prompt, name, self.labels)) for item in inputs for name in names
        ]
        outcomes = iter(describe_with_retries(self._engine, requests))
        return [self._scores([next(outcomes).result for _ in names]) for _ in inputs]

    def _scores(self, replies: Sequence[Reply | EngineError]) -> LabelScores | MienError:
        found = []
        for reply in replies:
            value = reply if isinstance(reply, EngineError) else yes_probability(reply)
            if isinstance(value, EngineError):
                return value
            found.append(value)
        exclusive = self.labels.label_set.exclusive
        return LabelScores(scores=from_probabilities(np.array(found), exclusive=exclusive))


def yes_probability(reply: Reply) -> float | EngineError:
    """The probability of "yes" among "yes" and "no", as far as the reply lists them."""
    likely = {"yes": 0.0, "no": 0.0}
    for word, log_probability in reply.first_words:
        name = word.strip(" \n\t.,!\"'*").lower()
        if name in likely:
            likely[name] += math.exp(log_probability)
    if not sum(likely.values()) > 0:
        return EngineError(
            f"neither yes nor no is among the likeliest first words of the answer {reply.text[:40]!r}",
            hint="use another question or model",
        )
    return likely["yes"] / sum(likely.values())


class RatingScorer(DescribingScorer):
    """Asks any engine to rate all labels from 0 to 1 in one JSON object.

    Args:
        engine: Writes the ratings.
        labels: What to score.
        marking: How the person is marked in the image.
    """

    def __init__(self, engine: Engine, labels: ZeroShotLabels, *, marking: MarkStyle = "red_box") -> None:
        super().__init__(engine, labels, prompt=get_prompt("structured"), marking=marking)

    @property
    def name(self) -> str:
        return f"ratings/{self._engine.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {"scorer": "ratings", "version": _VERSION, **self._shared_signature()}

    def read(self, found: Description) -> LabelScores:
        ratings = parse_scores(found.text, self.labels.label_set)  # it was checked already
        return LabelScores(scores=as_scores(np.array(list(ratings.values())), self.labels))
