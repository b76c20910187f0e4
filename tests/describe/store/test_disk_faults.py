"""Every write, sync and rename fails once, and the disk fills up at any size: earlier rows survive."""

import subprocess
import sys
from pathlib import Path

import pytest

from mien.describe.store.store import Store

SCRIPT = Path(__file__).parents[3] / "scripts" / "faults.py"

# Writes in place, and so can lose the old content before the new content is complete.
IN_PLACE = f"""
import sys
sys.path.insert(0, {str(SCRIPT.parent)!r})
import faults
faults.atomic_write_json = lambda path, value: path.write_text(faults.json.dumps(value))
sys.exit(faults.main())
"""

# Fills a store under a limit on the size of files, as a quota would set it; prints the error.
FILL = """
import resource, sys
from pathlib import Path
from mien.describe.store.store import Store
from mien.errors import StoreError
from mien.types import Description
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
written = 0
try:
    with Store(Path(sys.argv[1])) as store:
        for number in range(2000):
            key = f"k{number:05}"
            store.put([Description(key=key, subject_id="s", text="word " * 200, prompt_id="p", engine="e",
                                   finish="stop")])
            written += 1
except StoreError as error:
    print(f"{written} {error}; {error.hint}")
"""


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "modes", [("fail", "torn"), pytest.param(("full", "kill"), marks=pytest.mark.slow)], ids="-".join
)
def test_any_call_that_changes_a_file_may_fail(modes: tuple[str, str]) -> None:
    done = run(str(SCRIPT), *(argument for mode in modes for argument in ("--mode", mode)))
    if done.returncode == 77:
        pytest.skip("no C compiler")
    assert done.returncode == 0, done.stdout + done.stderr
    counts = dict(part.split("=") for part in done.stdout.splitlines()[-1].split())
    assert counts.pop("failures") == "0"
    # The faults were injected: some calls failed, and some processes were killed.
    assert all(int(number) > 0 for number in counts.values())


def test_a_file_written_in_place_is_detected(tmp_path: Path) -> None:
    script = tmp_path / "in_place.py"
    script.write_text(IN_PLACE)
    done = run(str(script), "--mode", "torn")
    if done.returncode == 77:
        pytest.skip("no C compiler")
    assert done.returncode == 1
    assert "a replaced file" in done.stdout


@pytest.mark.parametrize("size", [2_000, 20_000, 70_000, 300_000])
def test_the_disk_may_be_full_at_any_size(tmp_path: Path, size: int) -> None:
    path = tmp_path / "store.sqlite"
    done = run("-c", FILL, str(path), str(size))
    assert done.returncode == 0, done.stderr
    written, _, message = done.stdout.partition(" ")
    assert "what was written is kept" in message
    with Store(path) as store:
        # The last group may have reached the disk before the error.
        assert list(store.keys())[: int(written)] == [f"k{number:05}" for number in range(int(written))]
        assert len(store) - int(written) in {0, 1}
