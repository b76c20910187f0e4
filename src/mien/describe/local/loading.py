"""Brings a describing model and its processor from a folder to a device, set to write what is likeliest.

Goes in: a folder, how its weights are to be held. Comes out: a model, a processor, tokens that end an answer.
Knows nothing about: requests, batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any, Literal

from pydantic import JsonValue

from mien.describe.local.model_errors import first_line, unloadable
from mien.describe.local.model_folder import ModelFolder
from mien.errors import EngineDownError, WeightsError

__all__ = [
    "Loading",
    "decode_greedily",
    "load_processor",
    "load_weights",
    "on_device",
    "stop_tokens",
    "transformers_library",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loading:
    """How a model's weights are brought to a device."""

    dtype: str
    device: str
    quantize: Literal["8bit", "4bit"] | None = None
    compile: bool = False

    def identity(self) -> Mapping[str, JsonValue]:
        """What of it may change a word beside the dtype; nothing for plain loading, whose key stays."""
        changed: dict[str, JsonValue] = {"quantize": self.quantize} if self.quantize else {}
        return {**changed, "compile": True} if self.compile else changed


def transformers_library() -> Any:
    # As Any, because its annotations do not hold; and late, because it takes seconds.
    import transformers

    return transformers


def load_processor(folder: ModelFolder) -> Any:
    try:
        # Pillow's image operations: torchvision does not import beside a CPU torch from the registry.
        return transformers_library().AutoProcessor.from_pretrained(folder.path, backend="pil")
    except ImportError as error:
        raise EngineDownError(
            f"the processor of {folder.name} needs a library that is missing: {first_line(error)}",
            hint="install it with: pip install 'mien[vlm]'",
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise unloadable(folder, error) from error


def load_weights(folder: ModelFolder, how: Loading) -> Any:
    from safetensors import SafetensorError

    try:
        with _no_progress_bar():
            model, found = transformers_library().AutoModelForImageTextToText.from_pretrained(
                folder.path,
                dtype=how.dtype,
                use_safetensors=True,
                output_loading_info=True,
                **_quantization(folder, how),
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


def _quantization(folder: ModelFolder, how: Loading) -> dict[str, Any]:
    if how.quantize is None:
        return {}
    if find_spec("bitsandbytes") is None:
        raise EngineDownError(
            f"model {folder.name} in {how.quantize} needs the library bitsandbytes",
            hint="install it with: pip install 'mien[quantize]', or leave out describe.options.quantize",
        )
    config = transformers_library().BitsAndBytesConfig(
        load_in_8bit=how.quantize == "8bit",
        load_in_4bit=how.quantize == "4bit",
        bnb_4bit_compute_dtype=how.dtype,
    )
    return {"quantization_config": config, "device_map": how.device}


def on_device(model: Any, device: str) -> Any:
    try:
        return model.to(device)
    except (RuntimeError, AssertionError) as error:  # AssertionError: torch without CUDA
        raise EngineDownError(
            f"device {device!r} cannot be used: {first_line(error)}",
            hint="set run.device to cpu, cuda or mps",
        ) from error


def stop_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """The tokens that end an answer."""
    told = model.generation_config.eos_token_id
    if told is None:
        told = tokenizer.eos_token_id
    if told is None:
        return frozenset()
    return frozenset([told] if isinstance(told, int) else told)


def decode_greedily(model: Any, stops: frozenset[int], pad: int | None) -> None:
    """Replaces what a model brings along: some ask for sampling, beams or penalties by themselves."""
    model.generation_config = transformers_library().GenerationConfig(
        do_sample=False,
        num_beams=1,
        eos_token_id=sorted(stops) or None,
        bos_token_id=model.generation_config.bos_token_id,
        pad_token_id=pad,
    )


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    logging = transformers_library().utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
