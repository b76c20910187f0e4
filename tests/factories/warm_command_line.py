"""The command line in a process that has loaded its libraries: commands are forks of it, and cost little.

Settings that libraries read when they are imported, such as HF_ENDPOINT, are those of the process.
"""

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_PROGRAM = """
import gc, json, os, sys
import torch
from huggingface_hub import HfApi, hf_hub_download
from transformers import MODEL_MAPPING, AutoConfig, CLIPVisionModel
from transformers import LlavaForConditionalGeneration, LlavaProcessor
import mien.cli.entry_point, mien.features.vision_tower, mien.model.build, mien.train.loop, mien.train.plan
import mien.workflow.descriptions, mien.workflow.steps
from huggingface_hub import constants
from mien.cli import main
gc.freeze()  # a collection in a fork would copy all of its memory
for line in sys.stdin:
    job = json.loads(line)
    child = os.fork()
    if not child:
        os.chdir(job["folder"])
        os.environ.update(job["environment"])
        for name, value in job["constants"].items():
            setattr(constants, name, value)
        for descriptor, name in ((0, os.devnull), (1, "out.txt"), (2, "err.txt")):
            os.dup2(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC), descriptor)
        sys.argv = ["mien", *job["arguments"]]
        code = main()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


class WarmCommandLine:
    """Runs commands in a folder, one at a time."""

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process, self._folder = process, folder

    def __call__(
        self,
        *arguments: str,
        environment: Mapping[str, str] | None = None,
        constants: Mapping[str, object] | None = None,
    ) -> Ended:
        """Runs a command.

        Args:
            arguments: The words after "mien".
            environment: Variables that are read when they are needed.
            constants: Values of `huggingface_hub.constants`, which are read from variables at the import.
        """
        job = {
            "arguments": arguments,
            "folder": str(self._folder),
            "environment": dict(environment or {}),
            "constants": dict(constants or {}),
        }
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(job) + "\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        out, err = ((self._folder / name).read_text() for name in ("out.txt", "err.txt"))
        return Ended(code, out, err)


@contextmanager
def warm_command_line(environment: Mapping[str, str], folder: Path) -> Iterator[WarmCommandLine]:
    """A process with these variables that runs commands in a folder until the block ends."""
    command: Sequence[str] = [sys.executable, "-c", _PROGRAM]
    with subprocess.Popen(
        command, env=dict(environment), text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        yield WarmCommandLine(process, folder)
        assert process.stdin is not None
        process.stdin.close()
