"""Describing with vLLM in this process compared with the engine `local`, on the CPU, in one run.

    .venv-vllm/bin/python benchmarks/describe_vllm.py [--count 64] [--rounds 3] [--eager]

Both describe the same scenes of Playhouse with the embedded LLaVA in float32 and one thread, and alternate.
The time is CPU time of this process and all of its children, so that other work on the machine does not
count; vLLM's start is not in it. It needs the environment of `make vllm`. Prints JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from mien.data.playhouse import Playhouse
from mien.describe.engine import Engine, Reply, Request
from mien.describe.local.engine import LocalEngine
from mien.describe.prompts import get_prompt
from mien.describe.requests import RequestBuilder
from mien.describe.vllm import VllmEngine, VllmOptions
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.recipe import DataOptions

_TOKENS = 120
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind", "VLLM_CPU_KVCACHE_SPACE": "1"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=64, help="scenes per round, and the batch size")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--eager", action="store_true", help="vLLM without compilation, which takes minutes")
    args = parser.parse_args()
    os.environ.update(_ONE_THREAD | {"VLLM_NO_USAGE_STATS": "1"})
    requests = _requests(args.count * (args.rounds + 1))
    options = VllmOptions(enforce_eager=args.eager, max_model_len=512)
    vllm = VllmEngine("playhouse", dtype="float32", max_new_tokens=_TOKENS, options=options)
    engines: dict[str, Engine] = {"local": LocalEngine("playhouse", max_new_tokens=_TOKENS), "vllm": vllm}
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    walls: dict[str, list[float]] = {name: [] for name in engines}
    num_equal = 0
    with closing(vllm):
        for number in range(args.rounds + 1):  # the first one warms up
            chosen = requests[number * args.count : (number + 1) * args.count]
            texts = {}
            for name, engine in engines.items():
                before, start = _cpu_seconds(), time.monotonic()
                texts[name] = _texts(engine, chosen)
                if number:
                    seconds[name].append(round(_cpu_seconds() - before, 3))
                    walls[name].append(round(time.monotonic() - start, 3))
            num_equal += sum(a == b for a, b in zip(texts["local"], texts["vllm"], strict=True))
    rate = {name: round(args.count / statistics.median(values), 2) for name, values in seconds.items()}
    result = {
        "date": datetime.now(UTC).date().isoformat(),
        "hardware": {"machine": platform.machine(), "cores": os.cpu_count()},
        "load": round(os.getloadavg()[0], 2),
        "count": args.count,
        "rounds": args.rounds,
        "eager": args.eager,
        "equal_texts": [num_equal, len(requests)],
        "cpu_seconds": seconds,
        "wall_seconds": walls,
        "per_cpu_second": rate,
        "vllm_over_local": round(rate["vllm"] / rate["local"], 3),
    }
    print(json.dumps(result, indent=2))


def _requests(count: int) -> list[Request]:
    builder = RequestBuilder(
        engine=LocalEngine("playhouse"),
        prompt=get_prompt("paper"),
        label_set=EMOTIC,
        marking=Marking(),
    )
    with tempfile.TemporaryDirectory() as folder:
        samples = islice(Playhouse(DataOptions(), Path(folder)).samples("test"), count)
        return [builder.prepare(builder.build(sample.subject)) for sample in samples]


def _texts(engine: Engine, requests: Sequence[Request]) -> list[str]:
    return [reply.text if isinstance(reply, Reply) else str(reply) for reply in engine.describe(requests)]


def _cpu_seconds() -> float:
    """CPU time so far of this process and of everything that it started and that still runs."""
    parents, ticks = {}, {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended since
            fields = stat.read_text().rpartition(")")[2].split()
            parents[int(stat.parent.name)] = int(fields[1])
            ticks[int(stat.parent.name)] = int(fields[11]) + int(fields[12])
    ours = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks[number] for number in ours) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
