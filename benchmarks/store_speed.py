"""How fast a store of descriptions is written, opened and read.

    python benchmarks/store_speed.py [--rows 100000] [--rounds 5] [--against OTHER/src]

Each round, in a process of its own, writes a store in groups of 64 and reads it back. With `--against`, every
round is done with both source trees in turn, and the ratios of the fastest rounds are printed as well. Times
are CPU seconds of the process and the kernel, which other processes disturb less. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from mien.describe.store.export import write_export
from mien.describe.store.store import Store
from mien.prefetch import batched
from mien.types import Description

_GROUP: int = 64
_TEXT = "The person appears calm and attentive, watching the others from a little way off. " * 4


def _description(number: int) -> Description:
    return Description(
        key=blake2b(b"%d" % number, digest_size=32).hexdigest(),
        subject_id=f"train/{number:07}.jpg#1",
        text=f"{number} {_TEXT}",
        prompt_id="paper",
        engine="local/some-model@0123456789abcdef",
        finish="stop",
    )


def _measure(num_rows: int, folder: Path) -> dict[str, float]:
    path, seconds = folder / "store.sqlite", dict[str, float]()

    def timed(name: str, action: Callable[[], object]) -> None:
        began = time.process_time()
        action()
        seconds[name] = round(time.process_time() - began, 4)

    def write() -> None:
        with Store(path) as store:
            for group in batched(map(_description, range(num_rows)), _GROUP):
                store.put(group)

    keys = [_description(number).key for number in range(num_rows)]
    timed("make_rows", lambda: [_description(number) for number in range(num_rows)])
    timed("write", write)
    timed("open_for_writing", lambda: Store(path).close())
    with Store(path, writable=False) as store:
        timed("read", lambda: sum(1 for _ in store))
        timed("lookup", lambda: store.descriptions(keys))
        timed("export_jsonl", lambda: write_export(folder / "out.jsonl", store))
    with Store(path, writable=False) as store:
        timed("described_keys", lambda: store.described_keys(keys))
    return seconds


def _run(source: Path, num_rows: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--rows", str(num_rows), "--child"]
    environment = os.environ | {"PYTHONPATH": str(source)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds: dict[str, float] = json.loads(done.stdout)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--against", type=Path, help="the src folder of another version")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        with tempfile.TemporaryDirectory() as name:
            print(json.dumps(_measure(options.rows, Path(name))))
        return
    sources = {"this": Path(__file__).parents[1] / "src"}
    if options.against is not None:
        sources["other"] = options.against.resolve()
    rounds = [
        {name: _run(source, options.rows) for name, source in sources.items()} for _ in range(options.rounds)
    ]
    best = {
        name: {step: min(one[name][step] for one in rounds) for step in rounds[0][name]} for name in sources
    }
    document: dict[str, object] = {"rows": options.rows, "rounds": options.rounds, "seconds": best}
    if "other" in best:
        document["ratios"] = {
            step: round(value / max(best["other"][step], 1e-4), 2) for step, value in best["this"].items()
        }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
