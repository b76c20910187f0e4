"""Commands in forks of one process that has loaded their libraries; some are killed on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def run_commands(folder: Path, *commands: tuple[Sequence[str], int | None]) -> list[int]:
    """Runs `mien predict` commands in a folder one after the other.

    Args:
        folder: The working directory.
        commands: The arguments of each, and after how many results it is killed; None for not at all.

    Returns:
        The exit code of each; the negative number of the signal if it was killed.
    """
    arguments = json.dumps([[list(words), after] for words, after in commands])
    ended = subprocess.run(
        [sys.executable, "-m", __name__, arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    codes: list[int] = json.loads(ended.stdout.splitlines()[-1])
    return codes


def _main() -> None:
    import torch  # noqa: F401  before the forks, and so is what follows
    from transformers import LlavaForConditionalGeneration, LlavaProcessor  # noqa: F401

    import mien.predict.predictor  # noqa: F401

    codes = []
    for words, after in json.loads(sys.argv[1]):
        child = os.fork()  # of a process that has decoded nothing yet
        if child == 0:
            try:
                os._exit(_work(words, after))
            finally:
                os._exit(1)
        codes.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    sys.stdout.write(json.dumps(codes))


def _work(words: Sequence[str], after: int | None) -> int:
    from mien.cli import main
    from mien.predict.output.journal import Journal

    append = Journal.append

    def append_and_kill(journal: Journal, results: Any, **given: Any) -> None:
        append(journal, results, **given)
        if journal.num_results == after:
            os.kill(os.getpid(), signal.SIGKILL)

    Journal.append = append_and_kill  # type: ignore[method-assign, assignment]
    os.dup2(2, 1)  # only the codes go to stdout
    return main(["predict", *words])


if __name__ == "__main__":
    _main()
