"""The engine `vllm` with a real vLLM: its texts, its failures, and how it ends."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from tests.factories.real_vllm import SECONDS_TO_START, open_vllm, texts_of

from mien.describe.engine import Request
from mien.describe.vllm import VllmEngine
from mien.errors import EngineError

RECIPE = """
name = "scenes"
[data]
name = "playhouse"
label_set = "emotic"
options = { train = 1, val = 8, test = 2000 }
[describe]
engine = "vllm"
model = "playhouse"
dtype = "float32"
max_new_tokens = 120
options = { enforce_eager = true, max_model_len = 512 }
[run]
batch_size = 4
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[VllmEngine]:
    opened = open_vllm("playhouse")
    yield opened
    opened.close()


def test_texts_are_those_of_the_engine_local(
    engine: VllmEngine, requests: list[Request], texts: list[str]
) -> None:
    assert texts_of(engine, requests) == texts


def test_a_prompt_that_is_too_long_fails_alone_with_the_reason(
    engine: VllmEngine, requests: list[Request], texts: list[str]
) -> None:
    long = Request(subject_id="long", images=requests[0].images, prompt="How do they feel? " * 200)
    first, failed, last = engine.describe([requests[0], long, requests[1]])
    assert [getattr(reply, "text", None) for reply in (first, last)] == texts[:2]
    assert isinstance(failed, EngineError)
    assert "maximum" in str(failed)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "recipe.toml").write_text(RECIPE)
    return tmp_path


def start(folder: Path, split: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mien", "describe", "recipe.toml", "--split", split, "--json"]
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=log, start_new_session=True
        )


def processes(group: int) -> list[str]:
    """The command lines of a process group, without those that have ended."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended since
            state, _, its_group, *_ = stat.read_text().rpartition(")")[2].split()
            if state != "Z" and int(its_group) == group:
                found.append(stat.with_name("cmdline").read_text().replace("\0", " "))
    return found


def wait_for_the_end_of(group: int) -> None:
    end = time.monotonic() + 30
    while found := processes(group):
        assert time.monotonic() < end, found
        time.sleep(0.2)


def test_the_command_ends_quietly_with_one_document_on_stdout(folder: Path) -> None:
    process = start(folder, "val")
    out, _ = process.communicate(timeout=SECONDS_TO_START)
    assert process.returncode == 0
    assert json.loads(out)["described"] == 8
    assert "Traceback" not in (folder / "log").read_text()
    wait_for_the_end_of(process.pid)


def test_ctrl_c_ends_it_quietly_with_all_of_its_processes(folder: Path) -> None:
    process = start(folder, "test")
    log, end = folder / "log", time.monotonic() + SECONDS_TO_START
    while "described 4/" not in log.read_text():
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < end
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in log.read_text()
    wait_for_the_end_of(process.pid)
