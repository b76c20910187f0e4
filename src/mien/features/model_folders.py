"""Where a model's files are: the embedded one, a folder, or a name on the Hugging Face Hub.

Goes in: a name or a path. Comes out: a folder that holds safetensors and JSON, or a WeightsError.
Knows nothing about: what is in the files.

Pickled weights are never fetched: loading them would run code of whoever made them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from mien.errors import WeightsError
from mien.playhouse.embedded_models import embedded

__all__ = ["EMBEDDED", "find_folder", "quiet_transformers", "read_json"]

EMBEDDED: Final = "playhouse"  # what recipes call the models that travel with the package


def find_folder(
    name_or_path: str, *, embedded_as: Literal["llava", "words"], patterns: Sequence[str]
) -> Path:
    """The folder of a model; from the Hub (or its local cache) only the files that match a pattern."""
    if name_or_path == EMBEDDED:
        return embedded(embedded_as)
    folder = Path(name_or_path).expanduser()
    if folder.is_dir():
        return folder
    return _from_hub(name_or_path, patterns)


def _from_hub(name: str, patterns: Sequence[str]) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError

    try:
        return Path(snapshot_download(name, allow_patterns=list(patterns)))
    except HFValidationError as error:
        raise WeightsError(
            f"no folder at {name!r}, and it is no name on the Hugging Face Hub", hint="check the path"
        ) from error
    except (OSError, ValueError) as error:
        # Offline, unknown, gated, or interrupted: all of the Hub's own errors derive from these two.
        reason = str(error).strip().splitlines()[0]
        raise WeightsError(
            f"{name!r} is not here and cannot be fetched: {reason}",
            hint="give the path of a folder, or fetch it while online: hf download " + name,
        ) from error


def read_json(file: Path) -> Mapping[str, Any]:
    """The object in a JSON file of a model; WeightsError if there is none."""
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{file} cannot be read: {error}", hint="copy the model again") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{file} holds no JSON object", hint="copy the model again")
    return value


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keeps transformers' progress bars and load reports off stderr; what matters becomes an error."""
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
