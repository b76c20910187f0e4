"""What requests and answers look like, as they stand in the OpenAPI document."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator

from mien.errors import MienError
from mien.predict.explain.explanation import ServedExplanation
from mien.predict.results import Person, Results
from mien.serve.errors import code_of, public, unknown_field
from mien.types import MAX_EDGE

__all__ = [
    "NOTICE",
    "DescribeAnswer",
    "DescribedImage",
    "DescribedPerson",
    "ErrorAnswer",
    "ErrorDetail",
    "ExplainAnswer",
    "ExplainRequest",
    "Health",
    "ImagesRequest",
    "Limits",
    "ModelCard",
    "ModelsAnswer",
    "PredictAnswer",
    "PredictedImage",
    "PredictedPerson",
]

NOTICE: Final = "Estimates of appearance, not of feelings: how people appear to feel."
_MAX_TEXTS, _MAX_TEXT = 4, 4000
# A gray image of 2 x 2 pixels.
_EXAMPLE_IMAGE: Final = (
    "iVBORw0KGgoAAAANSUhEUgAAAAIAAAACCAAAAABX3VL4AAAADklEQVR42mNsYGBiYAAAApIAhOoU7S4AAAAASUVORK5CYII="
)


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


# --- Requests ------------------------------------------------------------------------------------------


def _decode_image(value: object) -> object:
    """The bytes of an image that JSON has as Base64."""
    if isinstance(value, bytes):
        return value
    if not isinstance(value, str):
        raise ValueError("an image is not a string of Base64")
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("an image is not Base64; send its bytes, not an address or a path") from error


_Edge = Annotated[float, Field(ge=-MAX_EDGE, le=MAX_EDGE, allow_inf_nan=False)]
_BoxEdges = Annotated[
    list[_Edge],
    Field(min_length=4, max_length=4, description="Left, top, right, bottom in pixels of the upright image."),
]
_ImageBytes = Annotated[
    bytes,
    BeforeValidator(_decode_image),
    WithJsonSchema(
        {
            "type": "string",
            "contentEncoding": "base64",
            "pattern": "^[A-Za-z0-9+/]*={0,2}$",
            "description": "An image, as Base64.",
        }
    ),
]
# Lists stop at their first error: millions of errors would fill the memory.
_Boxes = Annotated[
    Annotated[
        list[Annotated[list[_BoxEdges], Field(fail_fast=True)] | None],
        Field(fail_fast=True),
    ]
    | None,
    Field(description="One entry per image: the boxes of its people, or null to find them."),
]


class _Request(BaseModel):
    @model_validator(mode="before")
    @classmethod
    def _refuse_unknown_fields(cls, values: object) -> object:
        """Stops at the first; pydantic would list them all."""
        if isinstance(values, Mapping):
            unknown = next((str(name) for name in values if name not in cls.model_fields), None)
            if unknown is not None:
                raise unknown_field(unknown, cls.model_fields)
        return values


class ImagesRequest(_Request):
    """Images, each with the boxes of its people or without."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [{"images": [_EXAMPLE_IMAGE], "boxes": [[[0, 0, 2, 2]]]}],
        },
    )

    images: Annotated[list[_ImageBytes], Field(min_length=1, fail_fast=True)]
    boxes: _Boxes = None


class ExplainRequest(_Request):
    """One image with the person in it whose scores are to be explained."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        json_schema_extra={
            "examples": [{"images": [_EXAMPLE_IMAGE], "boxes": [[[0, 0, 2, 2]]], "person": 0}],
        },
    )

    images: Annotated[list[_ImageBytes], Field(min_length=1, max_length=1, fail_fast=True)]
    boxes: _Boxes = None
    person: Annotated[
        int, Field(ge=0, le=1000, description="The number of the person in the image, from 0.")
    ] = 0
    labels: Annotated[
        list[Annotated[str, Field(max_length=200)]],
        Field(
            max_length=64,
            fail_fast=True,
            description="The labels to explain; by default those with the highest scores.",
        ),
    ] = []
    top: Annotated[int, Field(ge=1, le=10, description="Without labels: how many.")] = 3
    cells: Annotated[int, Field(ge=2, le=16, description="Regions along the longer side.")] = 8
    counterfactuals: Annotated[bool, Field(description="Also score with one thing different.")] = True
    random_orders: Annotated[
        int, Field(ge=0, le=32, description="Measure faithfulness against so many; 0 does not.")
    ] = 8
    descriptions: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=_MAX_TEXT)]],
        Field(max_length=_MAX_TEXTS, fail_fast=True, description="Other descriptions to try."),
    ] = []


# --- Errors --------------------------------------------------------------------------------------------


class ErrorDetail(_Value):
    """What happened, and what to do."""

    code: Annotated[str, Field(description="What happened, in one word.", examples=["image_error"])]
    message: str
    hint: str
    field: Annotated[str | None, Field(description="The part of the request that is wrong.")] = None

    @classmethod
    def of(cls, error: MienError | None) -> ErrorDetail | None:
        """The detail of an error in the place of an image or a person; None for None."""
        if error is None:
            return None
        shown = public(error)
        return cls(code=code_of(shown), message=str(shown), hint=shown.hint)


class ErrorAnswer(_Value):
    """Why a request has no answer."""

    error: ErrorDetail
    request_id: Annotated[str, Field(description="By which the operator finds the request in the log.")]


# --- Answers -------------------------------------------------------------------------------------------

_AnswerBox = Annotated[
    list[float] | None,
    Field(description="Left, top, right, bottom in pixels; null if the whole image is the subject."),
]
_Score = Annotated[float, Field(ge=0, le=1)]
_ImageStatus = Annotated[str, Field(description='"ok", "partial", "failed" or "no person".')]


class _AnyPerson(_Value):
    person: Annotated[int, Field(ge=0, description="The number of the person in the image, from 0.")]
    box: _AnswerBox
    box_source: Annotated[str, Field(description='"given", "whole", "detected" or "face".')]
    box_score: Annotated[_Score | None, Field(description="Of the detector.")]
    status: Annotated[str, Field(description='"ok", "failed", or a word for what is missing.')]
    error: Annotated[ErrorDetail | None, Field(description="Why there are no scores.")]
    description: Annotated[str | None, Field(description="What the vision-language model wrote.")]

    @staticmethod
    def parts(person: Person) -> Mapping[str, Any]:
        return {
            "person": person.id,
            "box": None if person.box is None else list(person.box.as_tuple()),
            "box_source": person.box_source,
            "box_score": person.box_score,
            "status": person.status,
            "error": ErrorDetail.of(person.error),
            "description": None if person.description is None else person.description.text,
        }


class PredictedPerson(_AnyPerson):
    """How a person appears to feel."""

    scores: Annotated[
        dict[str, _Score], Field(description="A score per label; calibrated if the run was evaluated.")
    ]
    above: Annotated[
        list[str] | None, Field(description="The labels that reach their thresholds; null without any.")
    ]
    dimensions: Annotated[
        dict[str, _Score] | None, Field(description="Valence, arousal and dominance, from 0 to 1.")
    ]
    bounded: Annotated[list[str], Field(description="Dimensions whose value was outside of the scale.")]
    sure: Annotated[bool | None, Field(description="Whether the model is sure of the best label.")]
    prediction_set: Annotated[list[str] | None, Field(description="The labels that may hold.")]
    coverage: Annotated[float | None, Field(description="The stated coverage of the set.")]

    @classmethod
    def of(cls, person: Person) -> PredictedPerson:
        """The person of a result."""
        return cls(
            **cls.parts(person),
            scores=dict(person.scores),
            above=None if person.above is None else list(person.above),
            dimensions=None if person.dimensions is None else dict(person.dimensions),
            bounded=list(person.bounded),
            sure=person.is_sure,
            prediction_set=None if person.prediction_set is None else list(person.prediction_set),
            coverage=person.coverage,
        )


class DescribedPerson(_AnyPerson):
    """What a vision-language model wrote about a person."""

    prompt_id: Annotated[str | None, Field(description="The prompt.")]
    engine: Annotated[str | None, Field(description="The model, with a digest of its settings.")]
    finish: Annotated[str | None, Field(description='"stop", or "length" if the text is cut.')]

    @classmethod
    def of(cls, person: Person) -> DescribedPerson:
        """The person of a result."""
        found = person.description
        return cls(
            **cls.parts(person),
            prompt_id=None if found is None else found.prompt_id,
            engine=None if found is None else found.engine,
            finish=None if found is None else found.finish,
        )


class _AnyImage(_Value):
    index: Annotated[int, Field(ge=0, description="The number of the image in the request, from 0.")]
    width: Annotated[int | None, Field(description="Of the upright image, in pixels.")]
    height: int | None
    status: _ImageStatus
    error: Annotated[ErrorDetail | None, Field(description="Why the image could not be read.")]
    notes: Annotated[list[str], Field(description="What you should know about the file.")]

    @staticmethod
    def parts(index: int, results: Results, notes: tuple[str, ...]) -> Mapping[str, Any]:
        pixels = results.image.pixels
        return {
            "index": index,
            "width": None if pixels is None else pixels.width,
            "height": None if pixels is None else pixels.height,
            "status": results.status,
            "error": ErrorDetail.of(results.error),
            "notes": list(notes),
        }


class PredictedImage(_AnyImage):
    """The people in one image, or why it could not be read."""

    people: list[PredictedPerson]

    @classmethod
    def of(cls, index: int, results: Results, notes: tuple[str, ...] = ()) -> PredictedImage:
        """The results of an image."""
        return cls(**cls.parts(index, results, notes), people=list(map(PredictedPerson.of, results)))


class DescribedImage(_AnyImage):
    """The people in one image, or why it could not be read."""

    people: list[DescribedPerson]

    @classmethod
    def of(cls, index: int, results: Results, notes: tuple[str, ...] = ()) -> DescribedImage:
        """The results of an image."""
        return cls(**cls.parts(index, results, notes), people=list(map(DescribedPerson.of, results)))


class PredictAnswer(_Value):
    """One result per image, in order."""

    model: str
    label_set: str
    thresholds: Annotated[
        dict[str, _Score] | None, Field(description="The score per label from which on the label holds.")
    ]
    min_confidence: Annotated[
        _Score | None, Field(description="The highest score from which on the model is sure.")
    ]
    notice: str = NOTICE
    results: list[PredictedImage]


class DescribeAnswer(_Value):
    """One result per image, in order."""

    model: str
    notice: str = NOTICE
    results: list[DescribedImage]


class ExplainAnswer(_Value):
    """Why a person has these scores."""

    model: str
    label_set: str
    notice: str = NOTICE
    width: int
    height: int
    person: PredictedPerson
    explanation: Annotated[
        ServedExplanation,
        Field(description="As explanation.json of `mien explain`, without the source."),
    ]


class Limits(_Value):
    """What one request may hold."""

    max_images: int
    max_boxes: int
    max_bytes: int
    max_pixels: int


class ModelCard(_Value):
    """What is served."""

    id: str
    kind: Annotated[str, Field(description='"trained" or "zero_shot".')]
    label_set: str
    labels: list[str]
    exclusive: Annotated[bool, Field(description="Whether exactly one label holds.")]
    calibrated: bool
    embedded: Annotated[bool, Field(description="Whether it knows only Playhouse, a drawn world.")]
    detector: Annotated[str | None, Field(description="What finds people where no boxes are given.")]
    endpoints: Annotated[list[str], Field(description="What it can do: predict, describe, explain.")]


class ModelsAnswer(_Value):
    """What is served, and its limits."""

    version: str
    notice: str = NOTICE
    models: list[ModelCard]
    limits: Limits


class Health(_Value):
    """Whether the process lives, or is ready."""

    status: str
