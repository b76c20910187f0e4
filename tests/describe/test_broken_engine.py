"""An engine that does not work at all ends the run, and no subject is stored as failed."""

import errno
import fcntl
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests.factories.chat_server import MODEL, chat_server
from tests.factories.engines import RecordingEngine
from tests.factories.fault_proxy import fault_proxy, unused_address

from mien.describe.engine import Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.remote.engine import RemoteEngine
from mien.describe.requests import RequestBuilder
from mien.describe.retry import Backoff, describe_with_retries
from mien.describe.store.lookup import count_by_status
from mien.describe.store.store import Store
from mien.describe.vllm import VllmEngine
from mien.errors import EngineDownError, EngineError, StoreError, StoreLockedError
from mien.recipe import RunOptions
from mien.types import Subject

Make = Callable[..., list[Subject]]


class DownEngine(RecordingEngine):
    """Records its calls, and always fails."""

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        super().describe(requests)
        raise EngineDownError("no such device", hint="plug it in")


def remote(*urls: str, concurrency: int = 2) -> RemoteEngine:
    run = RunOptions(endpoints=urls, timeout=30.0, concurrency=concurrency, retries=1)
    return RemoteEngine(MODEL, run=run, backoff=Backoff(base=0.001, cap=0.01, max_retry_after=0.02))


def requests(count: int) -> list[Request]:
    return [Request(subject_id=str(number), images=(), prompt="How?") for number in range(count)]


def test_an_engine_that_is_down_is_not_called_for_every_half(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = DownEngine(FakeEngine())
    with pytest.raises(EngineDownError, match="no such device"):
        describe(subjects(12), RequestBuilder(engine=engine, **request_options), store, batch_size=8)
    assert len(engine.calls) == 1
    assert store.failures() == []


@pytest.mark.parametrize("count", [4, 12])
def test_an_engine_that_always_fails_stores_no_failure(
    subjects: Make, store: Store, request_options: dict[str, Any], count: int
) -> None:
    engine = FakeEngine(FakeOptions(poison=tuple(f"s{n}" for n in range(count))))
    with pytest.raises(EngineError, match=f"failed on {count} subjects in a row"):
        describe(subjects(count), RequestBuilder(engine=engine, **request_options), store, batch_size=5)
    assert store.failures() == []
    assert (
        describe(subjects(count), RequestBuilder(engine=FakeEngine(), **request_options), store).done == count
    )


def test_a_single_poison_item_is_stored_as_a_failure(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    summary = describe(
        subjects(1), RequestBuilder(engine=FakeEngine(FakeOptions(poison=("s0",))), **request_options), store
    )
    assert (summary.failed, len(store.failures())) == (1, 1)


def test_an_unreachable_server_stores_no_failure(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    with pytest.raises(EngineDownError, match="cannot be reached"):
        describe(
            subjects(5),
            RequestBuilder(engine=remote(unused_address()), **request_options),
            store,
            batch_size=2,
        )
    assert store.failures() == []


@pytest.mark.parametrize("fault", ["401", "404"])
def test_an_api_key_that_expires_within_a_batch_stores_no_failure(
    subjects: Make, store: Store, request_options: dict[str, Any], fault: str
) -> None:
    seen: list[str] = []

    def after_three(item: str, before: int) -> str | None:
        seen.append(item)
        return fault if len(seen) > 3 else None

    with chat_server() as server, fault_proxy(server.url, after_three) as proxy:
        with pytest.raises(EngineDownError):
            describe(
                subjects(12), RequestBuilder(engine=remote(proxy.url), **request_options), store, batch_size=6
            )
        assert store.failures() == []
        seen.clear()
        proxy.schedule = lambda item, before: None
        assert (
            describe(subjects(12), RequestBuilder(engine=remote(proxy.url), **request_options), store).failed
            == 0
        )
    assert len(store) == 12


def test_repeated_refusals_are_blamed_on_the_server(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    seen: list[str] = []

    def after_three(item: str, before: int) -> str | None:
        seen.append(item)
        return "403" if len(seen) > 3 else None

    with chat_server() as server, fault_proxy(server.url, after_three) as proxy:
        # One request at a time, so that no refusal comes before the last reply.
        engine = remote(proxy.url, concurrency=1)
        with pytest.raises(EngineDownError, match="forbade 16 requests in a row"):
            describe(subjects(60), RequestBuilder(engine=engine, **request_options), store, batch_size=4)
    assert len(seen) == 3 + 16
    assert len(store.failures()) <= 16


def test_vllm_that_cannot_start_is_started_only_once(tmp_path: Path) -> None:
    starts: list[object] = []

    def start(*what: object) -> object:
        starts.append(what)
        raise EngineDownError("no GPU")

    engine = VllmEngine("playhouse", start=start)
    with pytest.raises(EngineDownError):
        describe_with_retries(engine, requests(8))
    assert len(starts) == 1


def test_a_device_that_cannot_be_used_is_not_mistaken_for_a_large_batch() -> None:
    engine = LocalEngine("playhouse", device="cuda")
    with pytest.raises(EngineDownError, match="cannot be used"):
        describe_with_retries(engine, requests(8))


# --- Status and locks ---


def test_a_store_with_only_failures_counts_as_a_store(
    subjects: Make, store: Store, request_options: dict[str, Any]
) -> None:
    engine = FakeEngine(FakeOptions(refuse=("s0", "s1")))
    describe(subjects(2), RequestBuilder(engine=engine, **request_options), store)
    request_builder = RequestBuilder(engine=engine, **request_options)
    counts = count_by_status(subjects(3), request_builder, store)
    assert (counts.described, counts.missing, sum(counts.failed.values())) == (0, 1, 2)


def test_a_file_system_without_locks_is_not_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(StoreError, match="cannot be locked: No locks available") as caught:
        Store(tmp_path / "store.sqlite")
    assert not isinstance(caught.value, StoreLockedError)
