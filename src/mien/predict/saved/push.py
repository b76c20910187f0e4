"""Uploads a saved model to the Hugging Face Hub, in one commit."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mien.errors import MienError, UsageError, WeightsError, first_line
from mien.files import cache_directory, make_folder, temporary_folder
from mien.predict.saved.layout import MODELS
from mien.predict.saved.save import save_model

if TYPE_CHECKING:
    from mien.predict.loading import LoadedModel, ModelSource

__all__ = ["push_model"]

_ID: Final = re.compile(r"\w[\w.-]{0,95}/\w[\w.-]{0,95}", re.ASCII)
# What an earlier push may have left that this one does not have.
_REPLACED: Final = (f"{MODELS}/*", "calibration.json", "evaluation.json")


def push_model(
    source: ModelSource, loaded: LoadedModel, name: str, *, private: bool = True, message: str | None = None
) -> str:
    """Saves a model to a temporary folder, and uploads it.

    Args:
        source: Where the model was loaded from.
        loaded: The model.
        name: The id on the Hub. The repository is created unless it exists; files of an earlier push are
            replaced, and others are left alone.
        private: Whether a new repository is private.
        message: The message of the commit.

    Returns:
        The address of the commit.

    Raises:
        UsageError: The name is not one that the Hub accepts.
        WeightsError: The Hub refuses the upload, or cannot be reached.
        RunError: As in `save_model`.
    """
    _require_id(name)
    cache = cache_directory()
    make_folder(cache)
    with temporary_folder(cache, "push") as temporary:
        folder = temporary / "model"
        save_model(source, loaded, folder)
        return _upload(folder, name, private=private, message=message or f"Push {loaded.trained.recipe.name}")


def _require_id(name: str) -> None:
    if not _ID.fullmatch(name) or ".." in name or "--" in name:
        raise UsageError(
            f"{name!r} is not a name on the Hub", hint="write it as ACCOUNT/MODEL, such as you/emotic"
        )


def _upload(folder: Path, name: str, *, private: bool, message: str) -> str:
    from huggingface_hub import HfApi, constants

    api = HfApi(endpoint=constants.ENDPOINT)
    try:
        api.create_repo(name, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=name, folder_path=folder, commit_message=message, delete_patterns=list(_REPLACED)
        )
    except MienError:
        raise
    except Exception as error:  # the library and its HTTP client raise errors of many kinds
        raise _explain(name, error) from error
    return str(commit.commit_url)


def _explain(name: str, error: Exception) -> WeightsError:
    from huggingface_hub import constants, errors

    status: Any = getattr(getattr(error, "response", None), "status_code", None)
    if constants.HF_HUB_OFFLINE:
        return WeightsError(
            f"{name} cannot be pushed: HF_HUB_OFFLINE forbids it", hint="unset HF_HUB_OFFLINE"
        )
    if status == 401 or isinstance(error, errors.LocalTokenNotFoundError):
        return WeightsError(
            f"{constants.ENDPOINT} does not accept the token of this machine, or there is none",
            hint="log in with: hf auth login",
        )
    if status in (403, 404):
        return WeightsError(
            f"this account may not write to {name}",
            hint="name a repository of your own, and log in with a token that can write: hf auth login",
        )
    return WeightsError(
        f"{name} cannot be pushed to {constants.ENDPOINT}: {first_line(error, with_type=True)}",
        hint="check the network, and run again; or upload the folder of mien export hub",
    )
