"""Probabilities of labels: from this process with the processors that need torchvision, and from vLLM."""

import gc
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from tests.factories.real_vllm import VllmServer, open_vllm
from tests.factories.tiny_vlms import build_tiny_qwen2_5_vl, build_tiny_smolvlm

from mien.describe.engine import Request
from mien.describe.local.engine import LocalEngine
from mien.describe.local.shared_prefix import PrefixScorer
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.labels import EMOTIC
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.predictor import ZeroShotPredictor
from mien.predict.zero_shot.ratings import FirstWordScorer
from mien.recipe import RunOptions
from mien.types import Prediction, Subject

NUM_PEOPLE = 10
BUILDERS: dict[str, Callable[[Path], Path]] = {
    "qwen2_5_vl": build_tiny_qwen2_5_vl,
    "smolvlm2": build_tiny_smolvlm,
}


def scores_of(predictions: Iterable[Prediction]) -> list[dict[str, float]]:
    return [dict(prediction.scores) for prediction in predictions]


@pytest.fixture(params=BUILDERS)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> LocalEngine:
    return LocalEngine(BUILDERS[request.param](tmp_path / request.param))


def test_people_score_in_a_batch_as_one_by_one(engine: LocalEngine, people: list[Subject]) -> None:
    predictor, some = Predictor.zero_shot(engine=engine), people[:4]
    together = scores_of(predictor.predict(some))
    alone = [scores for person in some for scores in scores_of(predictor.predict([person]))]
    for one, other in zip(together, alone, strict=True):
        assert one == pytest.approx(other, abs=1e-5)
    assert len({tuple(scores.values()) for scores in together}) == len(some)


def test_a_shared_prefix_gives_the_probabilities_of_separate_passes(
    engine: LocalEngine, requests: list[Request]
) -> None:
    questions = [f"Does the person in the red box appear to feel {label}?" for label in EMOTIC.labels]
    scorer = PrefixScorer(engine._model, shares_prefix=False)
    images = [request.images for request in requests[:3]]
    separate = scorer.yes_probabilities(images, [questions] * 3)
    found = engine.yes_probabilities(requests[:3], [questions] * 3)
    for one, other in zip(found, separate, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


@pytest.fixture(scope="module")
def expected(people: list[Subject]) -> list[dict[str, float]]:
    predictor = Predictor.zero_shot(engine=LocalEngine("playhouse"))
    return scores_of(predictor.predict(people[:NUM_PEOPLE]))


def check(predictor: ZeroShotPredictor, people: list[Subject], expected: list[dict[str, float]]) -> None:
    assert isinstance(predictor.scorer, FirstWordScorer)
    found = scores_of(predictor.predict(people[:NUM_PEOPLE]))
    assert len(found) == len(expected) == NUM_PEOPLE
    for scores, wanted in zip(found, expected, strict=True):
        assert scores == pytest.approx(wanted, abs=2e-3)


def test_vllm_in_this_process_scores_as_the_local_engine(
    people: list[Subject], expected: list[dict[str, float]]
) -> None:
    # vLLM ends with the last reference to the predictor.
    check(Predictor.zero_shot(engine=open_vllm("playhouse")), people, expected)
    gc.collect()


def test_vllm_by_server_scores_as_the_local_engine(
    servers: list[VllmServer], people: list[Subject], expected: list[dict[str, float]]
) -> None:
    engine = RemoteEngine(
        VllmServer.model, RemoteOptions(image_size=144), run=RunOptions(endpoints=(servers[0].url,))
    )
    check(Predictor.zero_shot(engine=engine), people, expected)
