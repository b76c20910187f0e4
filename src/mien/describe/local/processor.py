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
from mien.weights.quiet import quiet_transformers

__all__ = [
    "decode_tokens",
    "format_prompt",
    "load_processor",
    "reasoning_tokens",
    "square_image_size",
]

# Pillow's image operations, where an image processor has them: torchvision's give other pixels, and it cannot
# be imported next to a CPU build of torch from PyPI.
_BACKEND: Final = "pil"

# The parts of a processor that takes videos.
_PARTS: Final = {"image_processor", "tokenizer", "video_processor"}

# Files that may name the class of a processor, the first that does so before the others.
_PROCESSOR_FILES: Final = ("processor_config.json", "preprocessor_config.json", "tokenizer_config.json")

# Settings of image processors that split an image into tiles instead of fitting it to one square.
_TILING: Final = ("image_grid_pinpoints", "crop_to_patches", "do_image_splitting", "do_pan_and_scan")

# Processors that split it in spite of these settings.
_TILING_CLASSES: Final = {"InternVLProcessor"}


def load_processor(folder: ModelFolder) -> Any:
    """Loads the processor of a model.

    Raises:
        EngineDownError: it needs a library that is not installed.
        WeightsError: its files cannot be read.
    """
    try:
        processor_class = _processor_class(folder.path)
        if processor_class is not None and set(processor_class.get_attributes()) == _PARTS:
            return _load_without_video(folder.path, processor_class)
        return transformers_library().AutoProcessor.from_pretrained(folder.path, backend=_BACKEND)
    except ImportError as error:
        raise _import_error(folder, error) from error
    except Exception as error:  # a folder may hold anything, and then raises nearly anything in the library
        raise load_error(folder, error) from error


def _processor_class(folder: Path) -> Any:
    """The class of a processor in transformers; None if it is not one of theirs."""
    library, name = transformers_library(), _processor_name(folder)
    config = library.AutoConfig.from_pretrained(folder) if name is None else None
    try:
        return (
            library.PROCESSOR_MAPPING.get(type(config), None)
            if name is None
            else getattr(library, name, None)
        )
    except Exception as error:  # a library with compiled parts fails in its own way
        raise ImportError(first_line(error)) from error


def _load_without_video(folder: Path, processor_class: Any) -> Any:
    """Loads a processor without its video part, which needs torchvision and is never used here."""
    # In transformers 5.5, `transformers.AutoImageProcessor` is a dummy without torchvision; this one works.
    from transformers.models.auto import image_processing_auto

    images: Any = image_processing_auto.AutoImageProcessor
    parts = {
        "image_processor": images.from_pretrained(folder, backend=_BACKEND),
        "tokenizer": transformers_library().AutoTokenizer.from_pretrained(folder),
        "video_processor": _NoVideo(),
    }
    settings, _ = processor_class.get_processor_dict(folder)
    arguments = [parts[name] for name in processor_class.get_attributes()]
    return _accepting_no_video(processor_class).from_args_and_dict(arguments, settings)


class _NoVideo(dict[str, Any]):
    """Has no settings: some processors read a few of them for every chat. A dict can be shown as JSON."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("_"):
            raise AttributeError(name)


def _accepting_no_video(processor_class: Any) -> Any:
    """The class without its check of the video part's type, which needs torchvision as well."""

    def check(processor: Any, name: str, argument: Any) -> Any:
        if not isinstance(argument, _NoVideo):
            return processor_class.check_argument_for_proper_class(processor, name, argument)
        return _NoVideo

    return type(processor_class.__name__, (processor_class,), {"check_argument_for_proper_class": check})


def _import_error(folder: ModelFolder, error: ImportError) -> EngineDownError:
    """The error of a library that is missing, or is there but cannot be imported."""
    cause: BaseException = error
    while (earlier := cause.__cause__ or cause.__context__) is not None:
        cause = earlier
    if not isinstance(cause, ImportError):
        return EngineDownError(
            f"the processor of {folder.name} needs a library that cannot be imported: "
            f"{first_line(cause, with_type=True)}",
            hint="install builds of torch, torchvision and torchaudio that belong together, or only torch",
        )
    hint = "install it with: pip install 'mien[vlm]'"
    if "torchvision" in str(cause).lower():
        hint = "install the build of torchvision that belongs to this build of torch; see pytorch.org"
    return EngineDownError(
        f"the processor of {folder.name} needs a library that is missing: {first_line(cause)}", hint=hint
    )


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
    with quiet_transformers():  # it warns about switches that a template does not have
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
    if any(settings.get(name) for name in _TILING) or _processor_name(folder) in _TILING_CLASSES:
        return None
    size = settings.get("crop_size") if settings.get("do_center_crop") else settings.get("size")
    if isinstance(size, int):
        return size
    if isinstance(size, dict) and size.get("height") == size.get("width"):
        side = size.get("height")
        return side if isinstance(side, int) else None
    return None


def _processor_name(folder: Path) -> str | None:
    """The name of a processor's class, from the first file that has one."""
    files = [folder / name for name in _PROCESSOR_FILES]
    names = [_read_json(file).get("processor_class") for file in files if file.is_file()]
    return next((name for name in names if isinstance(name, str)), None)


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
