"""Locks on files: one process at a time writes to a run, a store of descriptions, or a file of features.

A lock is a `flock` on a file next to what it protects. The operating system releases it when its owner ends,
however that happens; the lock file stays, because removing it would be a race. It says who holds the lock,
for messages only. Processes that `os.fork` makes belong to the owner, but do not keep the lock after it.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from mien.errors import RunError, RunLockedError

__all__ = ["FileLock", "LockHolder", "lacks_locks", "lock_run", "run_writer", "try_lock"]

log = logging.getLogger(__name__)

_RUN_LOCK: Final = "run.lock"
_MAX_BYTES: Final = 2000  # of what a lock file says
# A reader that asks who writes holds the lock for a moment.
_TRIES: Final = 4
_PAUSE: Final = 0.02
# What file systems without locks answer.
_NO_LOCKS: Final = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}


@dataclass(frozen=True, slots=True, kw_only=True)
class LockHolder:
    """Who holds a lock, as far as its file says."""

    pid: int | None = None
    host: str = ""
    command: str = ""
    since: str = ""

    @classmethod
    def current(cls) -> Self:
        """This process."""
        since = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(pid=os.getpid(), host=socket.gethostname(), command=_command(), since=since)

    @classmethod
    def read(cls, descriptor: int) -> Self:
        """What a lock file says; empty where it says nothing that can be used."""
        try:
            fields = json.loads(os.pread(descriptor, _MAX_BYTES, 0).decode(errors="replace"))
        except (OSError, ValueError, RecursionError):
            return cls()
        if isinstance(fields, int):  # as mien 0.1.0 writes it
            return cls(pid=fields)
        if not isinstance(fields, dict) or not isinstance(fields.get("pid"), int):
            return cls()
        texts = {name: str(fields.get(name, "")) for name in ("host", "command", "since")}
        holder = cls(pid=fields["pid"], **texts)
        return cls() if holder._has_ended() else holder

    def __str__(self) -> str:
        if self.pid is None:
            return "another process"
        host = f" on {self.host}" if self.host else ""
        since = f", since {self.since.replace('T', ' ').replace('+00:00', ' UTC')}" if self.since else ""
        return f"another process ({self.command or 'unknown'}, process {self.pid}{host}{since})"

    def _has_ended(self) -> bool:
        """Whether the process is known to have ended: another one has the lock and did not say so yet."""
        if self.pid is None or self.pid <= 0 or self.host != socket.gethostname():
            return False
        try:
            os.kill(self.pid, 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:
            pass
        return False


class FileLock:
    """A lock that this process holds, from `try_lock`, until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor, self._pid = descriptor, os.getpid()
        _open_descriptors.add(descriptor)

    def release(self) -> None:
        """Releases the lock; a second call does nothing, nor does one in a forked process."""
        if self._pid == os.getpid() and self._descriptor in _open_descriptors:
            _open_descriptors.remove(self._descriptor)
            os.close(self._descriptor)
            self._pid = 0


def try_lock(path: Path, *, shared: bool = False) -> FileLock | LockHolder:
    """Locks a file, which is created, or says at once who holds the lock.

    Args:
        path: The lock file, in an existing directory.
        shared: Let other shared locks in, but no exclusive one.

    Raises:
        OSError: The file cannot be created, or the file system has no locks (see `lacks_locks`).
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)
    try:
        if not _flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            holder = LockHolder.read(descriptor)
            os.close(descriptor)
            return holder
    except BaseException:
        os.close(descriptor)
        raise
    # For messages only, so a full disk may prevent it.
    with suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{json.dumps(asdict(LockHolder.current()))}\n".encode(), 0)
    return FileLock(descriptor)


def lacks_locks(error: OSError) -> bool:
    """Whether an error of `try_lock` says that the file system has no locks."""
    return error.errno in _NO_LOCKS


def _flock(descriptor: int, kind: int) -> bool:
    """Whether the lock was given."""
    for attempt in range(_TRIES):
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if attempt < _TRIES - 1:
                time.sleep(_PAUSE)
        else:
            return True
    return False


# --- Run directories -----------------------------------------------------------------------------------

# The lock files that this context holds: a step inside of a step that writes to the same run.
_held: ContextVar[frozenset[tuple[int, int]]] = ContextVar("held_run_locks", default=frozenset())


@contextmanager
def lock_run(run: Path, *, shared: bool = False) -> Iterator[None]:
    """Locks a run directory while it is written; steps that a writing step calls share its lock.

    Args:
        run: The directory; created if it does not exist.
        shared: For steps that write to the run side by side, such as shards.

    Raises:
        RunLockedError: Another process, or another thread of this one, writes to the run.
        RunError: The directory cannot be written.
    """
    path = run / _RUN_LOCK
    lock = None if _is_held(path) else _lock_run(path, shared=shared)
    if lock is None:
        yield
        return
    token = _held.set(_held.get() | {_identity(path)})
    try:
        yield
    finally:
        _held.reset(token)
        lock.release()


def _lock_run(path: Path, *, shared: bool) -> FileLock | None:
    """The lock; None, with a warning, where the file system has no locks."""
    run = path.parent
    try:
        run.mkdir(parents=True, exist_ok=True)
        lock = try_lock(path, shared=shared)
    except OSError as error:
        if lacks_locks(error):
            log.warning("%s cannot be locked here; let only one command at a time write to it", run)
            return None
        raise RunError(
            f"{run} cannot be written: {error.strerror}",
            hint="make the directory writable, or use a copy of it or another directory",
        ) from error
    if isinstance(lock, LockHolder):
        raise RunLockedError(
            f"{run} is being written by {lock}",
            hint="wait for it to end, stop it, or use another directory",
        )
    return lock


def run_writer(run: Path) -> LockHolder | None:
    """Who writes to a run at the moment; None if no one does, or it cannot be known."""
    path = run / _RUN_LOCK
    if _is_held(path):
        return None
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except (OSError, ValueError):  # ValueError: a NUL
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return LockHolder.read(descriptor)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return None


def _is_held(path: Path) -> bool:
    """Whether this context holds the lock of this file."""
    try:
        return _identity(path) in _held.get()
    except (OSError, ValueError):
        return False


def _identity(path: Path) -> tuple[int, int]:
    """Device and inode, so that two names of a directory are one lock."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _command() -> str:
    """What runs in this process, such as "mien train"; no arguments, which may hold anything."""
    program = Path(sys.argv[0] if sys.argv else "")
    if program.name in ("mien", "__main__.py") and len(sys.argv) > 1:
        return f"mien {sys.argv[1]}"
    return program.name or "python"


# --- Forked processes ----------------------------------------------------------------------------------

_open_descriptors: set[int] = set()


def _close_in_child() -> None:
    """A fork shares the lock of its parent, which would outlive the parent in it."""
    for descriptor in _open_descriptors:
        with suppress(OSError):
            os.close(descriptor)
    _open_descriptors.clear()


os.register_at_fork(after_in_child=_close_in_child)
