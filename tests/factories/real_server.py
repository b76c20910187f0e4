"""A real chat-completions server in a separate process: `transformers serve` with the embedded LLaVA."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from urllib.error import URLError

import pytest
from tests.factories.fault_proxy import open_direct, unused_address, wait_until

from mien.playhouse.embedded_models import embedded_model_folder


class RealServer:
    """A server that is starting; reading `address` waits until it is up."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    @cached_property
    def address(self) -> str:
        wait_until(self._is_up)
        return self._url

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with open_direct(f"{self._url.removesuffix('/v1')}/health") as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False


@pytest.fixture(scope="session")
def real_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealServer]:
    """`transformers serve` with the embedded LLaVA; the first test does other work while it starts."""
    pytest.importorskip("uvicorn", reason="needs transformers[serving]")
    folder, url = tmp_path_factory.mktemp("server"), unused_address()
    port = url.removesuffix("/v1").rpartition(":")[2]
    command = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        str(embedded_model_folder("llava")),
    ]
    options = ["--host", "127.0.0.1", "--port", port, "--device", "cpu", "--dtype", "float32"]
    # It lists the models in the cache, which must exist and stays empty.
    environment = os.environ | {"HF_HUB_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment)
    try:
        yield RealServer(process, url, folder / "log")
    finally:
        process.terminate()
        process.wait()
