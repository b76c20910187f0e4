"""Where a describing model's files lie, and what they are: found by name or path, told apart by content.

Goes in: the name of an embedded model, a folder, or a Hugging Face id. Comes out: a folder and its identity.
Knows nothing about: how the files are loaded. It imports no model library but the one that fetches files.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue

from mien.digests import digest, file_version
from mien.errors import WeightsError
from mien.playhouse.embedded_models import embedded

__all__ = ["ModelFolder", "find_model", "square_input"]

_EMBEDDED: Final = "playhouse"

# The files that may change what a model writes; model cards, logs and other formats of the weights may not.
_FILES: Final = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("chat_template.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt"),
    *("merges.txt", "model.safetensors.index.json", "*.safetensors"),
)

# Settings of image processors that cut a picture into tiles of its own shape instead of one square.
_TILING: Final = ("image_grid_pinpoints", "crop_to_patches", "do_image_splitting", "do_pan_and_scan")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """A model's files; `revision` if they came by name from the Hub, which vouches for their content."""

    name: str
    path: Path
    revision: str | None = None

    def identity(self) -> Mapping[str, JsonValue]:
        """What the model is, wherever it lies: name and commit, or a digest of all files that matter.

        Reads the whole of a local folder's weights: 8 MB in no time, 14 GB in about ten seconds.
        """
        if self.revision is not None:
            return {"model": self.name, "revision": self.revision}
        files = sorted({file for pattern in _FILES for file in self.path.glob(pattern)})
        return {"weights": digest({file.name: _file_digest(file) for file in files})}


def find_model(name: str, revision: str | None = None) -> ModelFolder:
    """The folder of "playhouse", of a path, or of a Hugging Face id, fetched if need be and allowed."""
    if name == _EMBEDDED:
        return _checked(ModelFolder(name=name, path=embedded("llava")))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _checked(ModelFolder(name=folder.resolve().name, path=folder))
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise WeightsError(
            f"no model at {name}",
            hint="give a folder that save_pretrained wrote, a Hugging Face id, or playhouse",
        )
    return _fetched(name, revision)


def square_input(folder: Path) -> int | None:
    """Pixels of the one square to which a model's processor brings every picture; None if it does not."""
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
            whole = _json(file)
            settings = whole if section is None else whole.get(section)
            if isinstance(settings, dict):
                return settings
    return {}


def _json(file: Path) -> dict[str, Any]:
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="download the model again") from error
    return value if isinstance(value, dict) else {}


def _checked(model: ModelFolder) -> ModelFolder:
    for pattern in ("config.json", "*.safetensors"):
        if not any(model.path.glob(pattern)):
            raise WeightsError(
                f"{model.path} holds no {pattern}", hint="give a folder that save_pretrained wrote"
            )
    return model


def _fetched(name: str, revision: str | None) -> ModelFolder:
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(_FILES))
    except (OSError, ValueError) as error:  # of which all errors of the Hub are kinds; this is the seam
        reason = str(error).partition("\n")[0]
        raise WeightsError(
            f"model {name!r} is not here and could not be fetched: {reason}",
            hint="check the name, log in with `hf auth login` if it is gated, or give a folder",
        ) from error
    # The Hub's cache names each folder by the commit.
    return _checked(ModelFolder(name=name, path=Path(path), revision=Path(path).name))


def _file_digest(file: Path) -> str:
    """Read once in a process: weights have gigabytes, and a command asks for them more than once."""
    return _read_digest(file, *file_version(file))


@lru_cache(maxsize=64)
def _read_digest(file: Path, *version: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
