"""Finds the files of a vision-language model, and identifies a model by their content.

Loads nothing, and imports no model library besides the one that downloads files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

from pydantic import JsonValue

from mien.digests import digest, file_version
from mien.documents import require_files
from mien.errors import WeightsError, first_line
from mien.playhouse.embedded_models import embedded_model_folder

__all__ = ["ModelFolder", "find_model"]

_EMBEDDED: Final = "playhouse"

# The files that can change what a model writes; model cards, logs and other weight formats cannot.
_FILES: Final = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("chat_template.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt"),
    *("merges.txt", "model.safetensors.index.json", "*.safetensors"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """The files of a model.

    Attributes:
        name: short name for messages; the Hugging Face id of a model from the Hub.
        path: the folder.
        revision: commit of a model from the Hub, which guarantees the content; None for other folders.
    """

    name: str
    path: Path
    revision: str | None = None

    def identity(self) -> Mapping[str, JsonValue]:
        """What the model is, wherever its folder is: name and commit, or a digest of all relevant files.

        Reads all weights of a local folder: 8 MB take no time, 14 GB about ten seconds.
        """
        if self.revision is not None:
            return {"model": self.name, "revision": self.revision}
        files = sorted({file for pattern in _FILES for file in self.path.glob(pattern)})
        return {"weights": digest({file.name: _file_digest(file) for file in files})}


def find_model(name: str, revision: str | None = None) -> ModelFolder:
    """Finds the folder of a model.

    Args:
        name: "playhouse" for the embedded model, a path, or a Hugging Face id, which is downloaded if needed.
        revision: branch, tag or commit of a model on the Hub.

    Raises:
        WeightsError: there is no such model, it cannot be downloaded, or its folder is incomplete.
    """
    if name == _EMBEDDED:
        return _require_files(ModelFolder(name=name, path=embedded_model_folder("llava")))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _require_files(ModelFolder(name=folder.resolve().name, path=folder))
    if folder.is_absolute() or name.startswith((".", "~")) or name.count("/") > 1:
        raise WeightsError(
            f"no model at {name}",
            hint="give a folder that save_pretrained wrote, a Hugging Face id, or playhouse",
        )
    return _from_hub(name, revision)


def _require_files(model: ModelFolder) -> ModelFolder:
    try:
        require_files(model.path, _FILES)  # libraries would wait for a pipe
    except OSError as error:
        raise WeightsError(f"{error.filename} {error.strerror}", hint="copy the model again") from error
    for pattern in ("config.json", "*.safetensors"):
        if not any(model.path.glob(pattern)):
            raise WeightsError(
                f"{model.path} contains no {pattern}", hint="give a folder that save_pretrained wrote"
            )
    return model


def _from_hub(name: str, revision: str | None) -> ModelFolder:
    import huggingface_hub

    try:
        path = huggingface_hub.snapshot_download(name, revision=revision, allow_patterns=list(_FILES))
    except (OSError, ValueError) as error:  # all errors of the Hub derive from these two
        raise WeightsError(
            f"model {name!r} is not on this machine and cannot be downloaded: {first_line(error)}",
            hint="check the name, log in with `hf auth login` if it is gated, or give a folder",
        ) from error
    # The Hub's cache names each folder by its commit.
    return _require_files(ModelFolder(name=name, path=Path(path), revision=Path(path).name))


def _file_digest(file: Path) -> str:
    """Reads a version of a file once per process: weights have gigabytes and are needed several times."""
    return _read_digest(file, *file_version(file))


@lru_cache(maxsize=64)
def _read_digest(file: Path, *version: int) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
