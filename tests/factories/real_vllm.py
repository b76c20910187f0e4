"""A real vLLM on a CPU: the engine in this process, and the OpenAI server."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from tests.factories.fault_proxy import open_direct, unused_address

from mien.describe.engine import Engine, Reply, Request
from mien.describe.prompts import get_prompt
from mien.describe.vllm import VllmEngine, VllmOptions
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.playhouse.embedded_models import embedded_model_folder

# Inherited by vLLM's processes: a small cache, no statistics to its makers.
SETTINGS = {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_NO_USAGE_STATS": "1", "HF_HUB_OFFLINE": "1"}
MAX_TOKENS, MAX_MODEL_LEN, COUNT = 120, 512, 300
SECONDS_TO_START = 600  # it takes half a minute where nothing else runs

HOW: dict[str, Any] = {"prompt": get_prompt("paper"), "label_set": EMOTIC, "marking": Marking()}


def texts_of(engine: Engine, requests: Sequence[Request], size: int = 30) -> list[str]:
    """The texts of an engine, in batches; a failed request is an error."""
    groups = [requests[start : start + size] for start in range(0, len(requests), size)]
    replies = [reply for group in groups for reply in engine.describe(group)]
    return [reply.text if isinstance(reply, Reply) else pytest.fail(str(reply)) for reply in replies]


def open_vllm(model: Path | str, max_new_tokens: int = MAX_TOKENS, **options: Any) -> VllmEngine:
    own = VllmOptions(enforce_eager=True, **{"max_model_len": MAX_MODEL_LEN, **options})
    return VllmEngine(str(model), dtype="float32", max_new_tokens=max_new_tokens, options=own)


class VllmServer:
    """vLLM's OpenAI server with the embedded LLaVA, at an address that it keeps when it is started again."""

    model = str(embedded_model_folder("llava"))

    def __init__(self, log: Path) -> None:
        self.url = unused_address()
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        port = self.url.removesuffix("/v1").rpartition(":")[2]
        # `vllm serve` looks its own version up under another name than the CPU build has.
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", self.model]
        options = ["--dtype", "float32", "--enforce-eager", "--max-model-len", str(MAX_MODEL_LEN)]
        place = ["--host", "127.0.0.1", "--port", port]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *options, *place], stdout=log, stderr=log, start_new_session=True
            )

    def wait(self) -> None:
        """Returns when the server is up."""
        assert self._process is not None
        end = time.monotonic() + SECONDS_TO_START
        while not self._is_up():
            assert self._process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < end, "the server did not start"
            time.sleep(0.2)

    def _is_up(self) -> bool:
        try:
            with open_direct(f"{self.url.removesuffix('/v1')}/health") as response:
                return bool(response.status == 200)
        except (URLError, OSError):
            return False

    def kill(self) -> None:
        """Ends the server and its processes at once."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    def num_answered(self) -> int:
        """How many requests it has answered since it was started."""
        with open_direct(f"{self.url.removesuffix('/v1')}/metrics") as response:
            lines = response.read().decode().splitlines()
        counts = [line.rpartition(" ")[2] for line in lines if line.startswith("vllm:request_success_total{")]
        return round(sum(map(float, counts)))
