"""The connection to Ray: started or joined on first use, with Ray's errors mapped to mien's.

Only this module and `mien.serve.ray.deployment`, which Ray Serve runs, import Ray.
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mien.describe.ray.worker_backend import WorkerLostError
from mien.errors import ClusterError, MienError, first_line
from mien.files import temporary_folder
from mien.recipe import RunOptions

__all__ = ["LOCAL", "Connection", "connection", "map_ray_errors", "ray_library"]

_log = logging.getLogger(__name__)

LOCAL: Final = "ray"  # the value of run.cluster that starts Ray on this machine
_MIN_VERSION: Final = (2, 52)  # the first that protects its ports with a token; older ones ignore the setting
# A socket path has at most 107 bytes, and Ray's starts with this folder and a long session name.
_MAX_FOLDER_LENGTH: Final = 8
_CONNECT_TIMEOUT: Final = 10.0  # seconds
_SIGACTION_SIZE: Final = 1024  # bytes; larger than the struct of any system
_ENVIRONMENT: Final = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Otherwise Ray hides the GPUs from workers that reserve none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Otherwise a call after shutdown starts Ray again.
    "RAY_ENABLE_AUTO_CONNECT": "0",
    "RAY_AUTH_MODE": "token",
}


@contextmanager
def map_ray_errors() -> Iterator[None]:
    """Maps Ray's errors: the engine's own pass through, all others mean that a worker is lost."""
    errors = ray_library().exceptions
    try:
        yield
    except errors.GetTimeoutError as error:
        raise WorkerLostError("did not answer in time", hung=True) from error
    except errors.RayTaskError as error:
        raise error.cause or ClusterError(first_line(error, with_type=True)) from error
    except errors.RayError as error:
        raise WorkerLostError(f"died: {first_line(error, with_type=True)}") from error
    except ConnectionError as error:
        raise ClusterError(
            f"the cluster is no longer reachable: {first_line(error, with_type=True)}",
            hint="check that it runs, then run again; finished descriptions are kept",
        ) from error


class Connection:
    """Shared by all engines of this process: the first one opens it, the last one closes it.

    It lives in a separate thread for two reasons: processes that Ray starts end with the thread that started
    them, and in the main thread Ray replaces the handler of SIGTERM.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._num_users = 0
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()

    def acquire(self, run: RunOptions) -> None:
        """Starts or joins the cluster on first use; ClusterError if that fails.

        If the process is connected to Ray already, that connection is used and left open.
        """
        with self._lock:
            if self._num_users == 0:
                _prepare(run)
                if not ray_library().is_initialized():
                    self._start_thread(run)
            self._num_users += 1

    def release(self) -> None:
        """Closes the connection when its last user releases it."""
        with self._lock:
            self._num_users -= 1
            if self._num_users == 0 and self._thread is not None:
                self._closing.set()
                self._thread.join()
                self._thread = None

    def _start_thread(self, run: RunOptions) -> None:
        started: Future[None] = Future()
        self._closing.clear()
        self._thread = threading.Thread(target=self._keep_open, args=(run, started), name="ray", daemon=True)
        self._thread.start()
        started.result()

    def _keep_open(self, run: RunOptions, started: Future[None]) -> None:
        try:
            with ExitStack() as stack:
                folder = None
                if run.cluster == LOCAL:
                    folder = stack.enter_context(temporary_folder(_short_folder(), "ray"))
                stack.callback(ray_library().shutdown)
                _connect(run, folder)
                started.set_result(None)
                self._closing.wait()
        except MienError as error:
            started.set_exception(error)


connection: Final = Connection()


def _connect(run: RunOptions, folder: Path | None) -> None:
    settings: dict[str, Any] = {"address": run.cluster}
    if folder is None:
        _require_listener(str(run.cluster))
    else:
        num_cores, num_needed = os.cpu_count() or 1, math.ceil((run.actors or 0) * run.cpus_per_actor)
        settings = {
            "address": "local",
            "include_dashboard": False,
            "num_cpus": max(num_cores, num_needed),  # run.actors workers start even on fewer cores
            "_temp_dir": str(folder / "r"),  # Ray makes it readable to everyone; the folder above is not
        }
    _redirect_output()
    try:
        with _preserve_signal_handlers():
            ray_library().init(log_to_driver=False, logging_level="ERROR", **settings)
    except Exception as error:  # Ray may raise anything here
        raise ClusterError(
            f"cluster {run.cluster!r} cannot be used: {first_line(error, with_type=True)}",
            hint="check that it runs, that it has the same Ray and Python as this machine, and that "
            "RAY_AUTH_TOKEN is its token (or set RAY_AUTH_MODE=disabled if it requires none)",
        ) from error


def _require_listener(address: str) -> None:
    """Ray itself tries for minutes to reach an address where nothing listens."""
    parts = urlsplit(address if "://" in address else f"ray://{address}")
    try:
        if parts.hostname and parts.port:  # other values, such as "auto", are for Ray to resolve
            socket.create_connection((parts.hostname, parts.port), timeout=_CONNECT_TIMEOUT).close()
    except (OSError, ValueError) as error:
        raise ClusterError(
            f"no answer from cluster {address!r}: {first_line(error, with_type=True)}",
            hint="check that it runs, and write its address as HOST:6379 or ray://HOST:10001",
        ) from error


def _prepare(run: RunOptions) -> None:
    """Sets what Ray reads from the environment on import and passes on to the processes that it starts."""
    is_imported = "ray" in sys.modules
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if run.cluster == LOCAL:
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
        if is_imported:
            _reload_authentication()
        if tuple(int(part) for part in ray_library().__version__.split(".")[:2]) < _MIN_VERSION:
            raise ClusterError(
                f"Ray {ray_library().__version__} does not protect its ports",
                hint="upgrade it with: pip install 'mien[ray]'",
            )


def _reload_authentication() -> None:
    """Ray was imported before the token was set, and would run without one."""
    inside = ray_library()._raylet  # the same calls as where Ray generates a token itself
    inside.Config.initialize("")
    inside.AuthenticationTokenLoader.instance().reset_cache()


def _redirect_output() -> None:
    """Sends reports of the nodes to the log; Ray always prints them to stdout, which is for data only."""
    worker = ray_library()._private.worker
    worker.print_to_stdstream = lambda data, **how: _log.info("ray: %s", " ".join(data["lines"]))


@contextmanager
def _preserve_signal_handlers() -> Iterator[None]:
    """Restores the handlers that Ray replaces, below Python's, with one that ends the process at SIGTERM."""
    libc = ctypes.CDLL(None)
    saved = {
        number: ctypes.create_string_buffer(_SIGACTION_SIZE) for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number, action in saved.items():
        libc.sigaction(number, None, action)
    try:
        yield
    finally:
        for number, action in saved.items():
            libc.sigaction(number, action, None)


def _short_folder() -> Path:
    """Where Ray's own folder can be; the name of that one takes 30 of the bytes of a socket path."""
    parent = tempfile.gettempdir()
    return Path(parent if len(parent) <= _MAX_FOLDER_LENGTH else "/tmp")  # noqa: S108  a private one is made inside


def ray_library() -> Any:
    """The module `ray`; ClusterError if it is not installed."""
    try:
        import ray
    except ImportError as error:
        raise ClusterError(
            "run.cluster needs the library Ray, which is not installed",
            hint="install it with: pip install 'mien[ray]'",
        ) from error
    return ray
