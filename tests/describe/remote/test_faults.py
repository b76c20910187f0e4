"""Describing through servers that fail in every way loses no one and sends nothing too often."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from tests.factories.chat_server import MODEL, answer_to, chat_server
from tests.factories.fault_proxy import (
    PERMANENT,
    TEMPORARY,
    FaultProxy,
    Schedule,
    fault_proxy,
    unused_address,
)

from mien.describe.generate import describe
from mien.describe.remote.client import ChatClient
from mien.describe.remote.engine import RemoteEngine
from mien.describe.requests import RequestBuilder
from mien.describe.retry import Backoff
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.recipe import RunOptions
from mien.types import Subject

Make = Callable[..., list[Subject]]
FAST = Backoff(base=0.001, cap=0.01, max_retry_after=0.02)
SLOW = ("hang", "slow drip")  # these end by the timeout


def remote(*urls: str, backoff: Backoff = FAST, **run: Any) -> RemoteEngine:
    settings = {"endpoints": urls, "timeout": 30.0, "concurrency": 4, "retries": 3, **run}
    return RemoteEngine(MODEL, run=RunOptions(**settings), backoff=backoff)


def timeout_for(fault: str) -> float:
    """Seconds to wait for a response; short only if it never comes."""
    return 0.4 if fault in SLOW else 30.0


@contextmanager
def faulty(schedule: Schedule) -> Iterator[FaultProxy]:
    with chat_server() as server, fault_proxy(server.url, schedule) as proxy:
        yield proxy


class ByItem:
    """Causes a fault on the n-th item, every time it is sent, and on no other."""

    def __init__(self, fault: str, number: int = 2) -> None:
        self._fault = fault
        self._number = number
        self._numbers: dict[str, int] = {}

    def __call__(self, item: str, before: int) -> str | None:
        number = self._numbers.setdefault(item, len(self._numbers))
        return self._fault if number == self._number else None


def texts(engine: RemoteEngine, people: list[Subject], request_options: dict[str, Any]) -> dict[str, str]:
    """What a working server writes about each person."""
    request_builder = RequestBuilder(engine=engine, **request_options)
    requests = [request_builder.prepare(request_builder.build(person)) for person in people]
    return {request.subject_id: answer_to(request) for request in requests}


def described(store: Store) -> dict[str, str]:
    return {item.subject_id: item.text for item in store}


@pytest.mark.parametrize("fault", TEMPORARY)
def test_temporary_faults_leave_no_trace(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(6)
    with faulty(lambda item, before: fault if before == 0 else None) as proxy:
        engine = remote(proxy.url, timeout=timeout_for(fault), concurrency=6, retries=8)
        summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=6)
    assert (summary.done, summary.failed) == (6, 0)
    assert described(store) == texts(engine, people, request_options)
    assert proxy.num_faults[fault] == 6
    if fault not in SLOW:  # with such a short timeout, a busy machine may cause more faults
        assert set(proxy.num_requests.values()) == {2}


@pytest.mark.parametrize("fault", PERMANENT)
def test_the_failure_of_an_item_is_stored_and_not_retried(
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
    assert set(proxy.num_requests.values()) == {1}


@pytest.mark.parametrize("fault", TEMPORARY)
def test_an_item_on_which_a_server_always_fails_is_stored_as_failed(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    people = subjects(6)
    with faulty(ByItem(fault)) as proxy:
        engine = remote(proxy.url, timeout=timeout_for(fault), retries=2)
        summary = describe(people, RequestBuilder(engine=engine, **request_options), store, batch_size=6)
    assert (summary.done, summary.failed) == (5, 1)
    [failure] = store.failures()
    assert "tried 3 times" in failure.error
    if fault not in SLOW:
        assert sorted(proxy.num_requests.values()) == [1, 1, 1, 1, 1, 3]


def test_such_an_item_is_found_if_it_is_alone_in_its_batch(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    # No other request is answered meanwhile, so it looks like a failure of the server until the next reply.
    with faulty(ByItem("500", number=4)) as proxy:
        engine = remote(proxy.url, retries=2)
        summary = describe(subjects(5), RequestBuilder(engine=engine, **request_options), store, batch_size=1)
    assert (summary.done, summary.failed) == (4, 1)
    # Three attempts of the engine's own tries at most; fewer tries unless another reply comes in between.
    assert 3 <= max(proxy.num_requests.values()) <= 3 * 3


def test_all_faults_at_once(
    subjects: Make, store: Store, request_options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, people = random.Random(11), subjects(60)
    in_flight, most = 0, 0
    send = ChatClient.send

    async def counted(self: ChatClient, url: str, body: bytes) -> Any:
        nonlocal in_flight, most
        in_flight += 1
        most = max(most, in_flight)
        try:
            return await send(self, url, body)
        finally:
            in_flight -= 1

    monkeypatch.setattr(ChatClient, "send", counted)

    def schedule(item: str, before: int) -> str | None:
        return rng.choice(TEMPORARY + PERMANENT) if rng.random() < 0.4 else None

    with (
        chat_server() as server,
        fault_proxy(server.url, schedule) as one,
        fault_proxy(server.url, schedule) as two,
    ):
        engine = remote(one.url, unused_address(), two.url, timeout=0.3, concurrency=5)
        summary = describe(
            people, RequestBuilder(engine=engine, **request_options), store, batch_size=20, workers=2
        )
        num_faults = one.num_faults + two.num_faults
        num_requests: Counter[str] = one.num_requests + two.num_requests
    failures = store.failures()
    assert summary.done + summary.failed == 60
    assert summary.done == len(store) > 40
    assert {item.subject_id for item in store} | {item.subject_id for item in failures} == {
        person.id for person in people
    }
    assert described(store).items() <= texts(engine, people, request_options).items()
    assert all(failure.error for failure in failures)
    assert len(num_requests) == 60
    assert max(num_requests.values()) <= 4
    assert most <= 5
    assert num_faults.total() - num_faults["none"] > 20


# --- Servers that fail as a whole ---


@pytest.mark.parametrize("fault", ["500", "429", "wrong model", "invalid JSON"])
def test_a_server_that_answers_nothing_stops_the_run_and_nothing_is_stored(
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
        # The engine's own tries, one per halving, one per attempt.
        assert max(proxy.num_requests.values()) <= 3 + 3 + 3
        assert len(proxy.num_requests) < 40
    assert caught.value.retryable
    assert (len(store), store.failures()) == (0, [])


@pytest.mark.parametrize("fault", ["401", "403", "404", "301"])
def test_a_rejected_run_sends_no_more_requests(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    with faulty(lambda item, before: fault) as proxy:
        engine = remote(proxy.url, backoff=Backoff())
        with pytest.raises(EngineError, match=f"status {fault}") as caught:
            describe(subjects(40), RequestBuilder(engine=engine, **request_options), store, batch_size=8)
        assert proxy.num_requests.total() <= 4  # those that were in flight together
    assert not caught.value.retryable
    assert store.failures() == []


def test_an_unreachable_server_stores_no_failures(
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


def test_a_wrong_key_for_one_server_costs_nothing(
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
        assert bad.num_requests.total() <= 4
    assert (summary.done, summary.failed) == (20, 0)


def test_a_forbidden_image_among_others_is_its_own_failure(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with faulty(ByItem("403", number=7)) as proxy:
        summary = describe(
            subjects(12), RequestBuilder(engine=remote(proxy.url), **request_options), store, batch_size=6
        )
    assert (summary.done, summary.failed) == (11, 1)


def test_a_wrong_option_does_not_fail_a_whole_dataset(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with (
        faulty(lambda item, before: "400") as proxy,
        pytest.raises(EngineError, match="no description for 16 requests in a row"),
    ):
        describe(
            subjects(80), RequestBuilder(engine=remote(proxy.url), **request_options), store, batch_size=8
        )
    assert len(store.failures()) < 32


def test_after_a_canceled_call_the_next_one_works(subjects: Make, request_options: dict[str, Any]) -> None:
    with faulty(lambda item, before: "hang" if before == 0 else None) as proxy:
        engine = remote(proxy.url, timeout=0.3)
        request_builder = RequestBuilder(engine=engine, **request_options)
        requests = [request_builder.prepare(request_builder.build(person)) for person in subjects(3)]
        loop, dispatcher = engine._connection
        with pytest.raises(TimeoutError):
            loop.run(asyncio.wait_for(dispatcher.describe(requests), 0.05))
        assert [getattr(reply, "text", None) for reply in engine.describe(requests)] == [
            answer_to(request) for request in requests
        ]
