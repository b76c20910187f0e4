"""Describing survives any file among the images: each is described, or stored as a failure with a reason."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.hostile_images import BROKEN, ODD

from mien.describe.fake import FakeEngine
from mien.describe.generate import describe
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.types import Box, Subject

# Opens one image in a separate process, with limits on memory and processor time.
# VmHWM and not ru_maxrss: a process inherits the latter from its parent, which has loaded whole libraries.
ALONE = """
import resource, sys
from pathlib import Path
import mien.media.images, numpy
resource.setrlimit(resource.RLIMIT_CPU, (4, 4))
try:
    mien.media.images.open_image(Path(sys.argv[1])).load()
except mien.errors.DataError:
    pass
print(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
"""


@pytest.mark.parametrize("box", [None, Box(left=0, top=0, right=2, bottom=2)], ids=["whole", "boxed"])
def test_every_file_is_described_or_a_failure(tmp_path: Path, box: Box | None) -> None:
    assert len(ODD) + len(BROKEN) >= 60
    paths = {name: make(tmp_path) for name, make in {**ODD, **BROKEN}.items()}
    subjects = [Subject.still(name, path, box) for name, path in paths.items()]
    with Store(tmp_path / "store.sqlite") as store:
        summary = describe(
            subjects,
            RequestBuilder(
                engine=FakeEngine(), prompt=get_prompt("paper"), label_set=EMOTIC, marking=Marking()
            ),
            store,
            batch_size=7,
        )
        failed = {failure.subject_id: failure.error for failure in store.failures()}
    assert set(failed) == set(BROKEN)
    assert all(len(reason) > 10 for reason in failed.values())
    assert (summary.done, summary.failed) == (len(ODD), len(BROKEN))


@pytest.mark.parametrize("name", ["bomb", "bomb_wide", "png_huge_claim", "thin", "flat", "device", "pipe"])
def test_no_file_exhausts_memory_or_time(tmp_path: Path, name: str) -> None:
    path = {**ODD, **BROKEN}[name](tmp_path)
    done = subprocess.run([sys.executable, "-c", ALONE, path], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr.decode()
    assert int(done.stdout) < 1024 * 1024, "kilobytes; a gigabyte is the limit"


def test_exceeding_a_limit_is_detected() -> None:
    """The measurement above shows a process that takes too much."""
    code = ALONE.replace("mien.media.images.open_image(Path(sys.argv[1])).load()", "numpy.ones(150_000_000)")
    code = code.replace("(4, 4)", "(60, 60)")  # touching so many pages takes seconds on some machines
    done = subprocess.run([sys.executable, "-c", code, "x"], capture_output=True, timeout=60, check=False)
    assert int(done.stdout) > 1024 * 1024
    assert resource.RLIMIT_CPU is not None
