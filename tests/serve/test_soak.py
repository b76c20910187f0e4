"""A service under mixed load keeps its memory, threads and open files."""

from __future__ import annotations

import itertools
import os
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil
import pytest
from tests.factories.hostile_images import JPEG, PNG
from tests.factories.served_process import started
from tests.factories.tiny_runs import train_tiny_run

Noise = Callable[..., bytes]

_CLIENTS = 4
_MEGABYTE = 1e6


@dataclass(frozen=True)
class Use:
    """What the process holds at a moment."""

    memory: float
    threads: int
    files: int

    @classmethod
    def of(cls, process: psutil.Process) -> Use:
        return cls(process.memory_info().rss / _MEGABYTE, process.num_threads(), process.num_fds())


def send_mixed(url: str, noise: Noise, number: int) -> None:
    """One request of a kind that goes with the number, and a check that it ended as it should."""
    with httpx2.Client(base_url=url, timeout=120, trust_env=False) as client:
        match number % 8:
            case 0 | 1 | 2:
                files = [("images", noise(number % 5, (320, 240), "JPEG"))] * (1 + number % 3)
                assert client.post("/v1/predict", files=files).status_code == 200
            case 3:
                cut = [("images", JPEG[: len(JPEG) // 2]), ("images", PNG[:100]), ("images", b"text")]
                assert client.post("/v1/predict", files=cut).status_code == 200
            case 4:
                answer = client.post("/v1/predict", files={"images": bytes(2 * 2**20)})
                assert answer.status_code == 413
            case 5:
                assert client.post("/v1/predict", json={"images": ["no"], "boxes": 1}).status_code == 422
            case 6:
                data = {
                    "cells": "2",
                    "random_orders": "0",
                    "counterfactuals": "false",
                    "boxes": "[[4,4,60,44]]",
                }
                assert client.post("/v1/explain", files={"images": noise()}, data=data).status_code == 200
            case 7:
                host, port = client.base_url.host, client.base_url.port
                with socket.create_connection((host, port)) as leaving:
                    leaving.sendall(
                        b"POST /v1/predict HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 99\r\n\r\nx"
                    )


def soak(run: Path, folder: Path, noise: Noise, goes_on: Callable[[int], bool]) -> list[Use]:
    """What the process holds after each round of requests, while it goes on; and at the end, unused."""
    uses: list[Use] = []
    with (
        started(str(run), "--max-upload", "1", "--detector", "none", log=folder / "log.txt") as (
            process,
            url,
        ),
        ThreadPoolExecutor(_CLIENTS) as pool,
    ):
        watched = psutil.Process(process.pid)
        numbers: Iterator[int] = itertools.count()
        while goes_on(len(uses)):
            futures = [pool.submit(send_mixed, url, noise, next(numbers)) for _ in range(16)]
            for future in futures:
                future.result()
            uses.append(Use.of(watched))
        text = httpx2.get(f"{url}/metrics", trust_env=False).text
        assert "mien_pending_requests 0.0" in text
        assert "mien_pending_bytes 0.0" in text
    return uses


def check_flat(uses: list[Use], memory: float) -> None:
    """Compares the last quarter with the second one; in the first, caches fill."""
    quarter = len(uses) // 4
    early, late = uses[quarter : 2 * quarter], uses[-quarter:]

    def growth(name: str) -> float:
        before, after = ([float(getattr(use, name)) for use in part] for part in (early, late))
        return statistics.median(after) - statistics.median(before)

    assert growth("memory") < memory, [round(use.memory) for use in uses]
    assert growth("threads") <= 1, [use.threads for use in uses]
    assert growth("files") <= 2, [use.files for use in uses]


def test_a_few_hundred_mixed_requests(tmp_path: Path, noise: Noise) -> None:
    run = train_tiny_run(tmp_path)
    check_flat(soak(run, tmp_path, noise, lambda rounds: rounds < 24), memory=30)


@pytest.mark.slow
def test_five_minutes(tmp_path: Path, noise: Noise) -> None:
    run = train_tiny_run(tmp_path)
    ends = time.monotonic() + float(os.environ.get("MIEN_SOAK_SECONDS", "300"))
    uses = soak(run, tmp_path, noise, lambda rounds: time.monotonic() < ends)
    print(len(uses) * 16, "requests", uses[len(uses) // 4], uses[-1])  # noqa: T201  shown with -s
    check_flat(uses, memory=30)
