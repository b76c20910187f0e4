"""A replacement for vLLM's asynchronous engine, for tests in the project's own environment."""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable, Mapping
from types import SimpleNamespace
from typing import Any

CUT, NARROW, REFUSED, FATAL, MUTE, ENDLESS = 5, 12, 13, 14, 15, 16  # red values of the first pixel


class EngineGenerateError(Exception):
    """vLLM's, which has no message."""


class FakeVllm:
    """Answers with the red value of an image's first pixel.

    Args:
        words: the shares of the likeliest first words of an answer, by prompt.

    Attributes:
        prompts: what it was given.
        max_running: most requests that ran at the same time.
        errored: vLLM's flag for an engine that cannot continue.
        shutdowns: names of the threads that ended it.
    """

    def __init__(self, words: Callable[[str], Mapping[str, float]] = lambda _: {"Yes": 1.0}) -> None:
        self.words = words
        self.prompts: list[dict[str, Any]] = []
        self.num_running = self.max_running = 0
        self.errored = False
        self.shutdowns: list[str] = []

    def shutdown(self) -> None:
        self.shutdowns.append(threading.current_thread().name)

    async def generate(self, *, prompt: Any, sampling_params: Any, request_id: str) -> AsyncIterator[Any]:
        self.prompts.append(prompt)
        self.num_running += 1
        self.max_running = max(self.max_running, self.num_running)
        red = prompt["multi_modal_data"]["image"][0].getpixel((0, 0))[0]
        # The first request finishes last.
        await asyncio.sleep(3600 if red == ENDLESS else max(0.0, 0.002 * (20 - red)))
        self.num_running -= 1
        if red == NARROW:
            try:
                raise ValueError("absolute aspect ratio must be smaller than 200, got 227.5")
            except ValueError as error:
                raise ValueError(f"Failed to apply Processor on data={'x' * 5000}") from error
        if red == MUTE:
            try:
                raise ValueError("absolute aspect ratio must be smaller than 200, got 227")
            except ValueError as error:
                raise EngineGenerateError from error
        if red == REFUSED:
            raise ValueError("this image is refused\nand a page of stack")
        if red == FATAL:
            self.errored = True
            raise RuntimeError("EngineDead")
        reason = "length" if red == CUT else "stop"
        output = SimpleNamespace(text=f" red {red} ", finish_reason=reason, token_ids=[0, 1], logprobs=None)
        if "logprobs" in sampling_params:
            output.logprobs = [_alternatives(0, {"\n": 1.0}), _alternatives(1, self.words(prompt["prompt"]))]
        yield SimpleNamespace(outputs=[output], prompt_token_ids=list(range(7 + red)))


def _alternatives(first: int, shares: Mapping[str, float]) -> dict[int, Any]:
    """Words by token, as vLLM lists them."""
    return {
        number: SimpleNamespace(decoded_token=word, logprob=math.log(share))
        for number, (word, share) in enumerate(shares.items(), first)
    }
