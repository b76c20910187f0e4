"""Any Hugging Face image-text-to-text model, run here in batches, writing what it finds most likely.

Goes in: requests. Comes out: replies, equal to those of one request at a time.
Knows nothing about: stores, keys, where pictures come from.

torch and transformers are imported when the first request comes: a full store needs no model. Two things
make a batch equal to one by one: shorter questions are padded on the left, where the answer does not
begin, and the padding is masked. LLaVA lost 11 points at batch 2 in a known harness without.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import JsonValue

from mien.describe.engine import Engine, Reply, Request
from mien.describe.model_errors import first_line, model_errors, unloadable
from mien.describe.weights import ModelFolder, find_model, square_input
from mien.errors import EngineError, WeightsError
from mien.options import Options
from mien.recipe import DescribeOptions, RunOptions

__all__ = ["LocalEngine", "LocalOptions"]

# Raise this when the same model comes to be asked, or its answer read, in another way.
_VERSION: Final = 1


class LocalOptions(Options):
    """`revision`: branch, tag or commit of a model that is named by its Hugging Face id."""

    revision: str | None = None


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
    ) -> None:
        self._folder = find_model(str(model), revision)
        self._dtype = dtype
        self._device = device
        self._max_new_tokens = max_new_tokens
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
            "dtype": self._dtype,
            "decoding": "greedy",
            "max_new_tokens": self._max_new_tokens,
        }

    @cached_property
    def image_size(self) -> int | None:
        return square_input(self._folder.path)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        with self._lock, model_errors(self._folder):
            return self._model.answer(requests, self._max_new_tokens)

    @cached_property
    def _model(self) -> _Model:
        return _Model.load(self._folder, self._dtype, self._device)


class _Model:
    """A loaded model with its processor."""

    def __init__(self, model: Any, processor: Any, stops: frozenset[int]) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._stops = stops

    @classmethod
    def load(cls, folder: ModelFolder, dtype: str, device: str) -> _Model:
        processor = _load_processor(folder)
        model = _on_device(_load_weights(folder, dtype), device)
        stops = _stops(model, processor.tokenizer)
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        _decode_greedily(model, stops, processor.tokenizer.pad_token_id)
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

    def _inputs(self, requests: Sequence[Request]) -> Any:
        texts = [self._text(request) for request in requests]
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

    def _text(self, request: Request) -> str:
        """The question as the model was taught to be asked, with a place for each picture."""
        if self._processor.chat_template is None:
            # As LLaVA-1.5 was taught.
            places = f"{getattr(self._processor, 'image_token', '<image>')}\n" * len(request.images)
            return f"USER: {places}{request.prompt} ASSISTANT:"
        content = [{"type": "image"} for _ in request.images] + [{"type": "text", "text": request.prompt}]
        text: str = self._processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        return text

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


def _transformers() -> Any:
    # As Any, because its annotations do not hold; and late, because it takes seconds.
    import transformers

    return transformers


def _roomy_cache(config: Any, max_new_tokens: int) -> Any:
    """Keys and values with room for the whole answer; None where a model keeps anything but those.

    transformers' own cache is copied for each token: a fifth of the time at batch 32 on a CPU.
    """
    cache_utils: Any = _transformers().cache_utils
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


# --- Loading -------------------------------------------------------------------------------------------


def _load_processor(folder: ModelFolder) -> Any:
    try:
        # Pillow's image operations: torchvision does not import beside a CPU torch from the registry.
        return _transformers().AutoProcessor.from_pretrained(folder.path, backend="pil")
    except ImportError as error:
        raise EngineError(
            f"the processor of {folder.name} needs a library that is missing: {first_line(error)}",
            hint="install it with: pip install 'mien[vlm]'",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unloadable(folder, error) from error


def _load_weights(folder: ModelFolder, dtype: str) -> Any:
    from safetensors import SafetensorError

    try:
        with _no_progress_bar():
            model, found = _transformers().AutoModelForImageTextToText.from_pretrained(
                folder.path, dtype=dtype, use_safetensors=True, output_loading_info=True
            )
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise unloadable(folder, error) from error
    missing = sorted(found["missing_keys"])
    if missing:
        # transformers would go on with random weights and a warning.
        raise WeightsError(
            f"model {folder.name} lacks {len(missing)} weights, such as {missing[0]}",
            hint="download the model again, or save it with save_pretrained",
        )
    return model.eval()


def _on_device(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        raise EngineError(
            f"device {device!r} cannot be used: {first_line(error)}",
            hint="set run.device to cpu, cuda or mps",
        ) from error


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    told = model.generation_config.eos_token_id
    if told is None:
        told = tokenizer.eos_token_id
    if told is None:
        return frozenset()
    return frozenset([told] if isinstance(told, int) else told)


def _decode_greedily(model: Any, stops: frozenset[int], pad: int | None) -> None:
    """Replaces what a model brings along: some ask for sampling, beams or penalties by themselves."""
    model.generation_config = _transformers().GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted(stops) or None,
        bos_token_id=model.generation_config.bos_token_id,
        pad_token_id=pad,
    )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    logging = _transformers().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
