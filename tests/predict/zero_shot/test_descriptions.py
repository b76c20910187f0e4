"""Descriptions are matched to labels by real sentence vectors."""

import numpy as np
import pytest
from tests.factories.shared_data import shared

from mien.describe.fake import FakeEngine, FakeOptions
from mien.errors import EngineError, WeightsError
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.description_scorer import WordsScorer
from mien.predict.zero_shot.sentence_encoder import SentenceEncoder
from mien.types import Prediction, Subject


@pytest.fixture(scope="module")
def encoder() -> str:
    return str(shared("weights", "all-MiniLM-L6-v2"))


def test_vectors_are_those_of_the_published_model(encoder: str) -> None:
    texts = ["A man is eating food.", "A man is eating a piece of bread.", "A cheetah chases its prey.", "Ok"]
    vectors = SentenceEncoder(encoder).encode(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    alone = [SentenceEncoder(encoder).encode([text])[0] for text in texts[:2]]
    np.testing.assert_allclose(vectors[:2], alone, atol=1e-5)  # padding changes nothing
    # As sentence-transformers' documentation gives them.
    assert vectors[0] @ vectors[1] == pytest.approx(0.755, abs=0.01)
    assert vectors[0] @ vectors[2] < 0.2


def test_a_description_is_near_to_what_it_says_without_the_word(encoder: str) -> None:
    predictor = Predictor.zero_shot(labels="emotic", engine=FakeEngine(), method="words", encoder=encoder)
    scorer = predictor.scorer
    assert isinstance(scorer, WordsScorer)
    names = scorer.labels.label_set.labels

    def top(text: str) -> set[str]:
        scores = scorer.score_text(text)
        return {names[index] for index in np.argsort(scores)[-3:]}

    assert "Fatigue" in top("He can hardly keep his eyes open after the long night. A bus is behind him.")
    assert "Pain" in top("She holds her broken leg and screams.")
    assert "Fear" in top("Someone points a gun at him, and he trembles.")


def test_a_failed_description_is_an_error_in_its_place(subjects: list[Subject]) -> None:
    engine = FakeEngine(FakeOptions(refuse=("right",)))
    predictor = Predictor.zero_shot(labels=["calm"], engine=engine, method="words", encoder=None)
    found = list(predictor.each(subjects))
    assert [isinstance(one, Prediction) for one in found] == [True, False, True, True]
    assert isinstance(found[1], EngineError)
    assert isinstance(found[0], Prediction)
    assert found[0].description is not None
    assert found[0].scores["calm"] == float("calm" in found[0].description.text)


def test_an_encoder_that_is_not_there_is_a_weights_error() -> None:
    with pytest.raises(WeightsError, match="no model at"):
        Predictor.zero_shot(labels=["calm"], engine=FakeEngine(), method="words", encoder="./nowhere")
