"""A run that is killed and restarted loses, repeats and tears no row; see `scripts/chaos_describing.py`."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.factories.real_server import RealServer

from mien.playhouse.embedded_models import embedded_model_folder

CHAOS = Path(__file__).parents[2] / "scripts" / "chaos_describing.py"

# A broken store that writes each group in two parts, with a pause in between.
TORN = f"""
import sys, time
sys.path.insert(0, {str(CHAOS.parent)!r})
import chaos_describing as chaos

def put(self, descriptions=(), failures=(), *, resolved=()):
    described = list(descriptions)
    self.log.write("begin", [row.key for row in described])
    chaos.Store.put(self, described[:1])
    time.sleep(0.1)  # nearly all the time of a run, so that kills hit it on a busy machine, too
    chaos.Store.put(self, described[1:], failures, resolved=resolved)

chaos.LoggingStore.put = put
sys.exit(chaos.main())
"""

# A broken store that reports a group as written before it writes it.
LOST = TORN.replace('write("begin"', 'write("done"')


def run(*arguments: str) -> tuple[int, str]:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)
    assert done.stdout, done.stderr
    return done.returncode, done.stdout.splitlines()[-1]


def test_200_kills_change_nothing() -> None:
    assert run(str(CHAOS), "--kills", "200") == (0, "kills=200 lost=0 duplicated=0 torn=0")


@pytest.mark.slow
def test_20_kills_of_a_real_model_change_nothing() -> None:
    arguments = (str(CHAOS), "--kills", "20", "--engine", "local")
    assert run(*arguments) == (0, "kills=20 lost=0 duplicated=0 torn=0")


@pytest.mark.slow
def test_20_kills_before_a_real_server_change_nothing(real_server: RealServer) -> None:
    options = (
        "--engine",
        "remote",
        "--endpoint",
        real_server.address,
        "--model",
        str(embedded_model_folder("llava")),
    )
    assert run(str(CHAOS), "--kills", "20", *options) == (0, "kills=20 lost=0 duplicated=0 torn=0")


@pytest.mark.parametrize(("script", "kind"), [(TORN, "torn"), (LOST, "lost")], ids=["torn", "lost"])
def test_a_broken_store_is_detected(script: str, kind: str) -> None:
    code, last = run("-c", script, "--kills", "10")
    assert code == 1
    assert f"{kind}=0" not in last
