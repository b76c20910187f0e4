"""Small files of many pixels never take 1 GB, one by one or with several workers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.attacks.large_images import LARGE

_GIGABYTE = 1 << 20  # in KiB

# Prints the peak of resident memory over what the process takes at first, in KiB, after a line per outcome.
_MEASURE = """
import sys
from pathlib import Path
from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import MienError
from mien.features.image_reader import load_pixels
from mien.labels import EMOTIC
from mien.media.images import Marking, Square, open_image
from mien.prefetch import prefetch, thread_pool
from mien.types import Box, Subject

def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])

def load(path):
    try:
        return str(open_image(path).size)
    except MienError as error:
        return str(error)

def features(path):
    subject = Subject.still("a", path, Box(left=0, top=0, right=9, bottom=9))
    try:
        return str(load_pixels(subject, [Marking()], Square(32)).shape)
    except MienError as error:
        return str(error)

how, workers, paths = sys.argv[1], int(sys.argv[2]), [Path(path) for path in sys.argv[3:]]
Path("/proc/self/clear_refs").write_text("5")  # a child starts with its parent's peak
before = peak()
if how == "describe":
    subjects = [Subject.still(path.name, path, Box(left=0, top=0, right=9, bottom=9)) for path in paths]
    builder = RequestBuilder(
        engine=FakeEngine(), prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
    )
    with Store(paths[0].parent / "store.sqlite") as store:
        print(describe(subjects, builder, store, workers=workers).failed)
else:
    with thread_pool(workers) as pool:
        for outcome in prefetch({"load": load, "features": features}[how], paths, pool=pool, window=8):
            print(outcome)
print(peak() - before)
"""


def measure(how: str, workers: int, paths: list[Path]) -> list[str]:
    """The outcomes; AssertionError if the process took a gigabyte."""
    done = subprocess.run(
        [sys.executable, "-c", _MEASURE, how, str(workers), *map(str, paths)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    *outcomes, kilobytes = done.stdout.splitlines()
    assert int(kilobytes) < _GIGABYTE, f"{how} with {workers} workers took {int(kilobytes) >> 10} MiB"
    return outcomes


def slow(*values: object) -> object:
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "kind", [kind if kind in ("16-bit gray", "one column") else slow(kind) for kind in LARGE]
)
def test_one_image(tmp_path: Path, kind: str) -> None:
    is_read, write = LARGE[kind]
    (outcome,) = measure("load", 0, [write(tmp_path / "a.png")])
    assert outcome.startswith("(") if is_read else "GB to decode, more than the 0.8 GB allowed" in outcome


@pytest.mark.parametrize(("how", "workers"), [slow("features", 4), slow("describe", 0), ("describe", 4)])
def test_many_images_and_workers(tmp_path: Path, how: str, workers: int) -> None:
    kinds = ("16-bit gray", "one column", "transparent")
    paths = [LARGE[kind][1](tmp_path / f"{number}.png") for number, kind in enumerate(kinds)]
    outcomes = measure(how, workers, paths)
    if how == "describe":
        assert outcomes == ["1"]
    else:
        assert [outcome.startswith("(") for outcome in outcomes] == [LARGE[kind][0] for kind in kinds]
