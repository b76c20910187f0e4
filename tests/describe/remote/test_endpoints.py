"""Which server gets the next request, and which one is paused."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from mien.describe.remote.endpoints import Endpoints, NoEndpointError
from mien.describe.remote.errors import ChatError, ErrorKind
from mien.describe.retry import Backoff

QUICK = Backoff(base=0.001, cap=0.002, max_retry_after=0.002)


def endpoints(count: int, *, concurrency: int = 8, retries: int = 2, backoff: Backoff = QUICK) -> Endpoints:
    urls = [f"http://server{number}/v1" for number in range(count)]
    return Endpoints(urls, concurrency=concurrency, retries=retries, backoff=backoff)


async def fail(servers: Endpoints, kind: ErrorKind, **options: Any) -> str:
    """Fails on a server and returns its URL."""
    try:
        async with servers.acquire() as endpoint:
            raise ChatError(kind, kind, **options)
    except ChatError:
        return endpoint.url


async def answer(servers: Endpoints) -> str:
    async with servers.acquire() as endpoint:
        return endpoint.url


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_server_with_the_fewest_requests_in_flight_is_next() -> None:
    async def test() -> None:
        servers = endpoints(3)
        async with servers.acquire() as first, servers.acquire() as second, servers.acquire() as third:
            assert len({first.url, second.url, third.url}) == 3
            async with servers.acquire() as fourth:
                assert fourth.in_flight == 2
        assert [endpoint.in_flight for endpoint in servers.all] == [0, 0, 0]

    run(test)


def test_single_requests_take_turns() -> None:
    async def test() -> None:
        servers = endpoints(2)
        assert len({await answer(servers) for _ in range(2)}) == 2

    run(test)


def test_a_server_to_avoid_is_used_only_if_no_other_is_ready() -> None:
    async def test() -> None:
        servers = endpoints(2)
        last = servers.all[0]
        async with servers.acquire(avoid=last) as other, servers.acquire(avoid=last) as another:
            assert other is another is servers.all[1]
        alone = endpoints(1)
        async with alone.acquire(avoid=alone.all[0]) as same:
            assert same is alone.all[0]

    run(test)


def test_concurrency_is_limited_over_all_servers() -> None:
    async def test() -> None:
        servers, at_once = endpoints(3, concurrency=4), []

        async def work() -> None:
            async with servers.acquire():
                at_once.append(sum(endpoint.in_flight for endpoint in servers.all))
                await asyncio.sleep(0.001)

        await asyncio.gather(*(work() for _ in range(40)))
        assert max(at_once) == 4

    run(test)


def test_an_unreachable_server_is_down_after_its_retries_and_others_take_over() -> None:
    async def test() -> None:
        servers = endpoints(1, retries=2)
        for _ in range(3):
            await fail(servers, "unreachable")
        servers.all[0].paused_until = math.inf  # on a busy machine a real pause may be over already
        with pytest.raises(NoEndpointError, match=r"server0.*unreachable"):
            await answer(servers)
        both = endpoints(2, backoff=Backoff(base=1e6, cap=1e6))
        [gone, here] = both.all
        gone.num_sent, here.num_sent = 0, 1
        assert await fail(both, "unreachable") == gone.url
        assert {await answer(both) for _ in range(9)} == {here.url}

    run(test)


def test_a_server_that_answers_again_is_back() -> None:
    async def test() -> None:
        servers = endpoints(1, retries=0)
        await fail(servers, "unreachable")
        [endpoint] = servers.all
        endpoint.paused_until = 0.0
        async with servers.acquire():
            with pytest.raises(NoEndpointError):  # one request tests the server; the others fail at once
                await answer(servers)
        assert await answer(servers) == endpoint.url
        assert endpoint.down_error is None

    run(test)


def test_a_server_that_rejects_requests_is_down_at_once() -> None:
    async def test() -> None:
        servers = endpoints(1, backoff=Backoff())
        await fail(servers, "rejected")
        with pytest.raises(NoEndpointError) as caught:
            await answer(servers)
        assert caught.value.error.kind == "rejected"

    run(test)


def test_an_unreachable_server_is_reported_before_one_that_rejects() -> None:
    async def test() -> None:
        servers = endpoints(2, retries=0, backoff=Backoff(base=1e6, cap=1e6))
        await fail(servers, "rejected")
        await fail(servers, "unreachable")
        with pytest.raises(NoEndpointError) as caught:
            await answer(servers)
        assert caught.value.error.kind == "unreachable"

    run(test)


def test_a_busy_server_pauses_as_it_asks_and_gets_half_as_many_requests() -> None:
    async def test() -> None:
        servers = endpoints(2, backoff=Backoff(max_retry_after=100))
        before = time.monotonic()
        url = await fail(servers, "busy", retry_after="60")
        [busy] = [endpoint for endpoint in servers.all if endpoint.url == url]
        assert before + 60 <= busy.paused_until <= time.monotonic() + 60
        assert busy.max_in_flight == 4
        assert url not in {await answer(servers) for _ in range(5)}

    run(test)


def test_the_limit_of_a_server_grows_again_with_answers() -> None:
    async def test() -> None:
        servers = endpoints(1)
        [endpoint] = servers.all
        for _ in range(5):
            await fail(servers, "busy")
        assert endpoint.max_in_flight == 1
        for _ in range(80):
            await answer(servers)
        assert endpoint.max_in_flight == 8

    run(test)


def test_failures_that_were_in_flight_together_count_once() -> None:
    async def test() -> None:
        servers = endpoints(1)
        together = asyncio.Barrier(5)

        async def work() -> None:
            async with servers.acquire():
                await together.wait()
                raise ChatError("unreachable", "unreachable")

        await asyncio.gather(*(work() for _ in range(5)), return_exceptions=True)
        assert servers.all[0].num_failures == 1

    run(test)


def test_the_failure_of_an_item_does_not_count_against_the_server() -> None:
    async def test() -> None:
        servers = endpoints(1)
        [endpoint] = servers.all
        for _ in range(9):
            await fail(servers, "item")
        assert (endpoint.num_failures, endpoint.max_in_flight, endpoint.has_described) == (0, 8, False)

    run(test)


def test_a_pause_that_ends_between_two_readings_of_the_clock_is_noticed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def test() -> None:
        servers = endpoints(1)
        [endpoint] = servers.all
        endpoint.paused_until = 0.0015
        ticks = (0.001 * tick for tick in count(1))
        monkeypatch.setattr(
            "mien.describe.remote.endpoints.time", SimpleNamespace(monotonic=lambda: next(ticks))
        )
        async with asyncio.timeout(20):
            assert await answer(servers) == endpoint.url

    run(test)


def test_a_canceled_request_frees_its_place() -> None:
    async def test() -> None:
        servers = endpoints(1, concurrency=1)

        async def forever() -> None:
            async with servers.acquire():
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(forever()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert servers.all[0].in_flight == 0
        assert await answer(servers)

    run(test)
