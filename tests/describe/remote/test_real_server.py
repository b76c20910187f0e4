"""The remote engine before a real server: the embedded LLaVA says there what it says here."""

import os
import subprocess
import sys
from collections.abc import Iterator
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from tests.factories.fault_proxy import PASSING, fault_proxy, open_here, unused_address, wait_until

from mien.data.playhouse import Playhouse
from mien.describe.backoff import Backoff
from mien.describe.engine import Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.prompts import prompt
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.describe.requests import Questioner
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.playhouse.embedded_models import embedded
from mien.recipe import DataOptions, RunOptions
from mien.types import Subject

pytestmark = pytest.mark.slow  # two processes that load torch

HOW: dict[str, Any] = {"prompt": prompt("paper"), "label_set": EMOTIC, "marking": Marking()}
# What the proxy can play on a server whose answers take a while on a busy machine.
QUICK_FAULTS = [fault for fault in PASSING if fault not in ("hang", "slow drip")]


class Served:
    """A server that is on its way up; whoever asks for its address waits until it is."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, log: Path) -> None:
        self._process = process
        self._url = url
        self._log = log

    @cached_property
    def address(self) -> str:
        wait_until(self._is_up)
        return self._url

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self._log.read_text()
        try:
            with open_here(f"{self._url.removesuffix('/v1')}/health") as response:
                return bool(response.status == 200)
        except (URLError, ConnectionError):
            return False


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The server of a session, with the embedded LLaVA; the first test does something else meanwhile."""
    pytest.importorskip("uvicorn", reason="needs transformers[serving]")
    folder, url = tmp_path_factory.mktemp("served"), unused_address()
    port = url.removesuffix("/v1").rpartition(":")[2]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(embedded("llava"))]
    options = ["--host", "127.0.0.1", "--port", port, "--device", "cpu", "--dtype", "float32"]
    # It looks for more models in the cache, which has to be there, and finds none.
    environment = os.environ | {"HF_HUB_CACHE": str(folder), "OMP_NUM_THREADS": "1"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_UPDATE_CHECK": "1"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, *options], stdout=log, stderr=log, env=environment)
    try:
        yield Served(process, url, folder / "log")
    finally:
        process.terminate()
        process.wait()


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Eight scenes."""
    theatre = Playhouse(DataOptions(), tmp_path_factory.mktemp("theatre"))
    return [sample.subject for sample in islice(theatre.samples("test"), 8)]


def here(max_new_tokens: int = 160) -> LocalEngine:
    return LocalEngine("playhouse", max_new_tokens=max_new_tokens)


def there(address: str, max_new_tokens: int = 160) -> RemoteEngine:
    return RemoteEngine(
        str(embedded("llava")),
        RemoteOptions(image_size=here().image_size),
        run=RunOptions(endpoints=(address,), concurrency=4),
        max_new_tokens=max_new_tokens,
        backoff=Backoff(base=0.01, cap=0.1, longest=0.1),
    )


def requests(people: list[Subject]) -> list[Request]:
    questioner = Questioner(engine=here(), **HOW)
    return [questioner.request(questioner.question(person)) for person in people]


def test_it_says_what_the_model_says_here(served: Served, people: list[Subject]) -> None:
    asked = requests(people[:3])
    replies = here(12).describe(asked)  # cut short, which both have to say
    assert {getattr(reply, "finish", None) for reply in replies} == {"length"}
    assert there(served.address, 12).describe(asked) == replies


def test_whole_stores_are_equal_also_through_faults(
    served: Served, people: list[Subject], tmp_path: Path
) -> None:
    texts = []
    faults = iter(QUICK_FAULTS * 2)
    with fault_proxy(served.address, lambda item, before: next(faults) if before < 2 else None) as proxy:
        for name, engine in {"here": here(), "there": there(proxy.url)}.items():
            with Store(tmp_path / f"{name}.sqlite") as store:
                describe(people, engine=engine, store=store, **HOW)
                assert store.failures() == []
                texts.append({item.subject_id: (item.text, item.finish) for item in store})
        assert set(proxy.asked.values()) == {3}
    assert texts[0] == texts[1]
    assert len(texts[0]) == 8


def test_another_name_is_refused_with_the_servers_reason(served: Served, people: list[Subject]) -> None:
    engine = RemoteEngine("llava-13b", run=RunOptions(endpoints=(served.address,)))
    [error] = engine.describe(requests(people[:1]))
    assert "llava-13b" in str(error)
    assert "status 400" in str(error)
