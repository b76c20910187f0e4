"""People are described without being scored, with the model and the prompt of a predictor."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.predict.conftest import Made

from mien.errors import ImageError
from mien.labels import LABEL_SETS
from mien.predict.describing import describer_of
from mien.predict.predictor import Predictor
from mien.types import Box, ImageRef, Subject


def test_descriptions_are_those_that_are_scored(make_run: Callable[..., Made]) -> None:
    made = make_run()
    predictor = Predictor.from_pretrained(made.run, device="cpu")
    describer = describer_of(predictor)
    assert describer is not None
    subjects = [sample.subject for sample in made.samples["test"]][:4]
    described, scored = list(describer.each(subjects)), predictor.predict(subjects)
    for found, wanted in zip(described, scored, strict=True):
        assert not isinstance(found, Exception)
        assert found.description == wanted.description
        assert found.description is not None
        assert (found.scores, found.dimensions, found.subject_id) == ({}, None, wanted.subject_id)


def test_a_subject_that_cannot_be_read_is_an_error_in_its_place(make_run: Callable[..., Made]) -> None:
    made = make_run()
    describer = describer_of(Predictor.from_pretrained(made.run, device="cpu"))
    assert describer is not None
    good = made.samples["test"][0].subject
    bad = Subject(
        id="bad", images=(ImageRef(path=Path("missing.png")),), boxes=(Box(left=0, top=0, right=9, bottom=9),)
    )
    first, second, third = describer.each([good, bad, good], batch_size=2)
    assert isinstance(second, ImageError)
    assert not isinstance(first, Exception)
    assert not isinstance(third, Exception)


def test_the_detector_is_that_of_the_predictor(make_run: Callable[..., Made]) -> None:
    predictor = Predictor.from_pretrained(make_run().run, device="cpu", detector="playhouse")
    describer = describer_of(predictor)
    assert describer is not None
    assert describer.detector is predictor.detector


def test_a_model_that_reads_no_text_describes_no_one(make_run: Callable[..., Made]) -> None:
    assert describer_of(Predictor.from_pretrained(make_run(fusion="image_only").run, device="cpu")) is None


@pytest.mark.parametrize(
    ("method", "describes"), [("likelihood", True), ("words", True), ("similarity", False)]
)
def test_models_without_training(make_run: Callable[..., Made], method: str, describes: bool) -> None:
    predictor = Predictor.zero_shot("playhouse", labels="emotic", method=method, encoder=None, device="cpu")  # type: ignore[arg-type]
    describer = describer_of(predictor)
    assert (describer is not None) == describes
    if describer is not None:
        (found,) = describer.each([make_run().samples["test"][0].subject])
        assert not isinstance(found, Exception)
        assert found.description is not None
        assert found.description.text
        assert found.label_set == LABEL_SETS["emotic"].name
