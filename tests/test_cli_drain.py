"""The first signal asks, the second and the end of the grace give up, and handlers are put back."""

import os
import signal
import threading
import time
from typing import Any

import pytest

from mien.cli import signals as module
from mien.cli.signals import Drain, draining


@pytest.fixture(autouse=True)
def last(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """What would end the process in the last resort, and does not here."""
    begun: list[tuple[Any, ...]] = []

    class Timer:
        daemon = False

        def __init__(self, seconds: float, function: Any, arguments: tuple[Any, ...]) -> None:
            begun.append((seconds, function, arguments))

        def start(self) -> None:
            assert self.daemon

    monkeypatch.setattr(threading, "Timer", Timer)
    return begun


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_first_signal_only_asks(number: int, code: int) -> None:
    with draining() as drain:
        assert not drain()
        assert drain.exit_code is None
        signal.raise_signal(number)
        assert drain()
        assert drain.exit_code == code


def test_a_second_signal_gives_up(last: list[tuple[Any, ...]]) -> None:
    with draining() as drain:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(SystemExit) as caught:
            signal.raise_signal(signal.SIGINT)
    assert caught.value.code == drain.exit_code == 143
    assert last == [(module._LAST_SECONDS, os._exit, (143,))]


def test_the_end_of_the_grace_gives_up() -> None:
    with draining(grace=0.1) as drain:
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(SystemExit) as caught:
            time.sleep(60)
    assert caught.value.code == drain.exit_code == 130


def test_handlers_and_the_alarm_are_put_back() -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)
    before = [signal.getsignal(number) for number in numbers]
    with draining(grace=600):
        assert [signal.getsignal(number) for number in numbers] != before
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in numbers] == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_what_is_said_is_one_line_on_stderr(capfd: pytest.CaptureFixture[str]) -> None:
    with draining(grace=5):
        signal.raise_signal(signal.SIGTERM)
    assert capfd.readouterr().err == (
        "\nSIGTERM: finishing what was begun, for at most 5 s; a second signal ends at once\n"
    )


def test_the_grace_is_shorter_than_that_of_those_who_kill() -> None:
    assert Drain()._grace + module._LAST_SECONDS < 10
