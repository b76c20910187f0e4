"""`emotic_mat` in a process of its own, for files whose bytes nothing vouches for.

In: the path of a MATLAB file. Out: the same `People`; a DataError where SciPy's reader crashed.
Knows nothing about what is in the file. Run as a module it is that other process, and prints JSON.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

from mien.data.emotic.mat_reader import read_mat
from mien.data.emotic.table import People
from mien.errors import DataError, MienError
from mien.types import Problem

__all__ = ["read_mat_apart"]


def read_mat_apart(path: Path, *, images: Path) -> Iterator[People]:
    """What `read_mat` gives, by way of JSON."""
    command = [sys.executable, "-m", "mien.data.emotic.mat_subprocess", str(path), str(images)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode < 0:  # by a signal, such as that of a segmentation fault
        raise DataError(
            f"{path} cannot be read as a MATLAB file: its bytes are damaged so that the reader crashed",
            hint="copy the file again",
        )
    if done.returncode:
        raise MienError(f"{path} could not be read in another process: {done.stderr.decode()[-500:]}")
    answer = json.loads(done.stdout)
    if "error" in answer:
        raise DataError(answer["error"], hint=answer["hint"])
    for split, columns, found in answer["people"]:
        problems = [(split, unusable, Problem(**problem)) for unusable, problem in found]
        yield People(split=split, images=images, columns=columns, found=problems)


def main(path: Path, images: Path) -> None:
    """Prints all `People` as one JSON document, or what is wrong."""
    gc.disable()  # this process ends with its answer, and has a million values to go through
    try:
        answer: dict[str, object] = {"people": [_plain(people) for people in read_mat(path, images=images)]}
    except DataError as error:
        answer = {"error": str(error), "hint": error.hint}
    sys.stdout.write(json.dumps(answer))


def _plain(people: People) -> tuple[object, ...]:
    found = [(unusable, asdict(problem)) for _, unusable, problem in people.found]
    return people.split, people.columns, found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
