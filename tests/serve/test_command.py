"""`mien serve` as a process: it announces itself, answers, logs nothing about anyone, and drains."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from tests.factories.served_process import started
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main

Noise = Callable[..., bytes]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train_tiny_run(tmp_path_factory.mktemp("served"))


def test_nothing_that_was_sent_is_logged_or_kept(run: Path, tmp_path: Path, noise: Noise) -> None:
    log = tmp_path / "log.txt"
    (tmp_path / "tmp").mkdir()
    with started(str(run), log=log, TMPDIR=str(tmp_path / "tmp")) as (process, url):
        files = [
            ("images", ("private-name.png", noise(1, (640, 480)))),
            ("images", ("other.png", b"secret text")),
        ]
        answer = httpx2.post(f"{url}/v1/predict?who=private", files=files, headers={"x-request-id": "first"})
        assert [item["status"] for item in answer.json()["results"]] == ["no person", "failed"]
        httpx2.post(f"{url}/v1/explain", data={"labels": "secret label"}, files={"images": noise(2)})
        httpx2.get(f"{url}/secret-path")
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
    text = log.read_text()
    assert "first POST /v1/predict 200" in text
    assert "GET other 404" in text
    assert not [word for word in ("private", "secret", "who=") if word in text]
    assert [path for path in (tmp_path / "tmp").rglob("*") if path.is_file()] == []


def test_a_signal_under_load_loses_no_accepted_request(run: Path, tmp_path: Path, noise: Noise) -> None:
    """Every client gets an answer: 200, or 503 once the service drains; or it is not let in any more."""
    log = tmp_path / "log.txt"
    image = noise(1, (320, 240))
    outcomes: list[tuple[str, object]] = []
    lock, is_over = threading.Lock(), threading.Event()

    def send(url: str, worker: int) -> None:
        number = 0
        while not is_over.is_set():
            name = f"w{worker}-{number}"
            number += 1
            outcome: object
            try:
                answer = httpx2.post(
                    f"{url}/v1/predict", files={"images": image}, headers={"x-request-id": name}, timeout=60
                )
                outcome = answer.status_code
                assert answer.json()
            except httpx2.ConnectError:
                outcome = "refused"
            except httpx2.HTTPError as error:
                outcome = type(error).__name__
            with lock:
                outcomes.append((name, outcome))
            if outcome != 200:
                return

    with started(str(run), "--max-batch", "4", log=log) as (process, url), ThreadPoolExecutor(12) as pool:
        futures = [pool.submit(send, url, worker) for worker in range(12)]
        while sum(outcome == 200 for _, outcome in outcomes) < 40:
            assert not all(future.done() for future in futures)
        process.send_signal(signal.SIGTERM)
        assert process.wait() == 128 + signal.SIGTERM
        is_over.set()
        for future in futures:
            future.result()
    answered = {name for name, outcome in outcomes if outcome == 200}
    accepted = {line.split()[2] for line in log.read_text().splitlines() if " POST /v1/predict 200 " in line}
    assert accepted == answered, outcomes[-12:]
    # Connections that the kernel had taken, but the service had not, break as if it had been refused.
    others = {outcome for _, outcome in outcomes} - {200, 503, "refused", "ReadError", "RemoteProtocolError"}
    assert others == set()


def test_requests_in_progress_are_answered_after_a_signal(run: Path, tmp_path: Path, noise: Noise) -> None:
    log = tmp_path / "log.txt"
    with started(str(run), log=log) as (process, url), ThreadPoolExecutor(8) as pool:
        files = [("images", noise(seed, (640, 480))) for seed in range(8)]
        futures = [pool.submit(httpx2.post, f"{url}/v1/predict", files=files, timeout=60) for _ in range(8)]
        while "mien_pending_requests 8.0" not in httpx2.get(f"{url}/metrics").text:
            assert not all(future.done() for future in futures), "the load is too small to be seen"
        process.send_signal(signal.SIGTERM)
        assert [future.result().status_code for future in futures] == [200] * 8
        assert process.wait() == 128 + signal.SIGTERM


def test_a_port_that_is_taken(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert main(["serve", str(run), "--port", str(taken.getsockname()[1])]) == 2
    assert "hint: choose another --port" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "token", "says"),
    [
        (["--host", "::"], "", "so a token is needed"),
        (["--host", "::"], "short", "fewer than 16"),
        (["--host", "192.0.2.1"], "", "so a token is needed"),
        (["--max-batch", "0"], "", "max_batch is 0"),
        (["--deadline", "-1"], "", "deadline is -1"),
        (["--port", "70000"], "", "not a port"),
        (["--zero-shot", "playhouse"], "", "exclude each other"),
    ],
)
def test_what_cannot_be_is_said_before_a_model_is_loaded(
    *,
    run: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    token: str,
    says: str,
) -> None:
    monkeypatch.setenv("MIEN_SERVE_TOKEN", token)
    port = [] if "--port" in arguments else ["--port", "0"]
    assert main(["serve", str(run), *arguments, *port]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert "hint: " in error
