"""`mien demo --ui` runs the demo, and serves its run with the page until a signal."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

from mien.cli import main
from mien.serve.page.examples import draw_example

SOURCE = Path(__file__).parents[3] / "src"
# The demo with two variants of tiny models, on few scenes.
SMALL_DEMO = """
import functools, sys
import mien.ablation.demo as demo
from mien.cli import main
demo.VARIANTS = demo.VARIANTS[:2]
demo.run_demo = functools.partial(demo.run_demo, seeds=(0,), overrides=(
    "data.options={ train = 12, val = 10, test = 6 }", "train.epochs=1", "describe.max_new_tokens=20",
    "model.width=16", "run.threads=1",
))
sys.exit(main(["demo", "--ui", "--port", "0", "--out", sys.argv[1]]))
"""


@pytest.mark.slow
def test_the_demo_is_served_with_the_page(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(SOURCE), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    process = subprocess.Popen(
        [sys.executable, "-c", SMALL_DEMO, str(tmp_path / "demo")],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if found := re.search(r"open (http://\S+) in a browser", line):
                break
        else:
            raise AssertionError("".join(lines))
        url = found.group(1)
        assert any(line.startswith("report: ") for line in lines)  # the demo's own output is complete
        (card,) = httpx2.get(f"{url}/v1/models", trust_env=False).json()["models"]
        assert (card["calibrated"], card["embedded"]) == (True, True)
        assert "page/page.js" in httpx2.get(url, trust_env=False).text
        answer = httpx2.post(
            f"{url}/v1/predict", files={"images": draw_example(0)}, timeout=120, trust_env=False
        ).json()
        (image,) = answer["results"]
        assert image["people"]
        assert all(person["sure"] is not None for person in image["people"])
        process.send_signal(signal.SIGINT)
        process.communicate()
        assert process.returncode == 128 + signal.SIGINT
    finally:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_said_before_the_demo_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert main(["demo", "--ui", "--port", port, "--out", str(tmp_path / "demo")]) == 2
    assert f"port {port}" in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()
