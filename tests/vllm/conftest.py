"""A real vLLM on a CPU, in this process and as a server, and the scenes of Playhouse that it describes."""

import os
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import islice
from pathlib import Path

import pytest
from tests.factories.real_vllm import COUNT, HOW, MAX_TOKENS, SETTINGS, VllmServer, texts_of

from mien.data.playhouse import Playhouse
from mien.describe.engine import Request
from mien.describe.local.engine import LocalEngine
from mien.describe.requests import RequestBuilder
from mien.recipe import DataOptions
from mien.types import Subject


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folder = Path(__file__).parent
    for item in items:
        if folder in item.path.parents:
            item.add_marker(pytest.mark.vllm)
            if find_spec("vllm") is None:
                item.add_marker(pytest.mark.skip(reason="vLLM is not installed; run make vllm"))


@pytest.fixture(autouse=True, scope="session")
def _settings() -> None:
    os.environ.update(SETTINGS)


@pytest.fixture(scope="session")
def people(tmp_path_factory: pytest.TempPathFactory) -> list[Subject]:
    """People in drawn scenes."""
    playhouse = Playhouse(DataOptions(), tmp_path_factory.mktemp("playhouse"))
    return [sample.subject for sample in islice(playhouse.samples("test"), COUNT)]


@pytest.fixture(scope="session")
def requests(people: list[Subject]) -> list[Request]:
    builder = RequestBuilder(engine=LocalEngine("playhouse"), **HOW)
    return [builder.prepare(builder.build(person)) for person in people]


@pytest.fixture(scope="session")
def texts(requests: list[Request]) -> list[str]:
    """What the engine `local` writes."""
    return texts_of(LocalEngine("playhouse", max_new_tokens=MAX_TOKENS), requests)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[VllmServer]]:
    """Two servers, which start at the same time."""
    folder = tmp_path_factory.mktemp("servers")
    started = [VllmServer(folder / name) for name in ("first.log", "second.log")]
    try:
        for server in started:
            server.start()
        for server in started:
            server.wait()
        yield started
    finally:
        for server in started:
            server.kill()
