"""Killed at any moment and run again: the same store, and nothing asked twice that was written."""

import json
import subprocess
import sys
from pathlib import Path


def test_kill_dash_nine_changes_nothing(tmp_path: Path) -> None:
    target = Path(__file__).with_name("kill_target.py")
    done = subprocess.run(
        [sys.executable, str(target), str(tmp_path), "24", "1"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {"kills": 24, "repeated": 0, "equal": True, "rows": 60}
