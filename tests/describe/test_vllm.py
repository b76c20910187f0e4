"""The adapter to vLLM, with an engine object of ours in place of vLLM's, which needs a GPU: what it is given,
how many at once, how its endings and failures are read. vLLM itself is not run here."""

import asyncio
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.engine import Reply, Request
from mien.describe.open import open_engine
from mien.describe.vllm import VllmEngine, VllmOptions
from mien.errors import EngineError
from mien.recipe import DescribeOptions, RunOptions


class StandIn:
    """Answers with the picture's first pixel; notes what it was given and how much at once."""

    def __init__(self) -> None:
        self.prompts: list[dict[str, Any]] = []
        self.now = self.most = 0
        self.errored = False

    async def generate(self, *, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[Any]:
        self.prompts.append(prompt)
        self.now += 1
        self.most = max(self.most, self.now)
        red = prompt["multi_modal_data"]["image"][0].getpixel((0, 0))[0]
        # The first asked is the last done.
        await asyncio.sleep(0.002 * (20 - red))
        self.now -= 1
        if red == 13:
            raise ValueError("this picture is refused\nand a page of stack")
        if red == 14:
            self.errored = True
            raise RuntimeError("EngineDead")
        reason = "length" if red == 5 else "stop"
        yield SimpleNamespace(outputs=[SimpleNamespace(text=f" red {red} ", finish_reason=reason)])


@pytest.fixture(scope="module")
def llava(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_tiny_llava(tmp_path_factory.mktemp("models") / "llava")


def request(red: int) -> Request:
    return Request(subject_id=f"s{red}", images=(Image.new("RGB", (4, 4), (red, 0, 0)),), prompt="How?")


def engine(llava: Path, stand_in: StandIn, **request_options: Any) -> VllmEngine:
    return VllmEngine(str(llava), start=lambda *_: stand_in, **request_options)


def test_replies_come_in_the_order_asked_with_bounded_requests_in_flight(llava: Path) -> None:
    stand_in = StandIn()
    found = engine(llava, stand_in, in_flight=3).describe([request(red) for red in range(10)])
    assert found == [Reply(text=f"red {red}", finish="length" if red == 5 else "stop") for red in range(10)]
    assert stand_in.most == 3


def test_it_hands_over_the_chat_text_and_the_prepared_pictures(llava: Path) -> None:
    stand_in, asked = StandIn(), request(1)
    engine(llava, stand_in).describe([asked])
    (prompt,) = stand_in.prompts
    assert prompt["prompt"] == "USER: <image>\nHow? ASSISTANT:"
    assert prompt["multi_modal_data"]["image"] == list(asked.images)


def test_the_failure_of_one_is_returned_in_its_place(llava: Path) -> None:
    first, bad, last = engine(llava, StandIn()).describe([request(1), request(13), request(2)])
    assert (first, last) == (Reply(text="red 1"), Reply(text="red 2"))
    assert isinstance(bad, EngineError)
    assert "s13" in str(bad)
    assert "stack" not in str(bad)


def test_a_dead_engine_is_raised(llava: Path) -> None:
    with pytest.raises(EngineError, match="vLLM stopped") as caught:
        engine(llava, StandIn()).describe([request(14)])
    assert caught.value.retryable


def test_what_changes_the_text_changes_the_signature_and_the_number_in_flight_does_not(llava: Path) -> None:
    plain = VllmEngine(str(llava))
    assert VllmEngine(str(llava), in_flight=9).signature == plain.signature
    for other in ({"dtype": "float16"}, {"options": VllmOptions(quantization="awq")}, {"max_new_tokens": 9}):
        assert VllmEngine(str(llava), **other).signature != plain.signature


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed")
def test_without_vllm_it_says_what_to_install(llava: Path) -> None:
    made = open_engine(DescribeOptions(engine="vllm", model=str(llava)), RunOptions())
    with pytest.raises(EngineError, match="needs vLLM") as caught:
        made.describe([request(1)])
    assert "mien[vllm]" in caught.value.hint
