"""`mien serve` as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["started"]

_SOURCE = Path(__file__).parents[2] / "src"


@contextmanager
def started(*arguments: str, log: Path, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process of `mien serve`, and its address once it is ready."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "mien", "serve", *arguments, "--port", "0", "--json"],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, "PYTHONPATH": str(_SOURCE), **environment},
        )
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line, log.read_text()
            yield process, json.loads(line)["url"]
        finally:
            process.kill()
            process.wait()
