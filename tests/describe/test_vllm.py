"""The vLLM engine around a replacement for vLLM itself; `tests/vllm` has those with a real one."""

import gc
import math
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from tests.factories.fake_vllm import CUT, ENDLESS, FATAL, MUTE, REFUSED, FakeVllm
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.engine import AbandonedError, Reply, Request, TokenUsage
from mien.describe.open import open_engine
from mien.describe.vllm import VllmEngine, VllmOptions
from mien.errors import EngineDownError, EngineError
from mien.recipe import DescribeOptions, RunOptions


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("models") / "llava")


def request(red: int) -> Request:
    return Request(subject_id=f"s{red}", images=(Image.new("RGB", (4, 4), (red, 0, 0)),), prompt="How?")


def make_engine(llava: Path, vllm: FakeVllm, **options: Any) -> VllmEngine:
    return VllmEngine(str(llava), start=lambda *_: vllm, **options)


def test_replies_come_in_order_with_limited_requests_in_flight(llava: Path) -> None:
    vllm = FakeVllm()
    found = make_engine(llava, vllm, in_flight=3).describe([request(red) for red in range(10)])
    assert found == [
        Reply(
            text=f"red {red}",
            finish="length" if red == CUT else "stop",
            usage=TokenUsage(prompt=7 + red, completion=2),
        )
        for red in range(10)
    ]
    assert vllm.max_running == 3


def test_vllm_gets_the_formatted_prompt_and_the_images_as_they_are(llava: Path) -> None:
    vllm, sent = FakeVllm(), request(1)
    make_engine(llava, vllm).describe([sent])
    (prompt,) = vllm.prompts
    assert prompt["prompt"] == "USER: <image>\nHow? ASSISTANT:"
    assert prompt["multi_modal_data"]["image"] == list(sent.images)


def test_the_failure_of_an_item_is_returned_in_its_place_in_one_line(llava: Path) -> None:
    first, bad, last = make_engine(llava, FakeVllm()).describe([request(1), request(REFUSED), request(2)])
    assert [reply.text for reply in (first, last) if isinstance(reply, Reply)] == ["red 1", "red 2"]
    assert isinstance(bad, EngineError)
    assert "s13" in str(bad)
    assert "stack" not in str(bad)


def test_an_error_without_a_message_gives_its_cause(llava: Path) -> None:
    [error] = make_engine(llava, FakeVllm()).describe([request(MUTE)])
    assert str(error).endswith("'s15': ValueError: absolute aspect ratio must be smaller than 200, got 227")


def test_first_words_are_those_after_a_blank(llava: Path) -> None:
    vllm = FakeVllm(lambda _: {"Yes": 0.5, " no": 0.25})
    engine = make_engine(llava, vllm)
    (plain,) = engine.describe([request(1)])
    (found,) = engine.for_first_words().describe([request(1)])
    assert isinstance(plain, Reply)
    assert isinstance(found, Reply)
    assert plain.first_words == ()
    assert [(word, round(math.exp(value), 9)) for word, value in found.first_words] == [
        ("Yes", 0.5),
        (" no", 0.25),
    ]


def test_prompts_share_their_beginnings_only_where_many_ask_about_an_image(llava: Path) -> None:
    started: list[bool] = []

    def start(*settings: Any) -> FakeVllm:
        started.append(settings[-1])
        return FakeVllm()

    engine = VllmEngine(str(llava), start=start)
    for asked in (engine, engine.for_first_words()):
        asked.describe([request(1)])
    assert started == [False, True]


def test_vllm_is_shut_down_once_in_its_event_loop(llava: Path) -> None:
    vllm = FakeVllm()
    engine = make_engine(llava, vllm)
    engine.close()  # also before the first request
    engine.describe([request(1)])
    assert vllm.shutdowns == []
    engine.close()
    engine.close()
    vllm.shutdown()  # as vLLM does when it is deleted
    assert vllm.shutdowns == ["vllm"]


def test_vllm_is_shut_down_with_the_last_reference_to_the_engine(llava: Path) -> None:
    # As at the end of the process.
    vllm = FakeVllm()
    engine = make_engine(llava, vllm)
    engine.describe([request(1)])
    del engine
    gc.collect()
    assert vllm.shutdowns == ["vllm"]


def test_requests_that_take_long_after_a_stop_are_abandoned(
    llava: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.describe.vllm._SECONDS_TO_FINISH", 0.2)
    vllm = FakeVllm()
    engine = make_engine(llava, vllm)
    engine.describe([request(1)])
    with ThreadPoolExecutor() as executor:
        waiting = executor.submit(engine.describe, [request(ENDLESS), request(2)])
        while vllm.num_running == 0:
            time.sleep(0.01)
        engine.stop()
        assert {type(reply) for reply in waiting.result()} == {AbandonedError}
    engine.close()  # waits
    assert vllm.shutdowns == ["vllm"]


def test_signals_of_a_terminal_do_not_reach_the_processes_of_vllm(llava: Path) -> None:
    inherited = set[signal.Signals]()

    def start(*_: Any) -> FakeVllm:
        inherited.update(signal.pthread_sigmask(signal.SIG_BLOCK, ()))  # type: ignore[arg-type]
        return FakeVllm()

    VllmEngine(str(llava), start=start).describe([request(1)])
    assert inherited >= {signal.SIGINT, signal.SIGHUP}
    assert signal.SIGTERM not in inherited  # with which vLLM ends them
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def test_a_dead_engine_is_down(llava: Path) -> None:
    with pytest.raises(EngineDownError, match="vLLM stopped") as caught:
        make_engine(llava, FakeVllm()).describe([request(FATAL)])
    assert caught.value.retryable


def test_only_what_changes_the_text_changes_the_signature(llava: Path) -> None:
    plain = VllmEngine(str(llava))
    assert VllmEngine(str(llava), in_flight=9).signature == plain.signature
    for other in (
        {"dtype": "float16"},
        {"options": VllmOptions(quantization="awq")},
        {"options": VllmOptions(enforce_eager=True)},
        {"max_new_tokens": 9},
    ):
        assert VllmEngine(str(llava), **other).signature != plain.signature


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_the_error_names_the_extra(llava: Path) -> None:
    engine = open_engine(DescribeOptions(engine="vllm", model=str(llava)), RunOptions())
    with pytest.raises(EngineError, match="needs vLLM") as caught:
        engine.describe([request(1)])
    assert "mien[vllm]" in caught.value.hint
