"""A model's processor: how it formats a prompt, and which image size it makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from mien.describe.engine import Request
from mien.describe.local.library import load_error, transformers_library
from mien.describe.reasoning import is_reasoning_marker, thinking_switches
from mien.documents import read_json as read_document
from mien.errors import EngineDownError, WeightsError, first_line
from mien.weights.model_folder import ModelFolder

__all__ = [
    "decode_tokens",
    "format_prompt",
    "load_processor",
    "reasoning_tokens",
    "square_image_size",
]

# Settings of image processors that split an image into tiles instead of fitting it to one square.
_TILING: Final = ("image_grid_pinpoints", "crop_to_patches", "do_image_splitting", "do_pan_and_scan")


def load_processor(folder: ModelFolder) -> Any:
    """Loads the processor of a model.

    Raises:
        EngineDownError: it needs a library that is not installed.
        WeightsError: its files cannot be read.
    """
    try:
        # Pillow's image operations: torchvision cannot be imported next to a CPU build of torch from PyPI.
        return transformers_library().AutoProcessor.from_pretrained(folder.path, backend="pil")
    except ImportError as error:
        raise EngineDownError(
            f"the processor of {folder.name} needs a library that is missing: {first_line(error)}",
            hint="install it with: pip install 'mien[vlm]'",
        ) from error
    except Exception as error:  # a folder may hold anything, and then raises nearly anything in the library
        raise load_error(folder, error) from error


def format_prompt(processor: Any, request: Request, *, thinking: bool | None = None) -> str:
    """The text for the tokenizer: the chat template, filled in, with a placeholder per image.

    Without a template, the prompt takes the format that LLaVA-1.5 was trained with.

    Args:
        processor: the model's processor.
        request: what to ask.
        thinking: whether the model is to reason first; None leaves it to the template.
    """
    if processor.chat_template is None:
        placeholders = f"{getattr(processor, 'image_token', '<image>')}\n" * len(request.images)
        return f"USER: {placeholders}{request.prompt} ASSISTANT:"
    content = [{"type": "image"} for _ in request.images] + [{"type": "text", "text": request.prompt}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True, **thinking_switches(thinking)
    )
    return text


def reasoning_tokens(tokenizer: Any) -> frozenset[int]:
    """The special tokens that mark reasoning, which decoding without special tokens would drop."""
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return frozenset(
        number for number, token in added.items() if token.special and is_reasoning_marker(token.content)
    )


def decode_tokens(tokenizer: Any, sequences: Sequence[Sequence[int]]) -> list[str]:
    """The texts of token ids without special tokens, except for markers of reasoning."""
    markers = reasoning_tokens(tokenizer)
    if not markers:
        return list(tokenizer.batch_decode(sequences, skip_special_tokens=True))
    added = tokenizer.added_tokens_decoder
    dropped = {number for number, token in added.items() if token.special} - markers
    kept = [[token for token in tokens if token not in dropped] for tokens in sequences]
    return list(tokenizer.batch_decode(kept, skip_special_tokens=False))


def square_image_size(folder: Path) -> int | None:
    """Side in pixels of the one square that the processor makes of every image; None if it makes no such.

    Reads the settings only and imports no library.
    """
    settings = _image_settings(folder)
    if any(settings.get(name) for name in _TILING):
        return None
    size = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    if isinstance(size, int):
        return size
    if isinstance(size, dict) and size.get("height") == size.get("width"):
        side = size.get("height")
        return side if isinstance(side, int) else None
    return None


def _image_settings(folder: Path) -> dict[str, Any]:
    """The image processor's settings, from either of the two files that may hold them."""
    for name, section in (("processor_config.json", "image_processor"), ("preprocessor_config.json", None)):
        file = folder / name
        if file.is_file():
            content = _read_json(file)
            settings = content if section is None else content.get(section)
            if isinstance(settings, dict):
                return settings
    return {}


def _read_json(file: Path) -> dict[str, Any]:
    try:
        value = read_document(file)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="download the model again") from error
    return value if isinstance(value, dict) else {}
