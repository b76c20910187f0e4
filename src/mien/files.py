"""Files and folders that appear under their names only when they are complete.

Each is written next to its place under a temporary name, `.NAME.TOKEN.tmp`, and renamed at the end. A process
that is killed leaves its temporary file; the next one that writes into the same folder removes it. A
temporary file is abandoned if no one holds its lock, which the kernel releases with the process. The token
says which kernel made it: the locks of other machines may be invisible here, so their files must also be
unchanged for a day.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import secrets
import shutil
import socket
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import IO, Final

from mien.documents import require_file
from mien.errors import DataError

__all__ = [
    "atomic_file",
    "atomic_folder",
    "atomic_write_bytes",
    "atomic_write_json",
    "atomic_write_text",
    "cache_directory",
    "check_writable",
    "format_bytes",
    "is_empty",
    "make_folder",
    "map_write_errors",
    "require_new_folder",
    "sync_directory",
    "temporary_folder",
]

_DAY: Final = 86_400.0  # seconds
_MAX_STEM: Final = 40  # characters; a file name has at most 255 bytes, and a character up to four
# The stem, then the token: the kernel, random digits, and a digest of all of these, so that a file that only
# looks like one of ours is left alone.
_TEMPORARY: Final = re.compile(
    r"\.(?P<stem>.{1,40})\.(?P<kernel>[0-9a-f]{4})(?P<random>[0-9a-f]{8})(?P<check>[0-9a-f]{8})\.tmp",
    re.DOTALL,
)
_FULL: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_FULL_HINT: Final = "make room on the disk and run again; what was written before is kept"
_DENIED: Final = {errno.EACCES, errno.EPERM, errno.EROFS}
_DENIED_HINT: Final = "make its folder writable, or name another one"
_HINT: Final = "name a file in an existing folder on a disk that works"
# What a write to an open file can meet; such errors name no file.
_WRITE_ERRORS: Final = {*_FULL, *_DENIED, errno.EIO, errno.ESTALE}
_TRIES: Final = 100
_PRIVATE: Final = 0o700  # only its owner can enter
_swept: set[tuple[int, str]] = set()  # process and folder


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Writes a file atomically: after a crash it has either its old or its complete new content."""
    with atomic_file(path) as file:
        file.write(data)


def atomic_write_text(path: Path, text: str) -> None:
    """`atomic_write_bytes` of UTF-8."""
    atomic_write_bytes(path, text.encode())


def atomic_write_json(path: Path, value: object) -> None:
    """`atomic_write_bytes` of indented JSON; ValueError for NaN and infinity, which are not JSON.

    Dataclasses are written as objects.
    """
    atomic_write_text(path, json.dumps(value, indent=2, allow_nan=False, default=asdict) + "\n")


@contextmanager
def atomic_file(path: Path, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A temporary file that replaces `path` when the block ends, or is removed if it raises.

    Args:
        path: A file in an existing directory. Several processes may write it at once.
        sync: Write to disk before the block ends. Not needed for a cached file, which can be regenerated.

    Raises:
        DataError: The file cannot be written.
    """
    with map_write_errors(path), suppress(FileNotFoundError):
        require_file(path)  # root would replace a device
    with map_write_errors(path), _claimed(path) as (temporary, descriptor):
        with os.fdopen(os.dup(descriptor), "wb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(descriptor)
        temporary.replace(path)
        if sync:
            sync_directory(path.parent)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends, or is removed if it raises.

    Args:
        path: A folder in an existing directory. An empty folder is kept, because it may be a mounted disk or
            someone's working directory: what the block made is moved into it.

    Raises:
        DataError: The folder cannot be written, or is not empty.
    """
    inside = path.is_dir()
    place = path / "new" if inside else path
    with map_write_errors(path), _claimed(place, folder_mode=0o777) as (temporary, _):
        yield temporary
        if not inside:
            temporary.replace(path)
            return
        if set(path.iterdir()) != {temporary}:
            raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), str(path))
        for child in sorted(temporary.iterdir()):
            child.replace(path / child.name)


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process left, which is removed."""
    _sweep(folder)
    return not any(folder.iterdir())


@contextmanager
def temporary_folder(parent: Path, name: str) -> Iterator[Path]:
    """A private folder in `parent` that is removed when the block ends, or by the next process after a kill.

    Raises:
        DataError: The folder cannot be created.
    """
    with map_write_errors(parent), _claimed(parent / name, folder_mode=_PRIVATE) as (temporary, _):
        yield temporary


def make_folder(path: Path) -> None:
    """Creates a folder with its parents, unless it exists; DataError if that fails."""
    with map_write_errors(path):
        path.mkdir(parents=True, exist_ok=True)


def require_new_folder(path: Path, *, hint: str = "name a new folder") -> None:
    """Creates the parents of a folder for `atomic_folder`.

    Raises:
        DataError: It holds anything but what a killed process left, or is a file.
    """
    if path.exists() and (not path.is_dir() or not is_empty(path)):
        raise DataError(f"{path} is not an empty folder", hint=hint)
    make_folder(path.parent)


def check_writable(path: Path) -> None:
    """Raises DataError unless `path` can be written or created; so a long job need not fail at its end.

    Args:
        path: A folder, or a file that a job will write. Nothing is left there.
    """
    folder = path if path.is_dir() else path.parent
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    with map_write_errors(path), _claimed(folder / "check"):
        pass


@contextmanager
def map_write_errors(path: Path) -> Iterator[None]:
    """Turns the errors of a disk into a DataError that names `path`; other errors pass through."""
    try:
        yield
    except OSError as error:
        if not _is_write_error(error, path):
            raise
        hint = _FULL_HINT if error.errno in _FULL else _DENIED_HINT if error.errno in _DENIED else _HINT
        raise DataError(f"{path} cannot be written: {error.strerror}", hint=hint) from error


def _is_write_error(error: OSError, path: Path) -> bool:
    """Whether an error is about writing `path`, and not about another file that was read meanwhile."""
    if error.filename is None:
        return error.errno in _WRITE_ERRORS
    name = Path(os.fsdecode(error.filename).removeprefix("file:"))  # FFmpeg names a URL
    return name == path or name in path.parents or any(map(_is_temporary_name, name.parts))


def sync_directory(path: Path) -> None:
    """Syncs a directory, so that a rename survives a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def cache_directory() -> Path:
    """The directory for files that can be regenerated: `$XDG_CACHE_HOME/mien`, or `~/.cache/mien`."""
    home = os.environ.get("XDG_CACHE_HOME")
    if home:
        return Path(home) / "mien"
    try:
        return Path.home() / ".cache" / "mien"
    except RuntimeError as error:  # HOME is not set, and the user is not in the password database
        raise DataError(
            "no cache directory: HOME is not set", hint="set XDG_CACHE_HOME to a writable directory"
        ) from error


# --- Temporary names -----------------------------------------------------------------------------------


@contextmanager
def _claimed(path: Path, folder_mode: int | None = None) -> Iterator[tuple[Path, int]]:
    """A new temporary file next to `path`, or a folder of this mode, locked until the block ends.

    It is removed then, unless it was renamed.
    """
    if not path.name:  # such as "."
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    _sweep(path.parent)
    temporary, descriptor = _claim(path, folder_mode)
    try:
        yield temporary, descriptor
    finally:
        _remove(temporary, is_folder=folder_mode is not None)
        os.close(descriptor)


def _claim(path: Path, folder_mode: int | None) -> tuple[Path, int]:
    for _ in range(_TRIES):
        temporary = path.with_name(_new_name(path.name))
        try:
            descriptor = _create(temporary, folder_mode)
        except FileExistsError:
            continue
        with suppress(OSError):  # a file system without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Before it was locked, a sweeping process may have taken it for abandoned.
        if os.path.lexists(temporary):
            return temporary, descriptor
        os.close(descriptor)
    raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(path))


def _create(path: Path, folder_mode: int | None) -> int:
    if folder_mode is None:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    path.mkdir(mode=folder_mode)
    return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)


def _new_name(name: str) -> str:
    stem, random = name[:_MAX_STEM], secrets.token_hex(4)
    return f".{stem}.{_kernel()}{random}{_checksum(stem, _kernel(), random)}.tmp"


def _checksum(*parts: str) -> str:
    return hashlib.sha256(os.fsencode("mien/".join(parts))).hexdigest()[:8]


@cache
def _kernel() -> str:
    """Identifies the running kernel, which all of its containers share; changes when it starts again."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
    except OSError:
        name = socket.gethostname()
    return hashlib.sha256(name.encode()).hexdigest()[:4]


# --- Abandoned files -----------------------------------------------------------------------------------


def _sweep(folder: Path) -> None:
    """Removes the temporary files in a folder whose owners are dead; once per process and folder."""
    once = (os.getpid(), str(folder))
    if once in _swept:
        return
    _swept.add(once)
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if _is_temporary_name(entry.name):
                with suppress(OSError):
                    _remove_if_abandoned(Path(entry.path))


def _is_temporary_name(name: str) -> bool:
    match = _TEMPORARY.fullmatch(name)
    return match is not None and match["check"] == _checksum(match["stem"], match["kernel"], match["random"])


def _remove_if_abandoned(path: Path) -> None:
    status = path.lstat()
    is_folder = stat.S_ISDIR(status.st_mode)
    if status.st_uid != os.geteuid() or not (is_folder or stat.S_ISREG(status.st_mode)):
        return
    # Some network file systems lock only what is open for writing.
    mode = os.O_RDONLY | os.O_DIRECTORY if is_folder else os.O_RDWR
    descriptor = os.open(path, mode | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _is_abandoned(path, descriptor):
            _remove(path, is_folder=is_folder)
    finally:
        os.close(descriptor)


def _is_abandoned(path: Path, descriptor: int) -> bool:
    """Whether the owner is dead; takes the lock."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        match = _TEMPORARY.fullmatch(path.name)
        lock_is_proof = match is not None and match["kernel"] == _kernel()
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        lock_is_proof = False
    return lock_is_proof or time.time() - os.fstat(descriptor).st_mtime > _DAY


def _remove(path: Path, *, is_folder: bool) -> None:
    if is_folder:
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def format_bytes(num_bytes: int) -> str:
    """A size in the largest decimal unit that fits, such as "1.2 GB"."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if num_bytes >= unit:
            return f"{num_bytes / unit:.1f} {name}"
    return f"{num_bytes} bytes"
