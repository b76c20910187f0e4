"""What scorers share that read scores from a text that an engine writes about a person."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
from jaxtyping import Float
from pydantic import JsonValue

from mien.describe.engine import Engine
from mien.describe.prompts import Prompt
from mien.describe.requests import RequestBuilder
from mien.errors import MienError
from mien.media.images import Marking
from mien.media.views import OpenedPhoto
from mien.predict.base import describe_prepared
from mien.predict.zero_shot.labels import ZeroShotLabels
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, ZeroShotScorer
from mien.recipe.describe import MarkStyle
from mien.types import Description, Subject

__all__ = ["DescribingScorer", "as_scores"]


class DescribingScorer(ZeroShotScorer):
    """A scorer of what an engine writes about a person. A subclass implements `read`.

    Args:
        engine: Writes the texts.
        labels: What to score.
        prompt: The question to the engine.
        marking: How the person is marked in the image.
    """

    def __init__(self, engine: Engine, labels: ZeroShotLabels, *, prompt: Prompt, marking: MarkStyle) -> None:
        self.labels = labels
        self._engine = engine
        self._prompt = prompt
        self._marking = Marking(style=marking)

    def prepare(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput:
        request = self.request_builder.build(subject)
        prepared = self.request_builder.prepare(request, photo)
        return ScorerInput(
            subject=subject,
            images=prepared.images,
            prompt=prepared.prompt,
            request=request,
            boxes=prepared.boxes,
        )

    def score(self, inputs: Sequence[ScorerInput]) -> list[LabelScores | MienError]:
        described = describe_prepared(self.request_builder, [item.described() for item in inputs])
        return [found if isinstance(found, MienError) else self.read(found) for found in described]

    @abstractmethod
    def read(self, found: Description) -> LabelScores:
        """The scores that a text stands for."""

    def _shared_signature(self) -> Mapping[str, JsonValue]:
        return {
            "prompt": self._prompt.digest(),
            "marking": self._marking.digest(),
            "labels": self.labels.digest(),
            "engine": dict(self._engine.signature),
        }

    @cached_property
    def request_builder(self) -> RequestBuilder:
        """Builds the requests to the engine, with the keys by which a store knows the texts."""
        return RequestBuilder(
            engine=self._engine,
            prompt=self._prompt,
            label_set=self.labels.label_set,
            marking=self._marking,
        )


def as_scores(values: Float[np.ndarray, " label"], labels: ZeroShotLabels) -> tuple[float, ...]:
    """Values as scores from 0 to 1; where exactly one label holds, divided by their sum."""
    if labels.label_set.exclusive:
        total = values.sum()
        values = values / total if total > 0 else np.full(len(values), 1 / len(values))
    return tuple(np.clip(values, 0.0, 1.0).tolist())
