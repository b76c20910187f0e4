"""Finds model folders: the embedded one, a local folder, or a name on the Hugging Face Hub.

Pickled weights are never fetched: loading them would run their authors' code.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from mien.documents import read_json as read_document
from mien.documents import require_files
from mien.errors import WeightsError, first_line
from mien.playhouse.embedded_models import embedded_model_folder

__all__ = ["EMBEDDED", "find_model_folder", "quiet_transformers", "read_json"]

EMBEDDED: Final = "playhouse"  # the name of the embedded models in recipes
_KINDS: Final = ("*.json", "*.safetensors", "*.txt")  # what is read; libraries would wait for a pipe


def find_model_folder(
    name_or_path: str, *, embedded_as: Literal["llava", "words"], patterns: Sequence[str]
) -> Path:
    """The folder of a model.

    Args:
        name_or_path: "playhouse", a folder, or a name on the Hub.
        embedded_as: Which of the embedded models "playhouse" stands for.
        patterns: Which files to fetch from the Hub, unless they are in its local cache.

    Raises:
        WeightsError: If there is no such folder, and the Hub does not have it or cannot be reached.
    """
    if name_or_path == EMBEDDED:
        return embedded_model_folder(embedded_as)
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        try:
            require_files(folder, _KINDS)
        except OSError as error:
            raise WeightsError(f"{error.filename} {error.strerror}", hint="copy the model again") from error
        return folder
    return _fetch(name_or_path, patterns)


def _fetch(name: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except HFValidationError as error:
        raise WeightsError(
            f"no folder at {name!r}, and it is not a valid name on the Hugging Face Hub",
            hint="check the path",
        ) from error
    except (OSError, ValueError) as error:
        # Offline, unknown, gated, or interrupted: all of the Hub's own errors derive from these two.
        raise WeightsError(
            f"{name!r} is not available locally and cannot be fetched: {first_line(error)}",
            hint="give the path of a folder, or fetch it while online: hf download " + name,
        ) from error


def read_json(file: Path) -> Mapping[str, Any]:
    """The object in a model's JSON file; WeightsError if there is none."""
    try:
        value = read_document(file)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="copy the model again") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{file} holds no JSON object", hint="copy the model again")
    return value


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and load reports off stderr; what matters is raised as an error."""
    from transformers.utils import logging as module

    logging: Any = module  # without annotations
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
