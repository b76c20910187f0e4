"""Ray in this process: begun or joined, and left as it was; with its errors as ours.

Goes in: where the cluster is. Comes out: the library, ready to be called.
Knows nothing about: engines, workers, requests. Nothing else imports Ray.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import secrets
import shutil
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mien.describe.ray.worker_backend import LostError
from mien.errors import ClusterError, MienError
from mien.recipe import RunOptions

__all__ = ["LOCAL", "Connection", "connection", "library", "seam"]

_log = logging.getLogger(__name__)

LOCAL: Final = "ray"
_VERSION: Final = (2, 52)  # the first that guards its ports by a token; older ones ignore the wish
# A socket's path has at most 107 bytes, and Ray's begins with a folder and the session's long name.
_LONGEST_FOLDER: Final = 22
_CONNECTING: Final = 10.0  # seconds
_SIGACTION: Final = 1024  # bytes, more than any system has in its struct
_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise Ray hides the GPUs from workers that reserve none of them.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Otherwise a call that comes after the end starts Ray anew.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def seam() -> Iterator[None]:
    """Ray's errors as ours: the engine's own come through, all others mean that a worker is lost."""
    errors = library().exceptions
    try:
        yield
    except errors.GetTimeoutError as error:
        raise LostError("gave no answer in time", hung=True) from error
    except errors.RayTaskError as error:
        raise error.cause or ClusterError(_first_line(error)) from error
    except errors.RayError as error:
        raise LostError(f"died: {_first_line(error)}") from error
    except ConnectionError as error:
        raise ClusterError(
            f"the cluster cannot be reached any more: {_first_line(error)}",
            hint="see that it runs, and run again: what was described is kept",
        ) from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


class Connection:
    """Shared by all engines of this process: begun by the first, ended by the last.

    It has a thread of its own, for two reasons: the processes that Ray starts end with the thread that
    started them, and in the main thread Ray takes the handling of SIGTERM from whoever had it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._thread: threading.Thread | None = None
        self._leave = threading.Event()

    def hold(self, run: RunOptions) -> None:
        """Begins, if nobody has; ClusterError if that fails. What was begun by others is used as it is."""
        with self._lock:
            if self._holders == 0:
                _prepare(run)
                if not library().is_initialized():
                    self._begin(run)
            self._holders += 1

    def release(self) -> None:
        """Ends, if nobody else holds it."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0 and self._thread is not None:
                self._leave.set()
                self._thread.join()
                self._thread = None

    def _begin(self, run: RunOptions) -> None:
        began: Future[None] = Future()
        self._leave.clear()
        self._thread = threading.Thread(target=self._live, args=(run, began), name="ray", daemon=True)
        self._thread.start()
        began.result()

    def _live(self, run: RunOptions, began: Future[None]) -> None:
        folder = _short_folder() if run.cluster == LOCAL else None
        try:
            _begin(run, folder)
            began.set_result(None)
            self._leave.wait()
        except MienError as error:
            began.set_exception(error)
        finally:
            library().shutdown()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)


connection: Final = Connection()


def _begin(run: RunOptions, folder: Path | None) -> None:
    settings: dict[str, Any] = {"address": run.cluster}
    if folder is None:
        _require_listener(str(run.cluster))
    else:
        cores, wanted = os.cpu_count() or 1, math.ceil((run.actors or 0) * run.cpus_per_actor)
        settings = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": max(cores, wanted),  # as many workers as are asked for, however few cores
            "_temp_dir": str(folder / "ray"),  # Ray opens its own folder to everybody, so it has one above it
        }
    _silence()
    try:
        with _keeping_signals():
            library().init(log_to_driver=False, logging_level="ERROR", **settings)
    except Exception as error:  # Ray raises anything here; this is the seam
        raise ClusterError(
            f"cluster {run.cluster!r} cannot be used: {_first_line(error)}",
            hint="see that it runs, has the same Ray and Python as here, and that RAY_AUTH_TOKEN is its "
            "token (or RAY_AUTH_MODE=disabled, if it asks for none)",
        ) from error


def _require_listener(address: str) -> None:
    """Ray itself tries for minutes to reach an address where nobody listens."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if parts.hostname and parts.port:  # others are names that Ray understands, such as "auto"
            socket.create_connection((parts.hostname, parts.port), timeout=_CONNECTING).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"nobody answers at cluster {address!r}: {_first_line(error)}",
            hint="see that it runs, and write it as HOST:6379 or ray://HOST:10001",
        ) from error


def _prepare(run: RunOptions) -> None:
    """What Ray reads from the environment when it is imported, and hands on to what it starts."""
    is_late = "ray" in sys.modules
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if run.cluster == LOCAL:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        if is_late:
            _read_again()
        if tuple(int(part) for part in library().__version__.split(".")[:2]) < _VERSION:
            raise ClusterError(
                f"Ray {library().__version__} leaves its ports unguarded", hint="pip install 'mien[ray]'"
            )


def _read_again() -> None:
    """Somebody imported Ray before; it would go on as if no token were wanted."""
    inside = library()._raylet  # as Ray itself does where it makes up a token
    inside.Config.initialize("")
    inside.AuthenticationTokenLoader.instance().reset_cache()


def _silence() -> None:
    """What nodes report goes to the log; Ray prints it to stdout, where only data may be, come what may."""
    worker = library()._private.worker
    worker.print_to_stdstream = lambda data, **how: _log.info("ray: %s", " ".join(data["lines"]))


@contextmanager
def _keeping_signals() -> Iterator[None]:
    """Ray lets a fault handler of its own end the process at SIGTERM, below what Python knows of handlers."""
    library_of_c = ctypes.CDLL(None)
    kept = {number: ctypes.create_string_buffer(_SIGACTION) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, action in kept.items():
        library_of_c.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in kept.items():
            library_of_c.sigaction(number, action, None)


def _short_folder() -> Path:
    parent = tempfile.gettempdir()
    parent = parent if len(parent) <= _LONGEST_FOLDER else "/tmp"  # noqa: S108  a folder of our own within
    return Path(tempfile.mkdtemp(prefix="mien-ray-", dir=parent))


def library() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "run.cluster needs the library Ray, which is not installed",
            hint="install it with: pip install 'mien[ray]'",
        ) from error
    return ray
