"""A model that answers what a test says, so that a page meets any label, text, error and delay."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from mien.errors import ImageError, MienError
from mien.serve.batching import Job
from mien.serve.inference import ExplainWork, ServedModel
from mien.serve.schemas import ExplainAnswer, ModelCard, PredictedImage, PredictedPerson
from mien.serve.uploads import Upload

__all__ = ["ScriptedModel", "explanation_of", "person_of"]


def person_of(number: int = 0, **values: Any) -> PredictedPerson:
    """A person whose values are those given, or plain ones."""
    plain: dict[str, Any] = {
        "person": number,
        "box": [10.0 + 60 * number, 10.0, 60.0 + 60 * number, 90.0],
        "box_source": "detected",
        "box_score": 0.9,
        "status": "ok",
        "error": None,
        "description": None,
        "scores": {"Peace": 0.7, "Fear": 0.2},
        "above": None,
        "dimensions": None,
        "bounded": [],
        "sure": None,
        "prediction_set": None,
        "coverage": None,
    }
    return PredictedPerson(**{**plain, **values})


def explanation_of(labels: Sequence[str], description: str, scores: Mapping[str, float]) -> dict[str, Any]:
    """An explanation in which all strings are those given."""
    words, end = [], 0
    for number, word in enumerate(description.split(" ")):
        start = description.index(word, end)
        end = start + len(word)
        words.append(
            {
                "word": word,
                "start": start,
                "end": end,
                "occlusion": (-1) ** number * 0.01 * number,
                "gradient": None,
                "names_label": False,
            }
        )
    return {
        "person": 0,
        "box": None,
        "scores": dict(scores),
        "description": description,
        "labels": [
            {
                "label": label,
                "score": scores[label],
                "words": words,
                "naming": {"num_mentions": 2, "bonus": 1.0, "drop": 0.2, "drop_of_bonus": 0.1},
                "leading": "occlusion",
                "attention": {"method": "attention", "values": [[0.25, 0.75]]},
                "occlusion": {"method": "occlusion", "values": [[0.5, -0.25], [0.0, 0.0]]},
                "word_faithfulness": [],
                "region_faithfulness": [],
                "warnings": [description],
            }
            for label in labels
        ],
        "attention_shares": None,
        "counterfactuals": [
            {
                "kind": "no_words",
                "what": description,
                "scores": dict.fromkeys(scores, 0.5),
                "scores_of_same_words": None,
                "description": description,
                "box": None,
                "error": None,
            },
            {
                "kind": "other_box",
                "what": "the box on person 1",
                "scores": {},
                "scores_of_same_words": None,
                "description": None,
                "box": None,
                "error": description,
            },
        ],
        "notes": [description],
    }


@dataclass
class ScriptedModel:
    """Answers each image by a function; cast it with `as_served`.

    Attributes:
        labels: Of the model.
        predict: The people of an upload, or the error in its place; what it raises fails the request.
        explain: The explanation of a request.
        size: The width and height of every image.
    """

    labels: Sequence[str] = ("Peace", "Fear")
    predict: Callable[[Upload], Sequence[PredictedPerson]] = lambda upload: [person_of()]
    explain: Callable[[ExplainWork], dict[str, Any]] | None = None
    size: tuple[int, int] = (200, 100)
    name: str = "scripted"
    exclusive: bool = False
    calibration: None = None
    embedded: bool = False
    uploads: list[Upload] = field(default_factory=list)

    @property
    def endpoints(self) -> tuple[str, ...]:
        return ("predict",) if self.explain is None else ("predict", "explain")

    @property
    def card(self) -> ModelCard:
        return ModelCard(
            id=self.name,
            kind="trained",
            label_set=self.name,
            labels=list(self.labels),
            exclusive=self.exclusive,
            calibrated=False,
            embedded=self.embedded,
            detector=self.name,
            endpoints=list(self.endpoints),
        )

    def warm_up(self) -> None:
        """Nothing to load."""

    def run(self, kind: str, jobs: Sequence[Job]) -> None:
        """Answers jobs."""
        for job in jobs:
            try:
                job.answer(self._explained(job.payload) if kind == "explain" else self._images(job.payload))
            except MienError as error:
                job.fail(error)

    def _images(self, uploads: Sequence[Upload]) -> list[PredictedImage]:
        self.uploads += uploads
        return [self._image(index, upload) for index, upload in enumerate(uploads)]

    def _image(self, index: int, upload: Upload) -> PredictedImage:
        parts: dict[str, Any] = {
            "index": index,
            "width": self.size[0],
            "height": self.size[1],
            "status": "ok",
            "error": None,
            "notes": [self.name],
        }
        try:
            return PredictedImage(**parts, people=list(self.predict(upload)))
        except ImageError as error:
            detail = {"code": "image_error", "message": str(error), "hint": error.hint}
            return PredictedImage(**{**parts, "status": "failed", "error": detail}, people=[])

    def _explained(self, work: ExplainWork) -> ExplainAnswer:
        assert self.explain is not None
        (person, *_) = self.predict(work.upload)
        return ExplainAnswer(
            model=self.name,
            label_set=self.name,
            width=self.size[0],
            height=self.size[1],
            person=person,
            explanation=self.explain(work),
        )

    def as_served(self) -> ServedModel:
        """Itself, for `running_service`."""
        return cast("ServedModel", self)
