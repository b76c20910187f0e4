"""vLLM in this process: an optional engine, imported with the first request.

All requests go to vLLM at once, up to a limit in flight, because it batches better than any caller can. Its
cache of processed images is off: here every image is sent only once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import CancelledError
from functools import cached_property, partial
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final, Literal, Self, cast
from uuid import uuid4

from pydantic import Field, JsonValue

from mien.describe.background_loop import BackgroundLoop
from mien.describe.engine import (
    FIRST_TOKENS,
    NUM_ALTERNATIVES,
    AbandonedError,
    Engine,
    Reply,
    Request,
    TokenUsage,
)
from mien.describe.local.processor import (
    decode_tokens,
    format_prompt,
    load_processor,
    reasoning_tokens,
    square_image_size,
)
from mien.describe.reasoning import open_marker
from mien.errors import EngineDownError, EngineError, first_line
from mien.recipe import DescribeOptions, Options, RunOptions
from mien.weights.dtypes import resolve_dtype
from mien.weights.model_folder import find_model

__all__ = ["VllmEngine", "VllmOptions"]

# Raise this when the same model is prompted, or its output read, in another way.
_VERSION: Final = 1
_CALLS_AT_ONCE: Final = 4
_MAX_CAUSES: Final = 20
_SECONDS_TO_FINISH: Final = 6.0  # after a signal; `mien describe` waits for eight
_SECONDS_TO_ABORT: Final = 0.5  # for the step of a batch that its processes are in
_SECONDS_TO_CLOSE: Final = 10.0  # vLLM gives its processes five
_HINT: Final = "install it with: pip install 'mien[vllm]', on a machine with a GPU"


class VllmOptions(Options):
    """[describe.options] of engine "vllm"; all of them are part of the signature.

    Attributes:
        revision: branch, tag or commit of a model that is given by its Hugging Face id.
        quantization: vLLM's setting of this name.
        max_model_len: vLLM's setting of this name, in tokens.
        enforce_eager: vLLM's setting of this name: start without compiling, and describe more slowly.
        thinking: turn the model's reasoning on or off in its chat template; by default the template decides.
    """

    revision: str | None = None
    quantization: str | None = None
    max_model_len: int | None = Field(default=None, gt=0)
    enforce_eager: bool = False
    thinking: bool | None = None


class VllmEngine(Engine):
    """Greedy decoding with vLLM's asynchronous engine.

    Args:
        model: a folder, a Hugging Face id, or "playhouse" for the embedded model.
        dtype: floating-point type of the weights.
        max_new_tokens: longest text, in tokens.
        in_flight: most requests that vLLM gets at the same time.
        options: see `VllmOptions`.
        first_words: ask for the likeliest first words of each text, too, and read the common beginning of
            prompts once.
        start: creates vLLM's engine from a folder, a dtype, options and whether prompts share their
            beginnings; tests pass a replacement.
    """

    def __init__(
        self,
        model: str,
        *,
        dtype: Literal["float32", "bfloat16", "float16"] = "bfloat16",
        max_new_tokens: int = 160,
        in_flight: int = 256,
        options: VllmOptions | None = None,
        first_words: bool = False,
        start: Callable[[Path, str, VllmOptions, bool], Any] | None = None,
    ) -> None:
        self._options = options or VllmOptions()
        self._model = model
        self._folder = find_model(model, self._options.revision)
        self._dtype = dtype
        self._max_new_tokens = max_new_tokens
        self._in_flight = in_flight
        self._first_words = first_words
        self._start = start or _start_vllm
        self._lock = threading.Lock()
        self._background: BackgroundLoop | None = None
        self._semaphore: asyncio.Semaphore | None = None
        self._closing: Callable[[], object] | None = None
        self._running = weakref.WeakSet[asyncio.Task[Any]]()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = VllmOptions.parse(options.options, where="[describe.options] of engine 'vllm'")
        return cls(
            options.model,
            dtype=resolve_dtype(options.dtype, run.device),
            max_new_tokens=options.max_new_tokens,
            in_flight=_CALLS_AT_ONCE * run.fixed_batch_size,
            options=own,
        )

    def for_first_words(self) -> VllmEngine:
        """The same model, asked for the likeliest first words of each answer."""
        return VllmEngine(
            self._model,
            dtype=self._dtype,
            max_new_tokens=FIRST_TOKENS,
            in_flight=self._in_flight,
            options=self._options,
            first_words=True,
            start=self._start,
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
            **({"enforce_eager": True} if self._options.enforce_eager else {}),
            **({} if self._options.thinking is None else {"thinking": self._options.thinking}),
            "decoding": "greedy",
            "max_new_tokens": self._max_new_tokens,
        }

    @property
    def origin(self) -> Mapping[str, JsonValue] | None:
        return self._folder.origin()

    @cached_property
    def image_size(self) -> int | None:
        return square_image_size(self._folder.path)

    @property
    def calls_at_once(self) -> int:
        """Enough that new requests arrive while the last ones of an older call finish."""
        return _CALLS_AT_ONCE

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        try:
            return self._loop.run(self._describe_all(requests))
        except CancelledError:
            return [
                AbandonedError(f"vLLM was closed before it had described {request.subject_id!r}")
                for request in requests
            ]

    def stop(self) -> None:
        """Leaves vLLM a few seconds to finish, then closes it: it would outlive a process that is ended."""
        _silence()  # a signal may have ended vLLM's processes as well, which it reports over pages
        timer = threading.Timer(_SECONDS_TO_FINISH, self.close)
        timer.daemon = True
        timer.start()

    def close(self) -> None:
        with self._lock:
            if self._closing is not None:
                self._closing()

    @property
    def _loop(self) -> BackgroundLoop:
        with self._lock:
            self._background = self._background or BackgroundLoop("vllm")
            return self._background

    @cached_property
    def _vllm(self) -> Any:
        self._folder.fetch_weights()
        # vLLM's processes inherit the mask: Ctrl-C in a terminal reaches them, too, but we end them in order.
        # Python's tracker of shared memory removes it when it starts, so it starts first.
        resource_tracker.ensure_running()
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
        engine = self._start(self._folder.path, self._dtype, self._options, self._first_words)
        # Also at the end of this process: vLLM would be taken apart while its threads run.
        self._closing = weakref.finalize(
            self, self._loop.close, partial(_shut_down, engine, self._running), timeout=_SECONDS_TO_CLOSE
        )
        return engine

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self._folder)

    async def _describe_all(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        semaphore = self._semaphore = self._semaphore or asyncio.Semaphore(self._in_flight)
        engine = self._vllm  # created inside the event loop, to which it is bound
        self._running.add(cast("asyncio.Task[Any]", asyncio.current_task()))

        async def describe_one(request: Request) -> Reply | EngineError:
            async with semaphore:
                return await self._describe_one(engine, request)

        return list(await asyncio.gather(*(describe_one(request) for request in requests)))

    async def _describe_one(self, engine: Any, request: Request) -> Reply | EngineError:
        text = format_prompt(self._processor, request, thinking=self._options.thinking)
        prompt = {
            "prompt": text,
            "multi_modal_data": {"image": list(request.images)},
        }
        last = None
        try:
            async for output in engine.generate(
                prompt=prompt, sampling_params=self._sampling, request_id=uuid4().hex
            ):
                last = output
        except Exception as error:  # noqa: BLE001  vLLM may raise anything
            return self._failure(request, error, is_dead=bool(getattr(engine, "errored", False)))
        if last is None or not last.outputs:
            return EngineError(f"vLLM gave no output for {request.subject_id!r}", retryable=True)
        output = last.outputs[0]
        finish: Literal["stop", "length"] = "length" if output.finish_reason == "length" else "stop"
        return Reply(
            text=(open_marker(text) + self._text(output)).strip(),
            finish=finish,
            first_words=_first_words(output) if self._first_words else (),
            usage=None
            if last.prompt_token_ids is None
            else TokenUsage(prompt=len(last.prompt_token_ids), completion=len(output.token_ids)),
        )

    def _text(self, output: Any) -> str:
        """The text of an output; decoded again if vLLM dropped special tokens that mark reasoning."""
        tokenizer = getattr(self._processor, "tokenizer", None)
        if tokenizer is None or not reasoning_tokens(tokenizer):
            return str(output.text)
        return decode_tokens(tokenizer, [list(output.token_ids)])[0]

    @cached_property
    def _sampling(self) -> Any:
        """Greedy decoding, with only the final text returned."""
        settings = {"temperature": 0.0, "max_tokens": self._max_new_tokens, "seed": 0}
        if self._first_words:
            settings["logprobs"] = NUM_ALTERNATIVES
        if self._start is not _start_vllm:
            return settings
        from vllm import SamplingParams  # type: ignore[import-not-found]
        from vllm.sampling_params import RequestOutputKind  # type: ignore[import-not-found]

        return SamplingParams(**settings, output_kind=RequestOutputKind.FINAL_ONLY)

    def _failure(self, request: Request, error: Exception, *, is_dead: bool) -> EngineError:
        message = _reason(error)
        if is_dead:
            raise EngineDownError(
                f"vLLM stopped: {message}",
                hint="run again; finished descriptions are kept. If its process was killed, memory may have "
                "run out: lower run.batch_size or describe.options.max_model_len",
                retryable=True,
            ) from error
        return EngineError(
            f"vLLM failed on {request.subject_id!r}: {message}",
            hint="check that the model takes such images and prompts",
        )


def _first_words(output: Any) -> tuple[tuple[str, float], ...]:
    """The alternatives to the first token that is not blank, each a text and a log-probability."""
    for token, alternatives in zip(output.token_ids, output.logprobs or (), strict=False):
        if (alternatives[token].decoded_token or "").strip():
            return tuple((one.decoded_token or "", float(one.logprob)) for one in alternatives.values())
    return ()


def _reason(error: BaseException) -> str:
    """What an error says, and its first cause: vLLM says only that a processor failed, or nothing at all."""
    causes = [error]
    while (cause := causes[-1].__cause__ or causes[-1].__context__) is not None and len(causes) < _MAX_CAUSES:
        causes.append(cause)
    told = [cause for cause in (causes[0], causes[-1]) if str(cause).strip()] or causes[:1]
    return ", because of ".join(dict.fromkeys(first_line(cause, with_type=True) for cause in told))


async def _shut_down(engine: Any, running: Collection[asyncio.Task[Any]]) -> None:
    """Ends vLLM's processes; here, in the event loop, so that nothing of vLLM runs while they end."""
    _silence()
    if waiting := list(running):
        # Requests first: vLLM's processes report it over pages if they end while they work.
        for task in waiting:
            task.cancel()
        await asyncio.wait(waiting, timeout=1)
        await asyncio.sleep(_SECONDS_TO_ABORT)
    engine.shutdown()
    # vLLM calls it again when it is deleted, which may be while Python takes its modules apart.
    engine.shutdown = lambda *_, **__: None


def _silence() -> None:
    """Stops vLLM's log, for which the end of its processes is always an error."""
    logging.getLogger("vllm").setLevel(logging.CRITICAL + 1)


def _start_vllm(path: Path, dtype: str, options: VllmOptions, share_prefixes: bool) -> Any:
    os.environ.setdefault("VLLM_LOGGING_STREAM", "ext://sys.stderr")  # stdout is for data
    os.environ.setdefault("VLLM_LOGGING_LEVEL", "ERROR")
    try:
        from vllm import AsyncEngineArgs
        from vllm.v1.engine.async_llm import AsyncLLM  # type: ignore[import-not-found]
    except ImportError as error:
        raise EngineDownError(f"engine 'vllm' needs vLLM: {first_line(error)}", hint=_HINT) from error
    except Exception as error:  # libraries with compiled parts fail in their own ways
        raise EngineDownError(
            f"vLLM cannot be imported: {first_line(error, with_type=True)}",
            hint="install vLLM in an environment of its own",
        ) from error
    try:
        return AsyncLLM.from_engine_args(
            AsyncEngineArgs(
                model=str(path),
                dtype=dtype,
                quantization=options.quantization,
                max_model_len=options.max_model_len,
                enforce_eager=options.enforce_eager,
                seed=0,
                mm_processor_cache_gb=0,
                enable_prefix_caching=share_prefixes,
                disable_log_stats=True,
            )
        )
    except Exception as error:  # no GPU, no memory, or an unknown architecture
        raise EngineDownError(
            f"vLLM cannot start with {path}: {first_line(error, with_type=True)}",
            hint="check that the GPU is free and that vLLM supports the model, or use engine 'local'",
        ) from error
