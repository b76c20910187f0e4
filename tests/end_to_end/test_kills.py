"""Commands that are killed leave nothing torn, lost or behind; see `scripts/chaos.py`."""

import subprocess
import sys
from pathlib import Path

import pytest

CHAOS = Path(__file__).parents[2] / "scripts" / "chaos.py"

# Writes under the final name, slowly.
TORN = f"""
import sys, time
sys.path.insert(0, {str(CHAOS.parent)!r})
import mien.files
from contextlib import contextmanager

@contextmanager
def direct(path, *, sync=True):
    with path.open("wb") as file:
        yield file
        time.sleep(0.3)

mien.files.atomic_file = direct
import chaos
sys.exit(chaos.main())
"""
# Does not remove what killed processes left.
LEFT = f"""
import sys
sys.path.insert(0, {str(CHAOS.parent)!r})
import mien.files
mien.files._sweep = lambda folder: None
import chaos
sys.exit(chaos.main())
"""


def run(*arguments: str) -> tuple[int, dict[str, int], str]:
    """The exit code, the counts, and everything that was printed."""
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines()
    assert lines, done.stderr
    counts = {name: int(count) for name, count in (part.split("=") for part in lines[-1].split())}
    return done.returncode, counts, done.stdout


def test_20_kills_of_fast_commands_leave_nothing() -> None:
    commands = ("describe", "describe export .csv", "data export", "data playhouse emotic")
    chosen = [part for name in commands for part in ("--command", name)]
    code, counts, text = run(str(CHAOS), "--kills", "20", *chosen)
    assert code == 0, text
    assert counts.pop("kills") >= 20
    assert set(counts.values()) == {0}


@pytest.mark.slow
def test_100_kills_of_all_commands_leave_nothing() -> None:
    code, _, text = run(str(CHAOS), "--kills", "100")
    assert code == 0, text


@pytest.mark.slow
@pytest.mark.parametrize(("script", "kind"), [(TORN, "torn"), (LEFT, "extra")], ids=["torn", "left"])
def test_broken_writes_are_detected(script: str, kind: str) -> None:
    code, counts, text = run("-c", script, "--kills", "15", "--command", "data export")
    assert code == 1
    assert counts[kind] > 0, text
