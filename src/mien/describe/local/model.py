"""A loaded image-text-to-text model that answers batches with greedy decoding."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import JsonValue

from mien.describe.engine import Reply, Request, TokenUsage
from mien.describe.local.library import cache_keyword, load_error, transformers_library
from mien.describe.local.processor import decode_tokens, format_prompt, load_processor
from mien.describe.reasoning import open_marker
from mien.errors import EngineDownError, EngineError, WeightsError, first_line
from mien.weights.model_folder import ModelFolder

__all__ = ["LoadOptions", "LocalModel", "decoder_start_tokens"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model's weights are loaded onto a device."""

    dtype: str
    device: str
    quantize: Literal["8bit", "4bit"] | None = None
    compile: bool = False

    def identity(self) -> Mapping[str, JsonValue]:
        """The options besides dtype that may change the text; empty for plain loading."""
        changed: dict[str, JsonValue] = {"quantize": self.quantize} if self.quantize else {}
        return {**changed, "compile": True} if self.compile else changed


class LocalModel:
    """A model on its device, with its processor."""

    def __init__(self, model: Any, processor: Any, stop_tokens: frozenset[int]) -> None:
        self._model = model
        self._processor = processor
        self._tokenizer = processor.tokenizer
        self._stop_tokens = stop_tokens

    @classmethod
    def load(cls, folder: ModelFolder, options: LoadOptions) -> LocalModel:
        """Loads a model.

        Raises:
            WeightsError: files are missing or damaged.
            EngineDownError: the device or a library is not available.
        """
        folder.fetch_weights()
        processor = load_processor(folder)
        model = _load_weights(folder, options)
        if options.quantize is None:  # bitsandbytes has already placed quantized weights
            model = _move(model, options.device)
        if options.compile:
            import torch

            model.forward = torch.compile(model.forward, dynamic=True)
        return cls.from_modules(model, processor)

    @classmethod
    def from_modules(cls, model: Any, processor: Any) -> LocalModel:
        """Sets a loaded model and its processor up for greedy decoding."""
        stop_tokens = _stop_tokens(model, processor.tokenizer)
        if processor.tokenizer.pad_token is None:
            processor.tokenizer.pad_token = processor.tokenizer.eos_token
        _decode_greedily(model, stop_tokens, processor.tokenizer.pad_token_id)
        return cls(model, processor, stop_tokens)

    def describe(
        self, requests: Sequence[Request], max_new_tokens: int, *, thinking: bool | None = None
    ) -> list[Reply | EngineError]:
        """Returns one reply per request, in order, each of at most `max_new_tokens` tokens.

        Args:
            requests: what to ask.
            max_new_tokens: longest text, reasoning included.
            thinking: whether the model is to reason first; None leaves it to its chat template.
        """
        import torch

        prompts = self._prompt_texts(requests, thinking)
        inputs = self.prepare(prompts, requests)
        with torch.inference_mode():
            tokens = self._model.generate(
                **inputs,
                max_new_tokens=max_new_tokens,
                **{cache_keyword(): _preallocated_cache(self._model.config, max_new_tokens)},
            )
        # A decoder that continues the prompt repeats it; one of its own begins with its start token.
        start = 1 if self.has_encoder else inputs["input_ids"].shape[1]
        num_read = inputs["attention_mask"].sum(dim=1).tolist()  # without padding
        return self._replies(prompts, num_read, tokens[:, start:].tolist())

    def free_memory(self) -> None:
        """Releases memory that a failed batch left with the device's allocator."""
        import torch

        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    @property
    def module(self) -> Any:
        """The model itself."""
        return self._model

    @property
    def processor(self) -> Any:
        """The model's processor, with its tokenizer."""
        return self._processor

    @property
    def has_encoder(self) -> bool:
        """Whether an encoder reads the prompt and a decoder of its own writes the text, as in Florence-2."""
        return bool(self._model.config.is_encoder_decoder)

    def prompt_text(self, request: Request, *, thinking: bool | None = None) -> str:
        """The text of a request for the tokenizer; see `format_prompt`."""
        if self.has_encoder and self._processor.chat_template is None:
            return request.prompt  # its processor adds the image
        return format_prompt(self._processor, request, thinking=thinking)

    def _prompt_texts(self, requests: Sequence[Request], thinking: bool | None) -> list[str]:
        """The text of each request; most are alike, and a chat template takes a while to fill in."""
        texts: dict[tuple[str, int], str] = {}
        for request in requests:
            if (alike := (request.prompt, len(request.images))) not in texts:
                texts[alike] = self.prompt_text(request, thinking=thinking)
        return [texts[request.prompt, len(request.images)] for request in requests]

    def adds_special_tokens(self, text: str) -> bool:
        """Whether the tokenizer is to add its special tokens; a chat template may have written the first."""
        bos = self._tokenizer.bos_token
        return not (bos and text.startswith(bos))

    def prepare(self, texts: list[str], requests: Sequence[Request]) -> Any:
        """What the model takes for these texts, about the images of these requests.

        Texts are padded away from what follows them, and for an encoder, which counts positions from the
        first token, on their right.
        """
        inputs = self._processor(
            text=texts,
            images=[list(request.images) for request in requests],
            padding=True,
            padding_side="right" if self.has_encoder else "left",
            return_tensors="pt",
            add_special_tokens=self.adds_special_tokens(texts[0]),
        )
        return inputs.to(self._model.device, self._model.dtype)

    def _replies(
        self, prompts: Sequence[str], num_read: Sequence[int], generated: list[list[int]]
    ) -> list[Reply | EngineError]:
        """The texts of the generated tokens, each up to its first stop token.

        A text that continues reasoning begins with the marker by which its prompt opened it.
        """
        kept: list[list[int]] = []
        is_complete: list[bool] = []
        for tokens in generated:
            end = next((i for i, token in enumerate(tokens) if token in self._stop_tokens), None)
            kept.append(tokens[:end])
            is_complete.append(end is not None)
        texts = decode_tokens(self._tokenizer, kept)
        return [
            Reply(
                text=(open_marker(prompt) + text).strip(),
                finish="stop" if complete else "length",
                usage=TokenUsage(prompt=count, completion=len(tokens) + complete),
            )
            for prompt, text, complete, count, tokens in zip(
                prompts, texts, is_complete, num_read, kept, strict=True
            )
        ]


# --- Loading ---


def _load_weights(folder: ModelFolder, options: LoadOptions) -> Any:
    quantization = _quantization(folder, options)
    try:
        _check_size(folder)
        with _no_progress_bar():
            model, report = transformers_library().AutoModelForImageTextToText.from_pretrained(
                folder.path,
                dtype=options.dtype,
                use_safetensors=True,
                output_loading_info=True,
                **quantization,
            )
    except Exception as error:  # a folder may hold anything, and then raises nearly anything in the library
        raise load_error(folder, error) from error
    missing = sorted(report["missing_keys"])
    if missing:
        # transformers would continue with random weights and a warning.
        raise WeightsError(
            f"model {folder.name} lacks {len(missing)} weights, such as {missing[0]}",
            hint="download the model again, or save it with save_pretrained",
        )
    return model.eval()


def _check_size(folder: ModelFolder) -> None:
    """Raises OversizedError if the config describes a much larger model than the files hold."""
    from safetensors import safe_open

    from mien.weights.build_limits import check_size

    library = transformers_library()
    config = library.AutoConfig.from_pretrained(folder.path)
    sizes = []
    for file in folder.path.glob("*.safetensors"):
        with safe_open(file, framework="pt") as opened:
            sizes += [math.prod(opened.get_slice(name).get_shape()) for name in opened.keys()]  # noqa: SIM118
    check_size(lambda: library.AutoModelForImageTextToText.from_config(config), sizes, factor=16)


def _quantization(folder: ModelFolder, options: LoadOptions) -> dict[str, Any]:
    if options.quantize is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise EngineDownError(
            f"model {folder.name} in {options.quantize} needs the library bitsandbytes",
            hint="install it with: pip install 'mien[quantize]', or remove describe.options.quantize",
        )
    config = transformers_library().BitsAndBytesConfig(
        load_in_8bit=options.quantize == "8bit",
        load_in_4bit=options.quantize == "4bit",
        bnb_4bit_compute_dtype=options.dtype,
    )
    return {"quantization_config": config, "device_map": options.device}


def _move(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        raise EngineDownError(
            f"device {device!r} cannot be used: {first_line(error)}",
            hint="set run.device to cpu, cuda or mps",
        ) from error


def _stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end a text."""
    tokens = model.generation_config.eos_token_id
    if tokens is None:
        tokens = tokenizer.eos_token_id
    if tokens is None:
        return frozenset()
    return frozenset([tokens] if isinstance(tokens, int) else tokens)


def _decode_greedily(model: Any, stop_tokens: frozenset[int], pad_token: int | None) -> None:
    """Replaces the generation settings that a model brings: some ask for sampling, beams or penalties."""
    start, forced = (*decoder_start_tokens(model), None, None)[:2]
    model.generation_config = transformers_library().GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted(stop_tokens) or None,
        bos_token_id=model.generation_config.bos_token_id,
        pad_token_id=pad_token,
        decoder_start_token_id=start,
        forced_bos_token_id=forced,
    )


def decoder_start_tokens(model: Any) -> list[int]:
    """What a decoder begins with behind an encoder; empty where the prompt is continued."""
    if not model.config.is_encoder_decoder:
        return []
    settings = (model.generation_config, model.config.get_text_config(decoder=True))
    start, forced = (
        next((value for one in settings if (value := getattr(one, name, None)) is not None), None)
        for name in ("decoder_start_token_id", "forced_bos_token_id")
    )
    if start is None:
        raise WeightsError(
            "the model does not say with which token its texts begin",
            hint="set decoder_start_token_id in its generation_config.json",
        )
    return [start] if forced is None else [start, forced]


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    logging = transformers_library().utils.logging
    is_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if is_enabled:
            logging.enable_progress_bar()


# --- Cache of keys and values ---


def _preallocated_cache(config: Any, max_new_tokens: int) -> Any:
    """A cache with room for the whole text; None for a model that caches anything but keys and values.

    transformers' own cache is copied for each token: a fifth of the time at batch 32 on a CPU.
    """
    cache_utils: Any = transformers_library().cache_utils
    dynamic_layer = cache_utils.DynamicLayer

    class PreallocatedLayer(dynamic_layer):  # type: ignore[misc, valid-type]  # known only at run time
        keys: Any
        values: Any

        def update(self, keys: Any, values: Any, *_: Any, **__: Any) -> tuple[Any, Any]:
            start = self.keys.shape[-2] if self.is_initialized else 0
            end = start + keys.shape[-2]
            if not self.is_initialized:
                self.lazy_initialization(keys, values)
                self.buffers = [_buffer(states, max_new_tokens) for states in (keys, values)]
            for buffer, states in zip(self.buffers, (keys, values), strict=True):
                buffer[..., start:end, :] = states
            self.keys, self.values = (buffer[..., :end, :] for buffer in self.buffers)
            return self.keys, self.values

    cache = cache_utils.DynamicCache(config=config)
    # Sliding windows, states of recurrent layers and cross-attention are left to transformers.
    if config.is_encoder_decoder or any(type(layer) is not dynamic_layer for layer in cache.layers):
        return None
    cache.layers = [PreallocatedLayer() for _ in cache.layers]
    return cache


def _buffer(states: Any, num_more: int) -> Any:
    *outer, length, width = states.shape
    return states.new_empty((*outer, length + num_more, width))
