"""Reads `Annotations.mat` in a child process, because SciPy may crash on damaged or hostile bytes.

Run as a module, this is the child process. It prints JSON.
"""

from __future__ import annotations

import gc
import json
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from mien.data.emotic.mat_reader import read_mat
from mien.data.emotic.person_table import PersonTable
from mien.data.table_cache import RowProblem
from mien.errors import DataError, EngineError, MienError
from mien.types import Problem

__all__ = ["read_mat_in_subprocess"]

_MAX_MEMORY: Final = 8 << 30  # bytes of address space, most of them of libraries
# Signals of a process that damaged bytes lead astray.
_CRASHES: Final = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT)


def read_mat_in_subprocess(path: Path, *, image_root: Path) -> Iterator[PersonTable]:
    """The same as `read_mat`.

    Raises:
        DataError: As `read_mat`, or SciPy's reader crashed.
        EngineError: The process was killed.
    """
    command = [sys.executable, "-m", "mien.data.emotic.mat_subprocess", str(path), str(image_root)]
    done = subprocess.run(command, capture_output=True, check=False)
    if -done.returncode in _CRASHES:
        raise DataError(
            f"{path} cannot be read as a MATLAB file: it is damaged so that the reader crashed",
            hint="copy the file again",
        )
    if done.returncode < 0:
        raise EngineError(
            f"the process that reads {path} was killed, perhaps because the memory ran out",
            hint="run again, with more memory",
        )
    if done.returncode:
        end = done.stderr.decode(errors="replace")[-500:]
        raise MienError(f"the child process that reads {path} failed: {end}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise DataError(answer["error"], hint=answer["hint"])
    for split, columns, found in answer["tables"]:
        problems = [RowProblem(split, Problem(**problem), unusable) for unusable, problem in found]
        yield PersonTable(split=split, image_root=image_root, columns=columns, problems=problems)


def main(path: Path, image_root: Path) -> None:
    """Prints all tables, or the error, as one JSON document."""
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))
    gc.disable()  # a short-lived process that creates a million values
    try:
        tables = [_as_json(table) for table in read_mat(path, image_root=image_root)]
        answer: dict[str, object] = {"tables": tables}
    except DataError as error:
        answer = {"error": str(error), "hint": error.hint}
    sys.stdout.write(json.dumps(answer))


def _as_json(table: PersonTable) -> tuple[object, ...]:
    problems = [(item.unusable, asdict(item.problem)) for item in table.problems]
    return table.split, table.columns, problems


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
