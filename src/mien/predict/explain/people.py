"""Explains the people of one photo, with the predictor that read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self, cast

from mien.errors import UsageError
from mien.types import Box, ImageRef, Subject

if TYPE_CHECKING:
    from mien.predict.base import SubjectPredictor
    from mien.predict.explain.explainer import ExplainOptions
    from mien.predict.explain.explanation import Explanation
    from mien.predict.predictor import Predictor
    from mien.predict.results import Person

__all__ = ["PersonExplainer"]


@dataclass(frozen=True, slots=True, eq=False)
class PersonExplainer:
    """Explains the people of one photo. A copy in another process has none: it would carry the model along.

    Attributes:
        predictor: What read them.
        image: The photo.
        boxes: The boxes of all people in it by their numbers, in pixels; None for the whole photo.
    """

    predictor: SubjectPredictor = field(repr=False)
    image: ImageRef
    boxes: Mapping[int, Box | None]

    def explain(
        self,
        person: Person,
        labels: Sequence[str] | None = None,
        options: ExplainOptions | None = None,
        before_batch: Callable[[], None] | None = None,
    ) -> Explanation:
        """What `Person.explain` describes."""
        from mien.predict.explain.explainer import ExplainOptions, explain_subject

        if person.prediction is None:
            raise UsageError(
                f"person {person.id} has no prediction: {person.error}", hint="correct that first"
            )
        if not self.predictor.has_trained_model:
            raise UsageError(
                "scores without training cannot be explained", hint="explain the predictions of a trained run"
            )
        options = options or ExplainOptions()
        if labels is not None:
            options = replace(options, labels=tuple(labels))
        description = person.prediction.description
        others = {
            number: box for number, box in self.boxes.items() if number != person.id and box is not None
        }
        return explain_subject(
            cast("Predictor", self.predictor),
            Subject(id=f"{self.image.path}#{person.id}", images=(self.image,), boxes=(person.box,)),
            person=person.id,
            others=others,
            description=None if description is None else description.text,
            options=options,
            before_batch=before_batch,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: object) -> Self:
        return self
