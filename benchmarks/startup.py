"""CPU seconds that a command takes to start: `mien predict` on one image, and commands that do little.

    python benchmarks/startup.py [--rounds 9] [--against OTHER/src]

Each round runs every command in a process of its own, with the garbage collector as usual ("collector_on")
and with its pause during imports ("paused"), in turn. With `--against`, the commands of another source tree
run in the same rounds ("against"). Seconds are of the process and the kernel, in the fastest round; a ratio
is the median over the rounds. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

_SOURCE = Path(__file__).parents[1] / "src"
# The pause belongs to a process whose command line is its own, so `main(arguments)` runs without it.
_PAUSED = "import sys; from mien.cli import main; sys.exit(main())"
_ON = "import sys; from mien.cli import main; sys.exit(main(sys.argv[1:]))"
_RECIPE = """
name = "tiny"
data = { name = "playhouse", options = { train = 8, val = 4, test = 4, seed = 3 } }
describe = { max_new_tokens = 20 }
model = { fusion = "qformer", width = 8, heads = 2, layers = 1, num_queries = 2 }
train = { epochs = 1, batch_size = 4 }
run = { threads = 1 }
"""


def main() -> None:
    """Measures and prints one JSON document."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--against", type=Path, help="the src folder of another version")
    options = parser.parse_args()
    variants = {"paused": (_PAUSED, _SOURCE), "collector_on": (_ON, _SOURCE)}
    if options.against is not None:
        variants["against"] = (_ON, options.against.resolve())
    sources = dict.fromkeys(source for _, source in variants.values())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # A run of each version, because an older one may not read those of a newer one.
        arguments = {source: _prepare(folder / str(number), source) for number, source in enumerate(sources)}
        commands = list(arguments[_SOURCE])
        rounds = [
            {
                (command, variant): _seconds(folder, code, source, arguments[source][command])
                for command in commands
                for variant, (code, source) in variants.items()
            }
            for _ in range(options.rounds)
        ]
    others = [variant for variant in variants if variant != "paused"]
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, one used",
        "rounds": options.rounds,
        "cpu_seconds": {
            command: {variant: round(min(one[command, variant] for one in rounds), 2) for variant in variants}
            for command in commands
        },
        "paused_to_others": {
            command: {
                other: round(
                    statistics.median(one[command, "paused"] / one[command, other] for one in rounds), 3
                )
                for other in others
            }
            for command in commands
        },
    }
    print(json.dumps(result, indent=2))


def _prepare(folder: Path, source: Path) -> dict[str, list[str]]:
    """Trains a tiny run, and returns the arguments of each command by its name."""
    folder.mkdir()
    (folder / "tiny.toml").write_text(_RECIPE)
    Image.new("RGB", (224, 224), (90, 120, 30)).save(folder / "one.png")
    run = str(folder / "run")
    for step in ("describe", "train"):
        _seconds(folder, _PAUSED, source, [step, str(folder / "tiny.toml"), "--out", run])
    return {
        "predict": ["predict", str(folder / "one.png"), "--run", run],
        "describe_nothing_left": ["describe", str(folder / "tiny.toml"), "--out", run],
        "help": ["--help"],
    }


def _seconds(folder: Path, code: str, source: Path, arguments: list[str]) -> float:
    """CPU seconds of a child process that runs a command."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(source),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": "1",
    }
    command = [sys.executable, "-c", code, *arguments]
    with (folder / "log.txt").open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit((folder / "log.txt").read_text())
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
