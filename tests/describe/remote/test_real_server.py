"""The embedded LLaVA writes the same on a real server as in this process."""

from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from tests.factories.fault_proxy import TEMPORARY, fault_proxy
from tests.factories.real_server import RealServer

from mien.data.playhouse import Playhouse
from mien.describe.engine import Reply, Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.prompts import get_prompt
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.describe.requests import RequestBuilder
from mien.describe.retry import Backoff
from mien.describe.store.store import Store
from mien.labels import EMOTIC
from mien.media.images import Marking
from mien.playhouse.embedded_models import embedded_model_folder
from mien.recipe import DataOptions, RunOptions
from mien.types import Subject

pytestmark = pytest.mark.slow  # two processes that load torch

HOW: dict[str, Any] = {"prompt": get_prompt("paper"), "label_set": EMOTIC, "marking": Marking()}
# The faults that work with a server whose answers take a while on a busy machine.
FAST_FAULTS = [fault for fault in TEMPORARY if fault not in ("hang", "slow drip")]


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """Eight scenes."""
    playhouse = Playhouse(DataOptions(), tmp_path_factory.mktemp("playhouse"))
    return [sample.subject for sample in islice(playhouse.samples("test"), 8)]


def local_engine(max_new_tokens: int = 160) -> LocalEngine:
    return LocalEngine("playhouse", max_new_tokens=max_new_tokens)


def remote_engine(address: str, max_new_tokens: int = 160) -> RemoteEngine:
    return RemoteEngine(
        str(embedded_model_folder("llava")),
        RemoteOptions(image_size=local_engine().image_size),
        run=RunOptions(endpoints=(address,), concurrency=4),
        max_new_tokens=max_new_tokens,
        backoff=Backoff(base=0.01, cap=0.1, max_retry_after=0.1),
    )


def requests(people: list[Subject]) -> list[Request]:
    builder = RequestBuilder(engine=local_engine(), **HOW)
    return [builder.prepare(builder.build(person)) for person in people]


def test_replies_equal_those_of_the_local_engine(real_server: RealServer, people: list[Subject]) -> None:
    batch = requests(people[:3])
    replies = local_engine(12).describe(batch)  # so short that both must report the cut
    assert {getattr(reply, "finish", None) for reply in replies} == {"length"}
    assert {reply.usage and reply.usage.completion for reply in replies if isinstance(reply, Reply)} == {12}
    # Also the tokens that both count, of the prompt and of the text.
    assert remote_engine(real_server.address, 12).describe(batch) == replies
    assert remote_engine(real_server.address).describe(batch) == local_engine().describe(batch)


def test_whole_stores_are_equal_also_through_faults(
    real_server: RealServer, people: list[Subject], tmp_path: Path
) -> None:
    texts = []
    faults = iter(FAST_FAULTS * 2)
    with fault_proxy(real_server.address, lambda item, before: next(faults) if before < 2 else None) as proxy:
        for name, engine in {"local": local_engine(), "remote": remote_engine(proxy.url)}.items():
            with Store(tmp_path / f"{name}.sqlite") as store:
                describe(people, RequestBuilder(engine=engine, **HOW), store)
                assert store.failures() == []
                texts.append({item.subject_id: (item.text, item.finish) for item in store})
        assert set(proxy.num_requests.values()) == {3}
    assert texts[0] == texts[1]
    assert len(texts[0]) == 8


def test_another_model_name_fails_with_the_servers_reason(
    real_server: RealServer, people: list[Subject]
) -> None:
    engine = RemoteEngine("llava-13b", run=RunOptions(endpoints=(real_server.address,)))
    [error] = engine.describe(requests(people[:1]))
    assert "llava-13b" in str(error)
    assert "status 400" in str(error)
