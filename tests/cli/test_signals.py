"""The first signal requests the end; the second one, or the end of the grace period, exits."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from mien.cli import signals as module
from mien.cli.signals import Shutdown, graceful_shutdown


@pytest.fixture(autouse=True)
def last(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Records the timer that would end the process, instead of starting it."""
    started: list[tuple[Any, ...]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, function: Any, arguments: tuple[Any, ...]) -> None:
            started.append((seconds, function, arguments))

        def start(self) -> None:
            assert self.daemon

    monkeypatch.setattr(threading, "Timer", Timer)
    return started


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_only_requests_the_end(number: int, code: int) -> None:
    with graceful_shutdown() as shutdown:
        assert not shutdown()
        assert shutdown.exit_code is None
        signal.raise_signal(number)
        assert shutdown()
        assert shutdown.exit_code == code


def test_a_second_signal_exits(last: list[tuple[Any, ...]]) -> None:
    with graceful_shutdown() as shutdown:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == shutdown.exit_code == 143
    assert last == [(module._LAST_SECONDS, os._exit, (143,))]


def test_the_end_of_the_grace_period_exits() -> None:
    with graceful_shutdown(grace=0.1) as shutdown:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            time.sleep(60)
    assert caught.value.code == shutdown.exit_code == 130


def test_handlers_and_the_alarm_are_restored() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with graceful_shutdown(grace=600):
        assert [signal.getsignal(number) for number in numbers] != before
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_the_message_is_one_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with graceful_shutdown(grace=5):
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == (
        "\nSIGTERM: finishing work in progress (at most 5 s); send a second signal to exit now\n"
    )


def test_the_grace_period_is_shorter_than_that_of_docker() -> None:
    assert Shutdown()._grace + module._LAST_SECONDS < 10
