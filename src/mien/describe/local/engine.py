"""Any Hugging Face image-text-to-text model, run here in batches, writing what it finds most likely.

Goes in: requests. Comes out: replies, equal to those of one request at a time.
Knows nothing about: stores, keys, where pictures come from.

torch and transformers are imported when the first request comes: a full store needs no model. Two things
make a batch equal to one by one: shorter questions are padded on the left, where the answer does not
begin, and the padding is masked. LLaVA lost 11 points at batch 2 in a known harness without.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.local.chat_template import chat_text
from mien.describe.local.loading import (
    Loading,
    decode_greedily,
    load_processor,
    load_weights,
    on_device,
    stop_tokens,
    transformers_library,
)
from mien.describe.local.model_errors import is_out_of_memory, model_errors
from mien.describe.local.model_folder import ModelFolder, find_model, square_input
from mien.errors import EngineError
from mien.recipe import DescribeOptions, Options, RunOptions

__all__ = ["LocalEngine", "LocalModel", "LocalOptions"]

log = logging.getLogger(__name__)

# Raise this when the same model comes to be asked, or its answer read, in another way.
_VERSION: Final = 1


class LocalOptions(Options):
    """`revision`: branch, tag or commit of a model that is named by its Hugging Face id.

    `quantize`: weights in fewer bits (by bitsandbytes, on a GPU). `compile`: by torch.compile; slow to start,
    and its rounding may change a word, so both are part of the signature.
    """

    revision: str | None = None
    quantize: Literal["8bit", "4bit"] | None = None
    compile: bool = False


class LocalEngine(Engine):
    """Greedy decoding of at most `max_new_tokens` with a model given by folder, id, or "playhouse"."""

    def __init__(
        self,
        model: str | Path,
        *,
        dtype: Literal["float32", "bfloat16", "float16"] = "float32",
        device: str = "cpu",
        max_new_tokens: int = 160,
        revision: str | None = None,
        quantize: Literal["8bit", "4bit"] | None = None,
        compile: bool = False,
        loaded: LocalModel | None = None,
    ) -> None:
        """`loaded`: the folder's model, for who has it in memory already."""
        self._loaded = loaded
        self._folder = find_model(str(model), revision)
        self._loading = Loading(dtype=dtype, device=device, quantize=quantize, compile=compile)
        self._max_new_tokens = max_new_tokens
        self._fits: int | None = None  # requests at once, once the memory has told
        self._lock = threading.Lock()

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = LocalOptions.parse(options.options, where="[describe.options] of engine 'local'")
        return cls(
            options.model,
            dtype=options.dtype,
            device=run.device,
            max_new_tokens=options.max_new_tokens,
            revision=own.revision,
            quantize=own.quantize,
            compile=own.compile,
        )

    @property
    def name(self) -> str:
        return f"local/{self._folder.name}"

    @cached_property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "engine": "local",
            "version": _VERSION,
            **self._folder.identity(),
            "dtype": self._loading.dtype,
            **self._loading.identity(),
            "decoding": "greedy",
            "max_new_tokens": self._max_new_tokens,
        }

    @cached_property
    def image_size(self) -> int | None:
        return square_input(self._folder.path)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        with self._lock:
            replies: list[Reply | EngineError] = []
            while len(replies) < len(requests):
                replies += self._answer(requests[len(replies) :])
            return replies

    def _answer(self, requests: Sequence[Request]) -> list[Reply | EngineError]:
        """Replies to as many of the first requests as the memory holds, which is remembered."""
        size = min(len(requests), self._fits or len(requests))
        with model_errors(self._folder):
            model = self._model  # here: a load that fails is no batch that is too large
        while True:
            try:
                with model_errors(self._folder):
                    return model.answer(requests[:size], self._max_new_tokens)
            except EngineError as error:
                if size == 1 or not is_out_of_memory(error):
                    raise
            # Outside of the handler: the traceback that it holds keeps the tensors alive.
            size = self._fits = (size + 1) // 2
            log.info("out of memory; going on with %d requests at once", size)
            model.free()

    @cached_property
    def _model(self) -> LocalModel:
        return self._loaded or LocalModel.load(self._folder, self._loading)


class LocalModel:
    """A loaded model with its processor."""

    def __init__(self, model: Any, processor: Any, stops: frozenset[int]) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._stops = stops

    @classmethod
    def load(cls, folder: ModelFolder, how: Loading) -> LocalModel:
        processor = load_processor(folder)
        model = load_weights(folder, how)
        if how.quantize is None:  # bitsandbytes has put the others where they are to stay
            model = on_device(model, how.device)
        if how.compile:
            import torch

            model.forward = torch.compile(model.forward, dynamic=True)
        return cls.of(model, processor)

    @classmethod
    def of(cls, model: Any, processor: Any) -> LocalModel:
        """A model and a processor, set to write what is likeliest."""
        stops = stop_tokens(model, processor.tokenizer)
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        decode_greedily(model, stops, processor.tokenizer.pad_token_id)
        return cls(model, processor, stops)

    def answer(self, requests: Sequence[Request], max_new_tokens: int) -> list[Reply | EngineError]:
        import torch

        inputs = self._inputs(requests)
        with torch.inference_mode():
            written = self._model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                past_key_values=_roomy_cache(self._model.config, max_new_tokens),
            )
        return self._replies(written[:, inputs["input_ids"].shape[1] :].tolist())

    def free(self) -> None:
        """Gives back memory that a broken-off batch left with the device's allocator."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _inputs(self, requests: Sequence[Request]) -> Any:
        texts = [chat_text(self._processor, request) for request in requests]
        bos = self._tokenizer.bos_token
        inputs = self._processor(
            text=texts,
            images=[list(request.images) for request in requests],
            padding=True,
            padding_side="left",
            return_tensors="pt",
            # A chat template may have written the first token already.
            add_special_tokens=not (bos and texts[0].startswith(bos)),
        )
        return inputs.to(self._model.device, self._model.dtype)

    def _replies(self, written: list[list[int]]) -> list[Reply | EngineError]:
        """The words of the tokens that were written to each request, up to the one that ends an answer."""
        answers: list[list[int]] = []
        ended: list[bool] = []
        for tokens in written:
            end = next((i for i, token in enumerate(tokens) if token in self._stops), None)
            answers.append(tokens[:end])
            ended.append(end is not None)
        texts = self._tokenizer.batch_decode(answers, skip_special_tokens=True)
        return [
            Reply(text=text.strip(), finish="stop" if whole else "length")
            for text, whole in zip(texts, ended, strict=True)
        ]


def _roomy_cache(config: Any, max_new_tokens: int) -> Any:
    """Keys and values with room for the whole answer; None where a model keeps anything but those.

    transformers' own cache is copied for each token: a fifth of the time at batch 32 on a CPU.
    """
    cache_utils: Any = transformers_library().cache_utils
    plain = cache_utils.DynamicLayer

    class Roomy(plain):  # type: ignore[misc, valid-type]  # known only at run time
        keys: Any
        values: Any

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            start = self.keys.shape[-2] if self.is_initialized else 0
            end = start + keys.shape[-2]
            if not self.is_initialized:
                self.lazy_initialization(keys, values)
                self.room = [_with_room(each, max_new_tokens) for each in (keys, values)]
            for room, new in zip(self.room, (keys, values), strict=True):
                room[..., start:end, :] = new
            self.keys, self.values = (room[..., :end, :] for room in self.room)
            return self.keys, self.values

    cache = cache_utils.DynamicCache(config=config)
    # Sliding windows, states of recurrent layers and cross-attention are left to transformers.
    if config.is_encoder_decoder or any(type(layer) is not plain for layer in cache.layers):
        return None
    cache.layers = [Roomy() for _ in cache.layers]
    return cache


def _with_room(states: Any, more: int) -> Any:
    *outer, length, width = states.shape
    return states.new_empty((*outer, length + more, width))
