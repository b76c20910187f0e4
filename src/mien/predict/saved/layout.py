"""The folder of a saved model: the files that it may hold, and the digest of each.

`hashes.json` lists every file that loading reads. What is missing, shorter, changed or not listed is an error
that names the file, and so is anything that can run code: loading never reads a pickle, never imports from
the folder and never follows a link out of it. The digests detect damage and mixed files. The author of
a folder also writes its digests: whether to trust the author is for you to judge, and a commit on the Hub
pins the content.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Final, Literal, NoReturn, TypedDict

from mien.digests import file_digest
from mien.documents import read_json
from mien.errors import DamagedError, RunError
from mien.files import atomic_write_json
from mien.names import is_path_below, plain_name_fault

__all__ = [
    "CARD",
    "CONFIG",
    "HASHES",
    "MODELS",
    "RECIPE",
    "SavedFiles",
    "check_files",
    "listed_files",
    "write_hashes",
]

HASHES: Final = "hashes.json"
CONFIG: Final = "config.json"
RECIPE: Final = "recipe.json"
CARD: Final = "README.md"
MODELS: Final = "models"  # the folder of the models that the Hub does not have
_SCHEMA: Final = 1

_DATA: Final = frozenset({".json", ".jinja", ".safetensors", ".txt", ".onnx"})
_DATA_NAMES: Final = frozenset({"tokenizer.model", "LICENSE", "NOTICE"})
_PICKLES: Final = frozenset(
    {".bin", ".ckpt", ".dill", ".h5", ".joblib", ".keras", ".npy", ".npz", ".pickle", ".pkl", ".pt", ".pth"}
)
_PROGRAMS: Final = frozenset(
    {".bat", ".cmd", ".dll", ".dylib", ".exe", ".jar", ".js", ".pth", ".ps1", ".py", ".pyc", ".pyd", ".pyo"}
    | {".pyz", ".sh", ".so", ".whl"}
)
# What is in a folder besides the model: its card, and what Git and the Hub's library leave there.
_IGNORED: Final = frozenset({CARD, HASHES, ".git", ".gitattributes", ".gitignore", ".cache", ".DS_Store"})
_AGAIN: Final = "get the folder again from where it was saved"
_ONLY: Final = "delete it; a saved model consists of safetensors, JSON, text and ONNX files"
_COMMIT: Final = re.compile(r"[0-9a-f]{40}")


class SavedFile(TypedDict):
    """A file of a saved model.

    Attributes:
        bytes: The size of the file in bytes.
        sha256: Its SHA-256 digest, in hex.
    """

    bytes: int
    sha256: str


class SavedFiles(TypedDict):
    """All files that loading a saved model reads.

    Attributes:
        files: The files, by their path in the folder.
    """

    schema: Literal[1]
    files: dict[str, SavedFile]


def write_hashes(folder: Path) -> None:
    """Writes the list of all files in a folder, with sizes and digests.

    Raises:
        RunError: A file is of a kind that a saved model never has.
    """
    names = sorted(_walk(folder))
    for name in names:
        if not _is_plain(name):
            raise RunError(f"{name!r} cannot be the name of a file of a saved model", hint="rename it first")
        _require_data(folder, name)
    content: SavedFiles = {
        "schema": _SCHEMA,
        "files": {name: _entry(folder / name) for name in names},
    }
    atomic_write_json(folder / HASHES, content)


def listed_files(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Name, size and digest of each file of a saved model, as its list has them.

    Raises:
        RunError: The list is missing, or it names a file that can hold code or lies outside of the folder.
        DamagedError: The list cannot be read.
    """
    file = folder / HASHES
    try:
        content = read_json(file)
        schema, entries = content["schema"], content["files"]
        if schema == _SCHEMA:
            listed: dict[str, Mapping[str, Any]] = {
                str(name): {"bytes": int(e["bytes"]), "sha256": str(e["sha256"])}
                for name, e in entries.items()
            }
    except FileNotFoundError as error:
        raise RunError(f"{folder} has no {HASHES}", hint="save the model with mien export hub") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DamagedError(f"{file} cannot be read: {error!r}", hint=_AGAIN) from error
    if schema != _SCHEMA:
        raise RunError(
            f"{file} has schema {schema!r}, not {_SCHEMA}",
            hint="load it with the version of mien that wrote it",
        )
    for name in listed:
        if not _is_plain(name):
            raise RunError(f"{file} names {name!r}, which is not a path in the folder", hint=_AGAIN)
        _require_data(folder, name)
    return listed


def check_files(folder: Path) -> None:
    """Checks that a folder holds what was saved, and nothing else.

    Raises:
        RunError: A file can hold code, is a link out of the folder, or was not saved with the model.
        DamagedError: A file is missing, shorter or longer, or has other content.
    """
    listed = listed_files(folder)
    root = _real_root(folder)
    for name in _walk(folder):
        _require_inside(folder, name, root)
        if name not in listed:
            _require_data(folder, name)
            raise RunError(f"{folder / name} was not saved with the model", hint=_ONLY)
    for name, entry in listed.items():
        _check_file(folder / name, entry)


def _check_file(file: Path, entry: Mapping[str, Any]) -> None:
    try:
        size = file.stat().st_size
        if size != entry["bytes"]:
            _fail(file, f"has {size:,} bytes instead of {entry['bytes']:,}")
        if file_digest(file) != entry["sha256"]:
            _fail(file, "has changed since it was saved")
        if file.suffix == ".safetensors":
            _require_safetensors(file)
    except FileNotFoundError as error:
        raise DamagedError(f"{file} is missing", hint=_AGAIN) from error
    except OSError as error:
        raise DamagedError(f"{file} cannot be read: {error.strerror}", hint=_AGAIN) from error


def _fail(file: Path, fault: str) -> NoReturn:
    raise DamagedError(f"{file} {fault}", hint=_AGAIN)


def _require_safetensors(file: Path) -> None:
    """RunError for a file of another format under this name: the length of a JSON header comes first."""
    with file.open("rb") as stream:
        start = stream.read(9)
    if start[8:] != b"{":
        kind = "a pickle" if start[:1] == b"\x80" or start[:4] == b"PK\x03\x04" else "of another format"
        raise RunError(f"{file} is not safetensors but {kind}", hint=_ONLY)


def _entry(file: Path) -> SavedFile:
    return {"bytes": file.stat().st_size, "sha256": file_digest(file)}


# --- Names and kinds -----------------------------------------------------------------------------------


def _walk(folder: Path) -> Iterator[str]:
    """The paths of all files and links below a folder, except what is ignored; links are not followed."""
    for place, folders, files in os.walk(folder, onerror=_raise):
        base = Path(place).relative_to(folder)
        is_top = base == Path()
        links = [name for name in folders if (Path(place) / name).is_symlink()]
        folders[:] = sorted(
            name for name in folders if name not in links and not (is_top and name in _IGNORED)
        )
        for name in (*links, *files):
            if not (is_top and name in _IGNORED):
                yield (base / name).as_posix()


def _raise(error: OSError) -> NoReturn:
    raise DamagedError(f"{error.filename} cannot be read: {error.strerror}", hint=_AGAIN) from error


def _is_plain(name: str) -> bool:
    return is_path_below(name) and not any(plain_name_fault(part) for part in name.split("/"))


def _require_data(folder: Path, name: str) -> None:
    """RunError unless a file of this name is data: not a program, not a pickle, of a kind that is known."""
    suffix = PurePosixPath(name).suffix.lower()
    if suffix in _PICKLES | _PROGRAMS:
        what = "is a program" if suffix in _PROGRAMS else "can hold a pickle, which runs code when it is read"
        raise RunError(f"{folder / name} {what}", hint=_ONLY)
    known = suffix in _DATA or PurePosixPath(name).name in _DATA_NAMES
    if not known:
        raise RunError(f"{folder / name} is of a kind that no saved model has", hint=_ONLY)


def _require_inside(folder: Path, name: str, root: Path) -> None:
    path = folder / name
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode) and not path.resolve().is_relative_to(root):
        raise RunError(
            f"{path} is a link out of the folder, to {path.resolve()}", hint="copy the file itself"
        )
    if not stat.S_ISLNK(mode) and not stat.S_ISREG(mode):
        raise RunError(f"{path} is not a file", hint=_ONLY)


def _real_root(folder: Path) -> Path:
    """Where the files may really lie: below the folder, or in the Hub's cache, next to its snapshots."""
    real = folder.resolve()
    cached = real.parent.parent
    is_snapshot = real.parent.name == "snapshots" and _COMMIT.fullmatch(real.name)
    return cached if is_snapshot and (cached / "blobs").is_dir() else real
