"""What a service costs over its predictor, and what shared batches gain.

    PYTHONPATH=src:. python benchmarks/serve_speed.py [--requests 192] [--rounds 3] [--pairs 300]

The model is a small trained run: the embedded VLM describes, an encoder and a Q-Former classify (see
`small_predictor.py`). Every request has one image with one box. The service is `mien serve` in a process of
its own, and talks over the loopback device.

Throughput: so many clients at once, each with a connection of its own, send requests until all are answered:
with `--max-batch 1`, in which the model reads one image after another, and with `--max-batch 32`. There are
more clients than images in a batch, so that the next batch waits while one is read. Each is measured with all
cores, which is the default of `mien serve`, and with one thread: large products of matrices gain from a
second core, and the small ones of a single image do not. All services run at the same time and take turns.
Other programs may use the machine, so that CPU seconds of the service are counted as well as seconds; "ratio"
is that of the medians.

Overhead: one thread, one client, and a run of the same kind whose descriptions are cut after four tokens,
because an overhead of milliseconds cannot be seen next to a second. In turn, an image is predicted by the
bare predictor in this process, and by the service with the same run, which gets it as an upload.
"overhead_ms" has the quantiles of the service minus those of the bare predictor; "paired_ms" those of the
differences.

Prints JSON.
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
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import psutil
import torch
from small_predictor import MIEN, SOURCE, draw_images, train_run

import mien

_BOX = (140.0, 60.0, 320.0, 400.0)
_QUANTILES = (50, 90, 99)
_BATCHES = (1, 32)  # --max-batch


@dataclass(frozen=True)
class Service:
    url: str
    process: psutil.Process

    def cpu_seconds(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=192, help="per round")
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pairs", type=int, default=300, help="images of the overhead")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = train_run(folder)
        files = draw_images(folder / "images", 64)
        report: dict[str, Any] = {
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": f"{platform.machine()}, {os.cpu_count()} cores",
            "versions": {"torch": torch.__version__},
            "requests": arguments.requests,
            "clients": arguments.clients,
        }
        with ExitStack() as stack:
            services = {
                (threads, size): stack.enter_context(serving(run, folder, size, threads))
                for threads in (os.cpu_count() or 1, 1)
                for size in _BATCHES
            }
            report["throughput"] = measure_throughput(services, files, arguments)
        short = train_run(folder / "short", max_new_tokens=4)
        with serving(short, folder / "short", max(_BATCHES), 1) as service:
            report["overhead"] = measure_overhead(short, service, files, arguments.pairs)
    print(json.dumps(report, indent=2))


@contextmanager
def serving(run: Path, folder: Path, max_batch: int, threads: int) -> Iterator[Service]:
    command = [*MIEN, "serve", str(run), "--detector", "none", "--port", "0", "--json"]
    command += ["--max-batch", str(max_batch), "--max-pending", "200", "--deadline", "600"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(SOURCE),
        "XDG_CACHE_HOME": str(folder / "cache"),
        "OMP_NUM_THREADS": str(threads),
    }
    log_file = folder / f"log-{max_batch}-{threads}.txt"
    with log_file.open("w") as log:
        process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=log, text=True)
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(log_file.read_text())
            yield Service(json.loads(line)["url"], psutil.Process(process.pid))
        finally:
            process.terminate()
            process.wait()


# --- Throughput ----------------------------------------------------------------------------------------


def measure_throughput(
    services: Mapping[tuple[int, int], Service], files: Sequence[Path], arguments: argparse.Namespace
) -> dict[str, Any]:
    """What services do, by threads and images per batch."""
    seconds: dict[tuple[int, int], list[float]] = {key: [] for key in services}
    cpu: dict[tuple[int, int], list[float]] = {key: [] for key in services}
    for number in range(arguments.rounds + 1):
        for key in list(services)[:: 1 if number % 2 == 0 else -1]:
            service, count = services[key], arguments.requests if number else arguments.clients
            began, cpu_began = time.perf_counter(), service.cpu_seconds()
            send(service.url, files, count, arguments.clients)
            if number:  # the first round warms up
                seconds[key].append(time.perf_counter() - began)
                cpu[key].append(service.cpu_seconds() - cpu_began)
    return {
        f"threads {threads}": {
            "images_per_second": {
                str(size): rounded([arguments.requests / value for value in seconds[threads, size]])
                for size in _BATCHES
            },
            "cpu_seconds": {str(size): rounded(cpu[threads, size]) for size in _BATCHES},
            "ratio": ratio([seconds[threads, size] for size in _BATCHES]),
            "ratio_of_cpu_seconds": ratio([cpu[threads, size] for size in _BATCHES]),
        }
        for threads in dict.fromkeys(threads for threads, _ in services)
    }


def send(url: str, files: Sequence[Path], count: int, num_clients: int) -> None:
    def run_client(number: int) -> None:
        with mien.Client(url, retries=0, timeout=600) as client:
            for index in range(number, count, num_clients):
                results = client.predict(files[index % len(files)], boxes=[_BOX])
                assert len(results[0].scores) > 1

    with ThreadPoolExecutor(num_clients) as pool:
        for future in [pool.submit(run_client, number) for number in range(num_clients)]:
            future.result()


def ratio(values: Sequence[Sequence[float]]) -> float:
    single, batched = (statistics.median(some) for some in values)
    return round(single / batched, 2)


def rounded(values: Sequence[float]) -> list[float]:
    return [round(value, 2) for value in values]


# --- Overhead ------------------------------------------------------------------------------------------


def measure_overhead(run: Path, service: Service, files: Sequence[Path], pairs: int) -> dict[str, Any]:
    predictor = mien.Predictor.from_pretrained(run, device="cpu")
    times = np.zeros((pairs + 5, 2))
    difference = 0.0
    with mien.Client(service.url, retries=0) as client:
        for number in range(len(times)):
            file = files[number % len(files)]
            found = []
            for column, predict in enumerate((predictor, client.predict)):
                began = time.perf_counter()
                found.append(predict(file, boxes=[_BOX])[0].scores)
                times[number, column] = 1000 * (time.perf_counter() - began)
            difference = max(difference, *(abs(found[0][label] - found[1][label]) for label in found[0]))
    assert difference < 1e-3, f"the scores differ by {difference}"
    times = times[5:]  # the first ones warm up
    return {
        "images": pairs,
        "largest_difference_of_a_score": difference,
        "bare_ms": quantiles(times[:, 0]),
        "service_ms": quantiles(times[:, 1]),
        "overhead_ms": {
            name: round(value - quantiles(times[:, 0])[name], 1)
            for name, value in quantiles(times[:, 1]).items()
        },
        "paired_ms": quantiles(times[:, 1] - times[:, 0]),
    }


def quantiles(values: np.ndarray) -> dict[str, float]:
    return {f"p{share}": round(float(np.percentile(values, share)), 1) for share in _QUANTILES}


if __name__ == "__main__":
    sys.exit(main())
