"""A run ends soon at servers that describe no one, says why at once, and stores nothing as failed."""

import logging
from pathlib import Path
from threading import Event
from typing import Any

import pytest
from PIL import Image
from tests.attacks.useless_servers import USELESS, asking_to_wait
from tests.factories.odd_server import OddServer, React, answering, completion, odd_server

from mien.describe.generate import describe
from mien.describe.progress import DescribeSummary
from mien.describe.prompts import get_prompt
from mien.describe.remote.engine import RemoteEngine
from mien.describe.remote.trouble import MAX_USELESS
from mien.describe.requests import RequestBuilder
from mien.describe.retry import Backoff
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.labels import CAERS
from mien.media.images import Marking
from mien.recipe import RunOptions
from mien.types import Subject

FAST = Backoff(base=0.001, cap=0.01, max_retry_after=0.02)
MOST_IN_FLIGHT = 8  # before there is any description
Logs = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _no_keys_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIEN_API_KEY", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def people(tmp_path: Path) -> list[Subject]:
    made = []
    for number in range(8):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (32, 24), (number, 0, 200)).save(path)
        made.append(Subject.still(f"s{number}", path, None))
    return made


def describe_at(
    server: OddServer,
    people: list[Subject],
    folder: Path,
    *,
    batch_size: int = 8,
    backoff: Backoff = FAST,
    options: dict[str, Any] | None = None,
    **run: Any,
) -> DescribeSummary:
    settings = RunOptions(endpoints=(server.url,), **{"timeout": 30.0, **(options or {})})
    engine = RemoteEngine("tiny", run=settings, backoff=backoff)
    builder = RequestBuilder(engine=engine, prompt=get_prompt("paper"), label_set=CAERS, marking=Marking())
    with Store(folder / "store.sqlite") as store:
        try:
            return describe(people, builder, store, batch_size=batch_size, **run)
        finally:
            assert store.failures() == []


@pytest.mark.parametrize("name", USELESS)
def test_it_stops_after_a_few_requests(
    name: str, people: list[Subject], tmp_path: Path, caplog: Logs
) -> None:
    react, said = USELESS[name]
    timeout = 0.4 if "drip" in name else 30.0
    with odd_server(react) as server, pytest.raises(EngineError) as caught:
        describe_at(server, people, tmp_path, options={"timeout": timeout})
    assert len(server.bodies) <= MAX_USELESS + MOST_IN_FLIGHT
    assert said in str(caught.value) + caplog.text
    assert caught.value.hint
    assert "\x1b" not in str(caught.value) + caplog.text


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("name", ["another model", "web page", "429 for ever"])
def test_the_batch_size_does_not_matter(
    name: str, batch_size: int, people: list[Subject], tmp_path: Path
) -> None:
    with odd_server(USELESS[name][0]) as server, pytest.raises(EngineError, match="in a row"):
        describe_at(server, people, tmp_path, batch_size=batch_size)
    assert len(server.bodies) <= MAX_USELESS + MOST_IN_FLIGHT


@pytest.mark.parametrize("concurrency", [1, 64])
def test_a_larger_concurrency_sends_no_more(concurrency: int, people: list[Subject], tmp_path: Path) -> None:
    with odd_server(USELESS["another model"][0]) as server, pytest.raises(EngineError, match="in a row"):
        describe_at(server, people, tmp_path, options={"concurrency": concurrency, "retries": 20})
    assert MAX_USELESS <= len(server.bodies) <= MAX_USELESS + MOST_IN_FLIGHT


@pytest.mark.parametrize("name", ["another model", "web page", "429", "429 for days", "redirect"])
def test_the_first_trouble_is_said_at_once(name: str, people: list[Subject], tmp_path: Path) -> None:
    seen: list[int] = []
    handler = logging.Handler(logging.WARNING)
    with odd_server(USELESS[name][0]) as server:
        handler.emit = lambda record: seen.append(len(server.bodies))  # type: ignore[method-assign]
        logging.getLogger("mien").addHandler(handler)
        try:
            with pytest.raises(EngineError):
                describe_at(server, people, tmp_path)
        finally:
            logging.getLogger("mien").removeHandler(handler)
    assert seen[0] <= MOST_IN_FLIGHT


@pytest.mark.parametrize(
    "react", [asking_to_wait("100"), lambda handler, body: handler.server.closing.wait()]
)
def test_a_pause_is_shown_and_ends_with_a_signal(
    react: React, people: list[Subject], tmp_path: Path, caplog: Logs
) -> None:
    # Without the signal, both would take minutes.
    with odd_server(react) as server:
        summary = describe_at(
            server, people, tmp_path, backoff=Backoff(), stop=lambda: len(server.bodies) >= 8
        )
    assert (summary.done, summary.failed) == (0, 0)
    if caplog.text:  # the other server says nothing yet
        assert "waiting 100 s" in caplog.text


def test_a_server_that_becomes_useless_ends_the_run_too(people: list[Subject], tmp_path: Path) -> None:
    is_good = Event()
    is_good.set()

    def react(handler: Any, body: dict[str, Any]) -> None:
        answering(completion() if is_good.is_set() else completion(model="another-13b"))(handler, body)

    with odd_server(react) as server:
        assert describe_at(server, people[:2], tmp_path).done == 2
        is_good.clear()
        with pytest.raises(EngineError, match="another-13b"):
            describe_at(server, people, tmp_path)
    assert len(server.bodies) < 100


def test_one_bad_reply_costs_only_time(people: list[Subject], tmp_path: Path) -> None:
    def react(handler: Any, body: dict[str, Any]) -> None:
        number = len(server.bodies)
        answering(b"" if number % 3 == 0 else completion())(handler, body)

    with odd_server(react) as server:
        assert describe_at(server, people, tmp_path).done == 8
