"""Models on the Hugging Face Hub: what a name stands for, and its files in the Hub's local cache.

One request per model and process asks which commit a branch or tag is, and which files it has. What the Hub
says of a commit never changes, so it is recorded: a pinned commit whose files are in the cache needs no
request. If the Hub cannot be reached, what is in the cache is used.

What is downloaded is logged before it comes, at level INFO.
"""

from __future__ import annotations

import errno
import logging
import re
import shutil
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from mien.documents import read_json
from mien.errors import MienError, WeightsError, first_line
from mien.files import atomic_write_json, atomic_write_text, cache_directory, format_bytes, make_folder

__all__ = ["KnownModels", "Snapshot", "adopt_models", "fetch", "find_fetched", "known_models"]

_log = logging.getLogger(__name__)

_SCHEMA: Final = 2  # of the records
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")
_MAIN: Final = "main"  # the Hub's default branch
_WEIGHTS: Final = "*.safetensors"
_INDEX: Final = "model.safetensors.index.json"
_PICKLED: Final = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl")

_lock: Final = threading.RLock()
_models: Final[dict[tuple[str, str], _HubModel]] = {}  # of this process, by name and revision


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The files of a model at one commit, in the cache.

    Attributes:
        path: The folder.
        commit: The full hash.
        license: As the Hub names it; None if that is not known.
    """

    path: Path
    commit: str
    license: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class _HubModel:
    """What the Hub says of a model at one commit.

    Attributes:
        name: The id.
        commit: The full hash.
        license: As the Hub names it, or None.
        sizes: The bytes of each file, by its path.
        unreachable: Why files cannot be downloaded; None if they can.
    """

    name: str
    commit: str
    license: str | None
    sizes: Mapping[str, int]
    unreachable: WeightsError | None = None

    @property
    def folder(self) -> Path:
        return _storage(self.name) / "snapshots" / self.commit

    def matching(self, patterns: Iterable[str]) -> list[str]:
        return _matching(self.sizes, patterns)

    def missing(self, patterns: Iterable[str]) -> list[str]:
        """The files that match and are not in the cache."""
        return [file for file in self.matching(patterns) if not (self.folder / file).exists()]

    def __str__(self) -> str:
        return f"{self.name} at {self.commit[:12]} (license {self.license or 'not stated'})"


def fetch(name: str, revision: str | None, patterns: Sequence[str], *, later: Sequence[str] = ()) -> Snapshot:
    """Finds files of a model, and downloads those that are not in the cache.

    Args:
        name: The id on the Hub.
        revision: A branch, a tag or a commit; by default the branch "main". Within a process it is always the
            same commit.
        patterns: Which files, as in `fnmatch`; those in folders only by a pattern with a slash.
        later: Which of them not to download yet; that they exist is checked.

    Raises:
        WeightsError: The Hub has no such model or revision; the model is gated; `patterns` ask for
            safetensors, and it has none; the disk is too small; or the Hub cannot be reached, and the cache
            lacks a file.
    """
    with _lock:
        model = _resolve(name, revision or _MAIN)
        missing, has_weights = model.missing(patterns), bool(model.matching([_WEIGHTS]))
        if model.unreachable is not None and (missing or (_WEIGHTS in patterns and not has_weights)):
            _forget(model)  # the next call may find the Hub again
            raise model.unreachable
        _require_safetensors(model, patterns)
        _require_space(model, missing)
        now = [file for file in missing if not _matching([file], later)]
        if now:
            _download(model, now)
        if not model.missing(patterns):
            _record_revisions(model)
    return Snapshot(path=model.folder, commit=model.commit, license=model.license)


def find_fetched(name: str, revision: str | None) -> Snapshot | None:
    """A model from which this process has fetched files, or None; asks no one."""
    model = _models.get((name, revision or _MAIN))
    return None if model is None else Snapshot(path=model.folder, commit=model.commit, license=model.license)


def known_models() -> KnownModels:
    """What the Hub has said to this process, for `adopt_models` in its workers; can be pickled."""
    return {key: replace(model, unreachable=None) for key, model in _models.items()}


def adopt_models(models: KnownModels) -> None:
    """Takes over what another process knows: the Hub is not asked again, and a branch is the same commit."""
    _models.update(models)


def _matching(files: Iterable[str], patterns: Iterable[str]) -> list[str]:
    patterns = tuple(patterns)
    return sorted(file for file in files if any(_matches(file, pattern) for pattern in patterns))


def _matches(file: str, pattern: str) -> bool:
    """Whether a path matches, folder by folder: a star does not match a slash."""
    parts, wanted = file.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _require_safetensors(model: _HubModel, patterns: Iterable[str]) -> None:
    if _WEIGHTS not in patterns or model.matching([_WEIGHTS]):
        return
    pickled = model.matching(_PICKLED)
    found = f"only pickled weights ({pickled[0]}), which can run code of others" if pickled else "no weights"
    raise WeightsError(
        f"{model.name} has no safetensors but {found}",
        hint="choose a model with safetensors, or convert it and give the folder",
    )


KnownModels = Mapping[tuple[str, str], _HubModel]  # by name and revision

# --- What a name stands for ----------------------------------------------------------------------------


def _resolve(name: str, revision: str) -> _HubModel:
    """The model of a name and revision: known to this process, or recorded, or looked up, or in the cache."""
    model = _models.get((name, revision))
    if model is None and _COMMIT.fullmatch(revision):
        model = _read_record(name, revision)
    if model is None:
        try:
            model = _look_up(name, revision)
        except WeightsError as error:
            model = _find_in_cache(name, revision, error)
    _models[name, revision] = _models[name, model.commit] = model
    return model


def _forget(model: _HubModel) -> None:
    for key in [key for key, known in _models.items() if known is model]:
        del _models[key]


def _look_up(name: str, revision: str) -> _HubModel:
    """One request to the Hub; WeightsError if it has no answer."""
    from huggingface_hub import HfApi, constants

    try:
        info = HfApi(endpoint=constants.ENDPOINT).model_info(
            name, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
        )
        sizes = {file.rfilename: file.size or 0 for file in info.siblings or ()}
        model = _HubModel(
            name=name,
            commit=str(info.sha),
            license=_license(info),
            sizes=sizes,
        )
    except Exception as error:  # the library and its HTTP client raise errors of many kinds
        raise _explain(name, revision, error) from error
    if not _COMMIT.fullmatch(model.commit):
        raise WeightsError(f"the Hub names no commit of {name!r}", hint="check HF_ENDPOINT")
    _write_record(model)
    return model


def _license(info: Any) -> str | None:
    card: Any = info.card_data or {}
    name = card.get("license")
    if name == "other":
        name = card.get("license_name") or name
    tags = (tag.removeprefix("license:") for tag in info.tags or () if tag.startswith("license:"))
    name = name or next(tags, None)
    return None if name is None else ", ".join(name) if isinstance(name, list) else str(name)


def _find_in_cache(name: str, revision: str, error: WeightsError) -> _HubModel:
    """What the cache has of a model; raises the error if that is nothing, or not a whole model."""
    commit = revision if _COMMIT.fullmatch(revision) else _recorded_commit(name, revision)
    model = None if commit is None else _read_record(name, commit)
    if commit is not None and model is None:
        model = _model_in_cache(name, commit)
    if model is None or not model.folder.is_dir():
        raise error
    if not _is_offline():
        _log.info("%s; using %s from the cache", error, model)
    return replace(model, unreachable=error)


def _recorded_commit(name: str, revision: str) -> str | None:
    """The commit of a branch or tag when it was last downloaded."""
    try:
        commit = (_storage(name) / "refs" / revision).read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return commit if _COMMIT.fullmatch(commit) else None


def _model_in_cache(name: str, commit: str) -> _HubModel | None:
    """The model as another program left it in the cache; shards that its index names are files of it, too."""
    model = _HubModel(name=name, commit=commit, license=None, sizes={})
    try:
        files = {
            file.relative_to(model.folder).as_posix() for file in model.folder.rglob("*") if file.is_file()
        }
        if _INDEX in files:
            files |= {str(shard) for shard in read_json(model.folder / _INDEX)["weight_map"].values()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return replace(model, sizes=dict.fromkeys(files, 0))


# --- Errors --------------------------------------------------------------------------------------------


def _explain(name: str, revision: str, error: Exception) -> WeightsError:
    from huggingface_hub import constants, errors

    status = getattr(getattr(error, "response", None), "status_code", None)
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, errors.HFValidationError):
        message = f"no model at {name}, and it is not a valid name on the Hugging Face Hub"
        hint = "give a folder that save_pretrained wrote, a Hugging Face id, or playhouse"
    elif isinstance(error, errors.GatedRepoError):
        message = f"{name} is gated: " + (
            "this account has no access to it" if status == 403 else "the Hub gives it to known accounts only"
        )
        hint = f"ask for access at {page}" + ("" if status == 403 else ", then log in with: hf auth login")
    elif status == 401 and "Invalid credentials" in str(error):
        message = f"{constants.ENDPOINT} does not accept the token of this machine"
        hint = "log in again with: hf auth login; or unset HF_TOKEN"
    elif status == 401 or isinstance(error, errors.RepositoryNotFoundError):
        message = f"the Hub has no model {name!r}, or it is private"
        hint = "check the name; if it is private, log in with: hf auth login"
    elif isinstance(error, errors.RevisionNotFoundError):
        message = f"{name} has no revision {revision!r}"
        hint = f"name a branch, a tag or a full commit hash: {page}/tree/main"
    elif _is_offline():
        message = f"the cache lacks files of {name}, and HF_HUB_OFFLINE forbids to download them"
        hint = f"give a folder, or fetch it while online: hf download {name}"
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        message = f"the disk of {_cache()} is full"
        hint = "make room, or set HF_HUB_CACHE to a folder on another disk"
    else:
        message = (
            f"{name} cannot be downloaded from {constants.ENDPOINT}: {first_line(error, with_type=True)}"
        )
        hint = f"check the network, give a folder, or fetch it elsewhere: hf download {name}"
    return WeightsError(message, hint=hint)


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


# --- Downloads -----------------------------------------------------------------------------------------


def _download(model: _HubModel, files: Sequence[str]) -> None:
    """Downloads files one by one: an interrupt ends it at once, and each file is complete or absent."""
    from huggingface_hub import constants, hf_hub_download

    size, noun = sum(model.sizes[file] for file in files), "file" if len(files) == 1 else "files"
    _log.info("downloading %s: %s in %d %s", model, format_bytes(size), len(files), noun)
    for file in sorted(files, key=lambda file: model.sizes[file]):
        try:
            hf_hub_download(model.name, file, revision=model.commit, endpoint=constants.ENDPOINT)
        except Exception as error:  # as in _look_up
            raise _explain(model.name, model.commit, error) from error


def _require_space(model: _HubModel, files: Iterable[str]) -> None:
    size, folder = sum(model.sizes[file] for file in files), _cache()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if size and size > (free := shutil.disk_usage(folder).free):
        raise WeightsError(
            f"{model.name} needs {format_bytes(size)} on the disk of {_cache()}, which has "
            f"{format_bytes(free)} free",
            hint="make room, or set HF_HUB_CACHE to a folder on another disk",
        )


# --- The cache and the records -------------------------------------------------------------------------


def _cache() -> Path:
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser()


def _storage(name: str) -> Path:
    """The folder of a model in the Hub's cache."""
    return _cache() / _folder_name(name)


def _folder_name(name: str) -> str:
    return f"models--{name.replace('/', '--')}"


def _record_revisions(model: _HubModel) -> None:
    """Records the commits of branches and tags, where the Hub's own library does, for when it is offline.

    Only of complete models: until then, the earlier commit of a branch remains usable.
    """
    for (name, revision), known in _models.items():
        is_commit = _COMMIT.fullmatch(revision) or ".." in revision.split("/")
        if name != model.name or known.commit != model.commit or is_commit or model.unreachable is not None:
            continue
        if _recorded_commit(name, revision) != model.commit:
            file = _storage(name) / "refs" / revision
            with suppress(MienError):  # a cache that cannot be written
                make_folder(file.parent)
                atomic_write_text(file, model.commit)


def _record_file(name: str, commit: str) -> Path:
    return cache_directory() / "hub" / _folder_name(name) / f"{commit}.json"


def _write_record(model: _HubModel) -> None:
    file = _record_file(model.name, model.commit)
    with suppress(MienError):
        make_folder(file.parent)
        content = {"schema": _SCHEMA, "license": model.license, "sizes": dict(model.sizes)}
        atomic_write_json(file, content)


def _read_record(name: str, commit: str) -> _HubModel | None:
    try:
        content = read_json(_record_file(name, commit))
        if content["schema"] != _SCHEMA:
            return None
        sizes = {str(file): int(size) for file, size in content["sizes"].items()}
        return _HubModel(name=name, commit=commit, license=content["license"], sizes=sizes)
    except (MienError, OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
