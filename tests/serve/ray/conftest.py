"""Ray Serve with two replicas of a tiny run, on a free port of this machine."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from tests.factories.held_detector import FOLDER
from tests.factories.tiny_runs import train_tiny_run

from mien.describe.ray.connection import connection, ray_library
from mien.recipe import RunOptions
from mien.serve.ray.arguments import Arguments

ROOT = Path(__file__).parents[3]
TOKEN = "0123456789abcdef0123456789abcdef"
MAX_PENDING = 2  # requests per replica
HANGS = 600.0  # seconds after which something hangs, also on a busy machine


@dataclass
class Deployed:
    """An application on Ray Serve."""

    url: str
    arguments: Arguments
    folder: Path

    @property
    def hold(self) -> Path:
        """While this file is there, models wait."""
        return self.folder / "hold"

    def readers(self) -> set[int]:
        """Ids of the processes that have read images since `hold` was made."""
        return {int(file.stem) for file in self.folder.glob("*.reading")}

    def log(self) -> str:
        """What Ray and Serve have logged in all processes."""
        folder = Path(ray_library()._private.worker._global_node.get_session_dir_path()) / "logs"
        files = [file for file in folder.rglob("*") if file.is_file()]
        return "\n".join(file.read_text(encoding="utf-8", errors="replace") for file in files)

    def client(self, token: str | None = TOKEN, **headers: str) -> httpx2.Client:
        if token is not None:
            headers["authorization"] = f"Bearer {token}"
        return httpx2.Client(base_url=self.url, headers=headers, timeout=HANGS, trust_env=False)


def import_ray_serve() -> None:
    """Skips the test where there is no Ray Serve that mien can use."""
    pytest.importorskip("ray", minversion="2.58")
    pytest.importorskip("ray.serve")


@pytest.fixture(autouse=True)
def loggers() -> Iterator[None]:
    """Undoes `log_to_serve`, which is for a process of its own."""
    logger = logging.getLogger("mien.serve")
    before = logger.level, logger.propagate, list(logger.handlers)
    yield
    logger.level, logger.propagate, logger.handlers[:] = before


def run_async(coroutine: Coroutine[Any, Any, None]) -> None:
    """Runs it in a thread, because tests of pages leave an event loop running in this one."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(asyncio.run, coroutine).result()


@pytest.fixture
def deployed(tmp_path: Path) -> Iterator[Deployed]:
    run = train_tiny_run(tmp_path)
    folder = tmp_path / "held"
    folder.mkdir()
    arguments: dict[str, Any] = {
        "run": str(run),
        "detector": "tests.factories.held_detector:HeldDetector",
        "replicas": "2",  # text, as on a command line
        "max_pending": MAX_PENDING,
        "max_upload": 1,
    }
    with serving(arguments, folder) as found:
        yield found
        found.hold.unlink(missing_ok=True)


@contextmanager
def serving(arguments: dict[str, Any], folder: Path) -> Iterator[Deployed]:
    """Starts Ray with the environment that the documentation asks for, and Serve with the application."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environment = {
        "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "mien.serve.ray.proxy:guard",
        "MIEN_SERVE_TOKEN": TOKEN,
        "MIEN_SERVE_MAX_UPLOAD": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]),
        "RAY_worker_niceness": "0",  # otherwise all other tests come first
        # A busy machine is not a failure.
        "RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S": "600",
        "RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S": "600",
        FOLDER: str(folder),
    }
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        connection.acquire(RunOptions(cluster="ray", actors=4))
        try:
            from ray import serve

            from mien.serve.ray import app

            serve.start(http_options={"host": "127.0.0.1", "port": port})
            serve.run(app(arguments), name="mien", route_prefix="/")
            yield Deployed(f"http://127.0.0.1:{port}", Arguments.parse(arguments), folder)
            serve.shutdown()  # type: ignore[no-untyped-call]
        finally:
            connection.release()
