"""Finds model folders: an embedded one, a local folder, or a name on the Hugging Face Hub.

Loads nothing, and imports no model library besides the one that downloads files. Pickled weights are never
fetched: loading them would run their authors' code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import JsonValue

from mien.digests import digest, file_digest
from mien.documents import read_json as read_document
from mien.documents import require_files
from mien.errors import ConfigError, WeightsError
from mien.playhouse.embedded_models import EmbeddedName, embedded_model_folder
from mien.weights.hub import fetch, find_fetched

__all__ = ["EMBEDDED", "ModelFolder", "find_encoder_folder", "find_model", "find_origin", "read_json"]

EMBEDDED: Final = "playhouse"  # the name of the embedded models in recipes

_WEIGHTS: Final = "*.safetensors"
# The files that can change what a model writes; model cards, logs and other weight formats cannot.
_FILES: Final = (
    *("config.json", "generation_config.json", "preprocessor_config.json", "processor_config.json"),
    *("chat_template.json", "chat_template.jinja", "tokenizer.json", "tokenizer_config.json"),
    *("special_tokens_map.json", "added_tokens.json", "tokenizer.model", "vocab.json", "vocab.txt"),
    *("merges.txt", "model.safetensors.index.json", _WEIGHTS),
)
_KINDS: Final = ("*.json", "*.jinja", "*.safetensors", "*.txt", "tokenizer.model")  # of what anything reads


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFolder:
    """The files of a model.

    Attributes:
        name: short name for messages; the Hugging Face id of a model from the Hub.
        path: the folder.
        revision: commit of a model from the Hub, which guarantees the content; None for other folders.
        license: its license, as the Hub names it; None if that is not known.
    """

    name: str
    path: Path
    revision: str | None = None
    license: str | None = None

    def identity(self) -> Mapping[str, JsonValue]:
        """What the model is, wherever its folder is: name and commit, or a digest of all relevant files.

        Reads all weights of a local folder: 8 MB take no time, 14 GB about ten seconds.
        """
        if self.revision is not None:
            return {"model": self.name, "revision": self.revision}
        files = sorted({file for pattern in _FILES for file in self.path.glob(pattern)})
        return {"weights": digest({file.name: file_digest(file) for file in files})}

    def fetch_weights(self) -> None:
        """Downloads the weights of a model from the Hub that the cache lacks.

        Raises:
            WeightsError: they cannot be downloaded.
        """
        if self.revision is not None:
            fetch(self.name, self.revision, (_WEIGHTS,))

    def origin(self) -> Mapping[str, JsonValue] | None:
        """Name, commit and license of a model from the Hub, for the record of a run; None for others."""
        if self.revision is None:
            return None
        return {"model": self.name, "revision": self.revision, "license": self.license}


def find_model(name: str, revision: str | None = None) -> ModelFolder:
    """Finds the folder of a vision-language model, with all of its files but the weights of one on the Hub.

    Those are downloaded by `ModelFolder.fetch_weights`: to look descriptions up, only a commit is needed.

    Args:
        name: "playhouse" for the embedded model, a path, or a Hugging Face id, which is downloaded if needed;
            NAME@REVISION names a branch, tag or commit.
        revision: branch, tag or commit of a model on the Hub.

    Raises:
        ConfigError: both arguments name a revision, and not the same.
        WeightsError: the model does not exist, cannot be downloaded, or lacks files.
    """
    model = _find(name, revision, embedded_as="llava", patterns=_FILES, later=(_WEIGHTS,))
    for pattern in ("config.json", *(() if model.revision else (_WEIGHTS,))):
        if not any(model.path.glob(pattern)):
            raise WeightsError(
                f"{model.path} contains no {pattern}", hint="give a folder that save_pretrained wrote"
            )
    return model


def find_encoder_folder(name: str, *, embedded_as: EmbeddedName, patterns: Sequence[str]) -> ModelFolder:
    """Finds the folder of an encoder, a tokenizer, a detector or initial weights.

    Args:
        name: As for `find_model`.
        embedded_as: Which of the embedded models "playhouse" stands for.
        patterns: Which files to fetch from the Hub, unless they are in its local cache.

    Raises:
        WeightsError: The folder does not exist, or the Hub lacks the model or cannot be reached.
    """
    return _find(name, None, embedded_as=embedded_as, patterns=patterns)


def find_origin(name: str) -> Mapping[str, JsonValue] | None:
    """`ModelFolder.origin` of a model that this process has found; None for any other and for a path."""
    repository, _, revision = name.partition("@")
    found = None if Path(name).expanduser().exists() else find_fetched(repository, revision or None)
    if found is None:
        return None
    return ModelFolder(
        name=repository, path=found.path, revision=found.commit, license=found.license
    ).origin()


def _find(
    name: str,
    revision: str | None,
    *,
    embedded_as: EmbeddedName,
    patterns: Sequence[str],
    later: Sequence[str] = (),
) -> ModelFolder:
    if name == EMBEDDED:
        return _require_files(ModelFolder(name=name, path=embedded_model_folder(embedded_as)))
    folder = Path(name).expanduser()
    if folder.is_dir():
        return _require_files(ModelFolder(name=folder.resolve().name, path=folder))
    repository, _, named = name.partition("@")
    if folder.is_absolute() or name.startswith((".", "~")) or repository.count("/") > 1:
        raise WeightsError(
            f"no model at {name}",
            hint="give a folder that save_pretrained wrote, a Hugging Face id, or playhouse",
        )
    if named and revision not in (None, named):
        raise ConfigError(
            f"{name} names the revision {named!r}, and the option revision {revision!r}",
            hint="name the revision once",
        )
    found = fetch(repository, named or revision, patterns, later=later)
    return _require_files(
        ModelFolder(name=repository, path=found.path, revision=found.commit, license=found.license)
    )


def _require_files(model: ModelFolder) -> ModelFolder:
    try:
        require_files(model.path, _KINDS)  # libraries would wait for a pipe
    except OSError as error:
        raise WeightsError(f"{error.filename} {error.strerror}", hint="copy the model again") from error
    return model


def read_json(file: Path) -> Mapping[str, Any]:
    """The object in a model's JSON file; WeightsError if there is none."""
    try:
        value = read_document(file)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="copy the model again") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{file} holds no JSON object", hint="copy the model again")
    return value
