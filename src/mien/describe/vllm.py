"""vLLM in this process: every request goes in at once, as many in flight as allowed, and comes out when done.

Goes in: requests. Comes out: replies in the order asked.
Knows nothing about: stores, keys, where pictures come from.

vLLM batches by itself, and better than any caller can. Its cache of processed pictures is off, because here
no picture is asked about twice. vLLM is an extra of its own, is imported late, and runs on a GPU.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final, Literal, Self
from uuid import uuid4

from pydantic import Field, JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.local.chat_template import chat_text
from mien.describe.local.loading import load_processor
from mien.describe.local.model_errors import first_line
from mien.describe.local.model_folder import find_model, square_input
from mien.errors import EngineDownError, EngineError
from mien.recipe import DescribeOptions, Options, RunOptions

__all__ = ["VllmEngine", "VllmOptions"]

# Raise this when the same model comes to be asked, or its answer read, in another way.
_VERSION: Final = 1
_CALLS: Final = 4
_HINT: Final = "install it with: pip install 'mien[vllm]', on a machine with a GPU"


class VllmOptions(Options):
    """What changes the text: the `revision` of the model, and two settings as vLLM knows them."""

    revision: str | None = None
    quantization: str | None = None
    max_model_len: int | None = Field(default=None, gt=0)


class VllmEngine(Engine):
    """Greedy decoding by vLLM's asynchronous engine, which `start` makes; tests bring one of their own."""

    def __init__(
        self,
        model: str,
        *,
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        max_new_tokens: int = 160,
        in_flight: int = 256,
        options: VllmOptions | None = None,
        start: Any = None,
    ) -> None:
        self._options = options or VllmOptions()
        self._folder = find_model(model, self._options.revision)
        self._dtype = dtype
        self._max_new_tokens = max_new_tokens
        self._in_flight = in_flight
        self._start = start or _start_vllm
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._room: asyncio.Semaphore | None = None

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = VllmOptions.parse(options.options, where="[describe.options] of engine 'vllm'")
        return cls(
            options.model,
            dtype=options.dtype,
            max_new_tokens=options.max_new_tokens,
            in_flight=_CALLS * run.batch_size,
            options=own,
        )

    @property
    def name(self) -> str:
        return f"vllm/{self._folder.name}"

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "engine": "vllm",
            "version": _VERSION,
            **self._folder.identity(),
            "dtype": self._dtype,
            "quantization": self._options.quantization,
            "max_model_len": self._options.max_model_len,
            "decoding": "greedy",
            "max_new_tokens": self._max_new_tokens,
        }

    @cached_property
    def image_size(self) -> int | None:
        return square_input(self._folder.path)

    @property
    def calls_at_once(self) -> int:
        """Enough that new requests come in while the last of an older call are finished."""
        return _CALLS

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        return asyncio.run_coroutine_threadsafe(self._answer_all(requests), self._loop).result()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        """The one event loop that the engine lives in, in a thread of its own."""
        with self._lock:
            if self._thread is None:
                self._events = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._events.run_forever, name="vllm", daemon=True)
                self._thread.start()
            return self._events

    @cached_property
    def _vllm(self) -> Any:
        return self._start(self._folder.path, self._dtype, self._options)

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self._folder)

    async def _answer_all(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        room = self._room = self._room or asyncio.Semaphore(self._in_flight)
        engine = self._vllm  # built inside the loop, which it keeps to

        async def answer(request: Request) -> Reply | EngineError:
            async with room:
                return await self._answer(engine, request)

        return list(await asyncio.gather(*(answer(request) for request in requests)))

    async def _answer(self, engine: Any, request: Request) -> Reply | EngineError:
        prompt = {
            "prompt": chat_text(self._processor, request),
            "multi_modal_data": {"image": list(request.images)},
        }
        last = None
        try:
            async for output in engine.generate(
                prompt=prompt, sampling_params=self._sampling, request_id=uuid4().hex
            ):
                last = output
        except Exception as error:  # noqa: BLE001  vLLM raises anything; this is the seam
            return self._failure(request, error, dead=bool(getattr(engine, "errored", False)))
        if last is None or not last.outputs:
            return EngineError(f"vLLM gave no answer to {request.subject_id!r}", retryable=True)
        finish: Literal["stop", "length"] = "length" if last.outputs[0].finish_reason == "length" else "stop"
        return Reply(text=last.outputs[0].text.strip(), finish=finish)

    @cached_property
    def _sampling(self) -> Any:
        """Greedy, and only the whole answer."""
        settings = {"temperature": 0.0, "max_tokens": self._max_new_tokens, "seed": 0}
        if self._start is not _start_vllm:
            return settings
        from vllm import SamplingParams  # type: ignore[import-not-found]
        from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found]

        return SamplingParams(**settings, output_kind=RequestOutputKind.FINAL_ONLY)

    def _failure(self, request: Request, error: Exception, *, dead: bool) -> EngineError:
        message = f"{type(error).__name__}: {first_line(error)}"
        if dead:
            raise EngineDownError(
                f"vLLM stopped: {message}", hint="run again; what was described is kept", retryable=True
            ) from error
        return EngineError(
            f"vLLM failed on {request.subject_id!r}: {message}",
            hint="see whether the model takes such pictures and questions",
        )


def _start_vllm(path: Any, dtype: str, options: VllmOptions) -> Any:
    try:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]
    except ImportError as error:
        raise EngineDownError(f"engine 'vllm' needs vLLM: {first_line(error)}", hint=_HINT) from error
    try:
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=str(path),
                dtype=dtype,
                quantization=options.quantization,
                max_model_len=options.max_model_len,
                seed=0,
                mm_processor_cache_gb=0,
                enable_prefix_caching=False,
                disable_log_stats=True,
            )
        )
    except Exception as error:  # no GPU, no memory, an architecture it does not know; this is the seam
        raise EngineDownError(
            f"vLLM cannot start with {path}: {type(error).__name__}: {first_line(error)}",
            hint="see that the GPU is free and that vLLM knows the model, or use engine local",
        ) from error
