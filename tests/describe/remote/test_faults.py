"""Describing through servers that fail in every way: nobody is lost, nobody is asked too often."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.factories.chat_server import MODEL, answer_to, chat_server
from tests.factories.fault_proxy import LASTING, PASSING, FaultProxy, Schedule, fault_proxy, unused_address

from mien.describe.backoff import Backoff
from mien.describe.generate import describe
from mien.describe.remote.dispatcher import Sender
from mien.describe.remote.engine import RemoteEngine
from mien.describe.requests import RequestBuilder
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.recipe import RunOptions
from mien.types import Subject

Make = Callable[..., list[Subject]]
QUICK = Backoff(base=0.001, cap=0.01, max_retry_after=0.02)
SLOW = ("hang", "slow drip")  # which end by our own patience


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIEN_API_KEY", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def remote(*urls: str, backoff: Backoff = QUICK, **run: Any) -> RemoteEngine:
    settings = {"endpoints": urls, "timeout": 30.0, "concurrency": 4, "retries": 3, **run}
    return RemoteEngine(MODEL, run=RunOptions(**settings), backoff=backoff)


def patience(fault: str) -> float:
    """Seconds that a test waits for one answer: little only where it plays one that never comes."""
    return 0.4 if fault in SLOW else 30.0


@contextmanager
def faulty(schedule: Schedule) -> Iterator[FaultProxy]:
    with chat_server() as server, fault_proxy(server.url, schedule) as proxy:
        yield proxy


class ByItem:
    """Plays a fault on the n-th item that comes, each time it comes, and on no other."""

    def __init__(self, fault: str, number: int = 2) -> None:
        self._fault = fault
        self._number = number
        self._numbers: dict[str, int] = {}

    def __call__(self, item: str, before: int) -> str | None:
        number = self._numbers.setdefault(item, len(self._numbers))
        return self._fault if number == self._number else None


def texts(engine: RemoteEngine, people: list[Subject], request_options: dict[str, Any]) -> dict[str, str]:
    """What an honest server writes about each."""
    request_builder = RequestBuilder(engine=engine, **request_options)
    asked = [request_builder.prepare(request_builder.build(person)) for person in people]
    return {request.subject_id: answer_to(request) for request in asked}


def described(store: Store) -> dict[str, str]:
    return {item.subject_id: item.text for item in store}


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_leaves_no_trace(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(6)
    with faulty(lambda item, before: fault if before == 0 else None) as proxy:
        engine = remote(proxy.url, timeout=patience(fault), concurrency=6, retries=8)
        summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=6)
    assert (summary.done, summary.failed) == (6, 0)
    assert described(store) == texts(engine, people, request_options)
    assert proxy.played[fault] == 6
    if fault not in SLOW:  # with so little patience, a busy machine may look like a fault as well
        assert set(proxy.asked.values()) == {2}


@pytest.mark.parametrize("fault", LASTING)
def test_what_is_an_items_own_is_kept_and_asked_once(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(6)
    with faulty(ByItem(fault)) as proxy:
        engine = remote(proxy.url)
        summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=6)
    assert (summary.done, summary.failed) == (5, 1)
    [failure] = store.failures()
    assert described(store) == {
        name: text
        for name, text in texts(engine, people, request_options).items()
        if name != failure.subject_id
    }
    assert not failure.retryable
    assert {"400": "status 400", "413": "status 413", "422": "status 422", "empty": "is empty"}.get(
        fault, "withheld"
    ) in failure.error
    assert set(proxy.asked.values()) == {1}


@pytest.mark.parametrize("fault", PASSING)
def test_an_item_on_which_a_server_always_fails(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(6)
    with faulty(ByItem(fault)) as proxy:
        engine = remote(proxy.url, timeout=patience(fault), retries=2)
        summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=6)
    assert (summary.done, summary.failed) == (5, 1)
    [failure] = store.failures()
    assert "tried 3 times" in failure.error
    if fault not in SLOW:
        assert sorted(proxy.asked.values()) == [1, 1, 1, 1, 1, 3]


def test_such_an_item_alone_in_its_batch(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    # Nobody else is answered meanwhile, so it looks like the server's failure until the next is answered.
    with faulty(ByItem("500", number=4)) as proxy:
        engine = remote(proxy.url, retries=2)
        summary = describe(subjects(5), RequestBuilder(engine=engine, **request_options), store, batch_size=1)
    assert (summary.done, summary.failed) == (4, 1)
    assert 3 <= max(proxy.asked.values()) <= 3 + 2  # the engine's tries, then one for each further attempt


def test_everything_at_once(
    subjects: Make, store: Store, request_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, people = random.Random(11), subjects(60)
    in_flight, most = 0, 0
    send = Sender.send

    async def counted(self: Sender, url: str, body: bytes) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await send(self, url, body)
        finally:
            in_flight -= 1

    monkeypatch.setattr(Sender, "send", counted)

    def schedule(item: str, before: int) -> str | None:
        return rng.choice(PASSING + LASTING) if rng.random() < 0.4 else None

    with (
        chat_server() as server,
        fault_proxy(server.url, schedule) as one,
        fault_proxy(server.url, schedule) as two,
    ):
        engine = remote(one.url, unused_address(), two.url, timeout=0.3, concurrency=5)
        summary = describe(
            people, RequestBuilder(engine=engine, **request_options), store, batch_size=20, workers=2
        )
        played = one.played + two.played
        asked: Counter[str] = one.asked + two.asked
    failures = store.failures()
    assert summary.done + summary.failed == 60
    assert summary.done == len(store) > 40
    assert {item.subject_id for item in store} | {item.subject_id for item in failures} == {
        person.id for person in people
    }
    assert described(store).items() <= texts(engine, people, request_options).items()
    assert all(failure.error for failure in failures)
    assert len(asked) == 60
    assert max(asked.values()) <= 4
    assert most <= 5
    assert played.total() - played["none"] > 20


# --- Servers that fail as a whole ----------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["500", "429", "wrong model", "invalid JSON"])
def test_a_server_that_answers_nobody_stops_the_run_and_nothing_is_kept(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(40)
    with faulty(lambda item, before: fault) as proxy:
        with pytest.raises(EngineError, match="in a row") as caught:
            describe(
                people,
                RequestBuilder(engine=remote(proxy.url, retries=2), **request_options),
                store,
                batch_size=8,
            )
        assert max(proxy.asked.values()) <= 3 + 3 + 3  # the engine's, one a halving, one an attempt
        assert len(proxy.asked) < 40
    assert caught.value.retryable
    assert (len(store), store.failures()) == (0, [])


@pytest.mark.parametrize("fault", ["401", "403", "404", "301"])
def test_who_is_not_let_in_asks_no_more(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    with faulty(lambda item, before: fault) as proxy:
        engine = remote(proxy.url, backoff=Backoff())
        with pytest.raises(EngineError, match=f"status {fault}") as caught:
            describe(subjects(40), RequestBuilder(engine=engine, **request_options), store, batch_size=8)
        assert proxy.asked.total() <= 4  # those that were in flight together
    assert not caught.value.retryable
    assert store.failures() == []


def test_a_server_that_is_not_there_keeps_nothing_as_failed(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with pytest.raises(EngineError, match="cannot be reached"):
        describe(
            subjects(20),
            RequestBuilder(engine=remote(unused_address()), **request_options),
            store,
            batch_size=8,
        )
    assert store.failures() == []


def test_the_key_of_one_server_is_wrong(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with (
        chat_server() as server,
        fault_proxy(server.url) as good,
        fault_proxy(server.url, lambda item, before: "401") as bad,
    ):
        engine = remote(bad.url, good.url, retries=0, backoff=Backoff())
        summary = describe(
            subjects(20), RequestBuilder(engine=engine, **request_options), store, batch_size=10
        )
        assert bad.asked.total() <= 4
    assert (summary.done, summary.failed) == (20, 0)


def test_a_picture_that_is_forbidden_among_others(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with faulty(ByItem("403", number=7)) as proxy:
        summary = describe(
            subjects(12), RequestBuilder(engine=remote(proxy.url), **request_options), store, batch_size=6
        )
    assert (summary.done, summary.failed) == (11, 1)


def test_a_wrong_option_does_not_fail_a_whole_data_set(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with (
        faulty(lambda item, before: "400") as proxy,
        pytest.raises(EngineError, match="refused each of the first"),
    ):
        describe(
            subjects(80), RequestBuilder(engine=remote(proxy.url), **request_options), store, batch_size=8
        )
    assert 0 < len(store.failures()) < 32


def test_a_call_that_was_interrupted_between_servers_leaves_none_waiting(
    subjects: Make, request_options: dict[str, Any]
) -> None:
    # The loop of the engine serves the next call as if nothing had been.
    with faulty(lambda item, before: "hang" if before == 0 else None) as proxy:
        engine = remote(proxy.url, timeout=0.3)
        request_builder = RequestBuilder(engine=engine, **request_options)
        asked = [request_builder.prepare(request_builder.build(person)) for person in subjects(3)]
        background, dispatcher = engine._working
        with pytest.raises(TimeoutError):
            background.run(asyncio.wait_for(dispatcher.describe(asked), 0.05))
        assert [getattr(reply, "text", None) for reply in engine.describe(asked)] == [
            answer_to(request) for request in asked
        ]
