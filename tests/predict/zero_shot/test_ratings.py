"""Servers are asked for the probabilities of first words, or for ratings in JSON where they give none."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.factories.chat_server import MODEL, Handler, Server
from tests.factories.fake_vllm import FakeVllm
from tests.factories.real_server import RealServer, real_server
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.local.engine import LocalEngine
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.describe.retry import Backoff
from mien.describe.vllm import VllmEngine
from mien.errors import ConfigError, EngineDownError, EngineError
from mien.labels import EMOTIC
from mien.playhouse.embedded_models import embedded_model_folder
from mien.predict.predictor import Predictor
from mien.predict.zero_shot.ratings import FirstWordScorer, RatingScorer
from mien.recipe import RunOptions
from mien.types import Prediction, Subject

__all__ = ["real_server"]  # a fixture

LABELS = ("calm", "afraid", "proud")


class AnsweringServer(Server):
    """Answers questions about labels; `gives` is "logprobs", "text", or "refuses" the fields for them."""

    def __init__(self, gives: str, rate: Callable[[str], str]) -> None:
        self.gives, self.rate = gives, rate
        self.prompts: list[str] = []
        super().__init__(_Handler)


class _Handler(Handler):
    server: AnsweringServer

    def do_POST(self) -> None:  # noqa: N802  the library's name
        body = json.loads(self.content())
        prompt = body["messages"][0]["content"][-1]["text"]
        self.server.prompts.append(prompt)
        if self.server.gives == "refuses" and "logprobs" in body:
            error = {"message": "Unrecognized request argument: logprobs", "code": "unknown_parameter"}
            self.answer(400, {"error": error})
            return
        text = self.server.rate(prompt) if "JSON" in prompt else "Yes"
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        if self.server.gives == "logprobs" and "logprobs" in body:
            choice["logprobs"] = {"content": first_words(prompt, body["top_logprobs"])}
        self.answer(200, {"model": body["model"], "choices": [choice]})


def odds_of(prompt: str) -> tuple[float, float]:
    """The probabilities of "Yes" and of "no" as the first word, which follow from the prompt."""
    yes = (sum(prompt.encode()) % 50 + 1) / 100
    return yes, 0.7 - yes


def first_words(prompt: str, count: int) -> list[dict[str, object]]:
    yes, no = odds_of(prompt)
    words = {" Yes": yes / 2, "yes": yes / 2, " no": no, "The": 0.1, "Maybe": 0.05}
    listed = [{"token": word, "logprob": math.log(share)} for word, share in words.items()][:count]
    blank = {"token": "\n", "logprob": -0.1, "top_logprobs": [{"token": "\n", "logprob": -0.1}]}
    return [blank, {**listed[0], "top_logprobs": listed}]


@contextmanager
def answering(
    gives: str, rate: Callable[[str], str] = lambda prompt: json.dumps(dict.fromkeys(LABELS, 0.5))
) -> Iterator[AnsweringServer]:
    server = AnsweringServer(gives, rate)
    try:
        yield server
    finally:
        server.close()


def remote(url: str, model: str = MODEL, image_size: int = 24) -> RemoteEngine:
    return RemoteEngine(
        model,
        RemoteOptions(image_size=image_size),
        run=RunOptions(endpoints=(url,), retries=0, timeout=30.0),
        backoff=Backoff(base=0.001, cap=0.01),
    )


def test_log_probabilities_are_read(subjects: list[Subject]) -> None:
    with answering("logprobs") as server:
        predictor = Predictor.zero_shot(labels=LABELS, engine=remote(server.url))
        assert isinstance(predictor.scorer, FirstWordScorer)
        predictions = predictor.predict(subjects)
    boxed, whole = "person in the red box", "main person"
    for prediction, who in zip(predictions, (boxed, boxed, boxed, whole), strict=True):
        for label, score in prediction.scores.items():
            yes, no = odds_of(f"Does the {who} appear to feel {label}? Answer yes or no.")
            assert score == pytest.approx(yes / (yes + no), abs=1e-6)
        assert prediction.status == "uncalibrated"


def test_vllm_in_this_process_is_asked_for_first_words(subjects: list[Subject], tmp_path: Path) -> None:
    def words(prompt: str) -> dict[str, float]:
        yes, no = odds_of(prompt.removeprefix("USER: <image>\n").removesuffix(" ASSISTANT:"))
        return {"The": 0.1, " Yes": yes / 2, "yes": yes / 2, "no": no}

    engine = VllmEngine(str(build_tiny_llava(tmp_path / "llava")), start=lambda *_: FakeVllm(words))
    predictor = Predictor.zero_shot(labels=LABELS, engine=engine)
    (found,) = predictor.predict(subjects[:1])
    for label, score in found.scores.items():
        yes, no = odds_of(f"Does the person in the red box appear to feel {label}? Answer yes or no.")
        assert score == pytest.approx(yes / (yes + no), abs=1e-6)
    with pytest.raises(ConfigError, match="answer 'label' needs a model in this process"):
        Predictor.zero_shot(labels=LABELS, engine=engine, answer="label")


@pytest.mark.parametrize("gives", ["text", "refuses"])
def test_without_them_labels_are_rated_in_json(
    gives: str, subjects: list[Subject], caplog: pytest.LogCaptureFixture
) -> None:
    ratings = {"calm": 0.2, "afraid": 0.9, "proud": 0}
    with answering(gives, lambda prompt: f"Here: {json.dumps(ratings)}") as server:
        predictor = Predictor.zero_shot(labels=LABELS, engine=remote(server.url))
        assert isinstance(predictor.scorer, RatingScorer)
        assert "it is asked for ratings in JSON" in caplog.text
        assert [dict(one.scores) for one in predictor.predict(subjects)] == [ratings] * 4
        exclusive = Predictor.zero_shot(labels=LABELS, exclusive=True, engine=remote(server.url))
        (found,) = exclusive.predict(subjects[:1])
    assert sum(found.scores.values()) == pytest.approx(1)
    assert all("calm, afraid, proud" in prompt for prompt in server.prompts if "JSON" in prompt)


def test_a_subject_without_ratings_fails_alone(subjects: list[Subject]) -> None:
    replies = iter(["no idea", *["{" + ", ".join(f'"{label}": 1' for label in LABELS) + "}"] * 9])
    with answering("text", lambda prompt: next(replies)) as server:
        found = list(Predictor.zero_shot(labels=LABELS, engine=remote(server.url)).each(subjects))
    assert sum(isinstance(one, EngineError) for one in found) == 1
    assert sum(isinstance(one, Prediction) for one in found) == 3


def test_a_server_that_cannot_be_reached_is_said_at_once() -> None:
    with answering("text") as server:
        url = server.url
    with pytest.raises(EngineDownError):
        Predictor.zero_shot(labels=LABELS, engine=remote(url))
    with pytest.raises(ConfigError, match="needs a model in this process"):
        Predictor.zero_shot(labels=LABELS, engine=remote(url), answer="label")


@pytest.mark.slow
def test_a_real_server_without_log_probabilities(
    real_server: RealServer, subjects: Sequence[Subject]
) -> None:
    engine = remote(real_server.address, str(embedded_model_folder("llava")), image_size=144)
    predictor = Predictor.zero_shot(labels=LABELS, engine=engine)
    assert isinstance(predictor.scorer, RatingScorer)
    # The embedded model writes no JSON; each subject says so.
    found = list(predictor.each(subjects))
    assert [isinstance(one, EngineError) for one in found] == [True] * 4
    words = Predictor.zero_shot(labels="emotic", engine=engine, method="words", encoder=None)
    local = Predictor.zero_shot(
        labels="emotic", engine=LocalEngine("playhouse"), method="words", encoder=None
    )
    both = [
        [list(one.scores.values()) for one in predictor.predict(subjects[:2])] for predictor in (words, local)
    ]
    assert np.array(both).shape == (2, 2, len(EMOTIC))
    assert both[0] == both[1]
