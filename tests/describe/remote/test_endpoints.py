"""Who is asked next, and who is left alone."""

import asyncio
import math
import time
from collections.abc import Callable, Coroutine
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from mien.describe.backoff import Backoff
from mien.describe.remote.endpoints import AllDownError, Endpoints
from mien.describe.remote.protocol import ExchangeError, Kind

QUICK = Backoff(base=0.001, cap=0.002, max_retry_after=0.002)


def endpoints(count: int, *, concurrency: int = 8, patience: int = 2, backoff: Backoff = QUICK) -> Endpoints:
    urls = [f"http://server{number}/v1" for number in range(count)]
    return Endpoints(urls, concurrency=concurrency, patience=patience, backoff=backoff)


async def fail(servers: Endpoints, kind: Kind, **request_options: Any) -> str:
    """Takes a place, fails on it, and says whose it was."""
    try:
        async with servers.place() as endpoint:
            raise ExchangeError(kind, kind, **request_options)
    except ExchangeError:
        return endpoint.url


async def answer(servers: Endpoints) -> str:
    async with servers.place() as endpoint:
        return endpoint.url


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(test())


def test_the_fewest_in_flight_are_next() -> None:
    async def test() -> None:
        servers = endpoints(3)
        async with servers.place() as first, servers.place() as second, servers.place() as third:
            assert len({first.url, second.url, third.url}) == 3
            async with servers.place() as fourth:
                assert fourth.in_flight == 2
        assert [endpoint.in_flight for endpoint in servers.all] == [0, 0, 0]

    run(test)


def test_one_after_another_goes_round() -> None:
    async def test() -> None:
        servers = endpoints(2)
        assert len({await answer(servers) for _ in range(2)}) == 2

    run(test)


def test_who_failed_is_avoided_unless_there_is_nobody_else() -> None:
    async def test() -> None:
        servers = endpoints(2)
        last = servers.all[0]
        async with servers.place(avoid=last) as other, servers.place(avoid=last) as another:
            assert other is another is servers.all[1]
        alone = endpoints(1)
        async with alone.place(avoid=alone.all[0]) as same:
            assert same is alone.all[0]

    run(test)


def test_no_more_than_allowed_at_once_over_all() -> None:
    async def test() -> None:
        servers, at_once = endpoints(3, concurrency=4), []

        async def work() -> None:
            async with servers.place():
                at_once.append(sum(endpoint.in_flight for endpoint in servers.all))
                await asyncio.sleep(0.001)

        await asyncio.gather(*(work() for _ in range(40)))
        assert max(at_once) == 4

    run(test)


def test_out_of_reach_it_is_down_after_some_tries_and_others_take_over() -> None:
    async def test() -> None:
        servers = endpoints(1, patience=2)
        for _ in range(3):
            await fail(servers, "away")
        servers.all[0].paused_until = math.inf  # a busy machine may look again too late for a real pause
        with pytest.raises(AllDownError, match=r"server0.*away"):
            await answer(servers)
        both = endpoints(2, backoff=Backoff(base=1e6, cap=1e6))
        [gone, here] = both.all
        gone.num_asked, here.num_asked = 0, 1
        assert await fail(both, "away") == gone.url
        assert {await answer(both) for _ in range(9)} == {here.url}

    run(test)


def test_it_comes_back() -> None:
    async def test() -> None:
        servers = endpoints(1, patience=0)
        await fail(servers, "away")
        [endpoint] = servers.all
        endpoint.paused_until = 0.0
        async with servers.place():
            with pytest.raises(AllDownError):  # one is let through to see, the others are told at once
                await answer(servers)
        assert await answer(servers) == endpoint.url
        assert endpoint.trouble is None

    run(test)


def test_who_lets_nobody_in_is_down_at_once() -> None:
    async def test() -> None:
        servers = endpoints(1, backoff=Backoff())
        await fail(servers, "shut")
        with pytest.raises(AllDownError) as caught:
            await answer(servers)
        assert caught.value.trouble.kind == "shut"

    run(test)


def test_one_that_may_come_back_is_what_is_told_of() -> None:
    async def test() -> None:
        servers = endpoints(2, patience=0, backoff=Backoff(base=1e6, cap=1e6))
        await fail(servers, "shut")
        await fail(servers, "away")
        with pytest.raises(AllDownError) as caught:
            await answer(servers)
        assert caught.value.trouble.kind == "away"

    run(test)


def test_busy_is_left_alone_for_as_long_as_it_wants_and_gets_half_as_many() -> None:
    async def test() -> None:
        servers = endpoints(2, backoff=Backoff(max_retry_after=100))
        before = time.monotonic()
        url = await fail(servers, "busy", retry_after="60")
        [busy] = [endpoint for endpoint in servers.all if endpoint.url == url]
        assert before + 60 <= busy.paused_until <= time.monotonic() + 60
        assert busy.room == 4
        assert url not in {await answer(servers) for _ in range(5)}

    run(test)


def test_room_grows_again_with_answers() -> None:
    async def test() -> None:
        servers = endpoints(1)
        [endpoint] = servers.all
        for _ in range(5):
            await fail(servers, "busy")
        assert endpoint.room == 1
        for _ in range(80):
            await answer(servers)
        assert endpoint.room == 8

    run(test)


def test_failures_that_were_in_flight_together_count_once() -> None:
    async def test() -> None:
        servers = endpoints(1)
        together = asyncio.Barrier(5)

        async def work() -> None:
            async with servers.place():
                await together.wait()
                raise ExchangeError("away", "away")

        await asyncio.gather(*(work() for _ in range(5)), return_exceptions=True)
        assert servers.all[0].num_failures == 1

    run(test)


def test_the_items_own_failure_is_nothing_against_the_server() -> None:
    async def test() -> None:
        servers = endpoints(1)
        [endpoint] = servers.all
        for _ in range(9):
            await fail(servers, "item")
        assert (endpoint.num_failures, endpoint.room, endpoint.has_described) == (0, 8, False)

    run(test)


def test_a_pause_that_ends_between_two_looks_at_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_given_up_work_leaves_its_place() -> None:
    async def test() -> None:
        servers = endpoints(1, concurrency=1)

        async def forever() -> None:
            async with servers.place():
                await asyncio.Event().wait()

        tasks = [asyncio.create_task(forever()) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert servers.all[0].in_flight == 0
        assert await answer(servers)

    run(test)
