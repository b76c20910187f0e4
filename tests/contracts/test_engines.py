"""What every engine promises; a new engine is one more name in `ENGINES`."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.factories.tiny_llava import build_tiny_llava

from mien.describe.engine import Engine, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.digests import canonical_json
from mien.errors import EngineError


def _fake(folder: Path) -> Engine:
    return FakeEngine(FakeOptions(refuse=("refused",)))


def _local(folder: Path) -> Engine:
    from mien.describe.local.engine import LocalEngine

    return LocalEngine(build_tiny_llava(folder / "llava"), max_new_tokens=8)


def _remote(folder: Path) -> Engine:
    from tests.factories.chat_server import MODEL, ChatServer

    from mien.describe.remote.engine import RemoteEngine
    from mien.recipe import RunOptions

    server = ChatServer()  # in a thread that ends with the session
    return RemoteEngine(MODEL, run=RunOptions(endpoints=(server.url,), concurrency=4))


ENGINES: dict[str, Callable[[Path], Engine]] = {"fake": _fake, "local": _local, "remote": _remote}


@pytest.fixture(scope="session", params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Engine:
    name: str = request.param
    return ENGINES[name](tmp_path_factory.mktemp(name))


def requests(count: int) -> list[Request]:
    """Pictures of noise and questions of different lengths."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        width, height = rng.integers(8, 60, 2)
        picture = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        words = "How does this person feel, and why? " * (1 + number % 3)
        made.append(Request(subject_id=f"s{number}", images=(picture,), prompt=words))
    return made


def test_no_requests_have_no_replies(engine: Engine) -> None:
    assert list(engine.describe([])) == []


def test_the_signature_is_plain_stable_json(engine: Engine) -> None:
    assert canonical_json(dict(engine.signature)) == canonical_json(dict(engine.signature))
    assert engine.signature["engine"]


def test_the_signature_says_neither_time_nor_place(engine: Engine, tmp_path: Path) -> None:
    said = canonical_json(dict(engine.signature))
    assert str(tmp_path.parent) not in said
    assert "cpu" not in said


def test_the_name_is_one_short_line(engine: Engine) -> None:
    assert 0 < len(engine.name) < 100
    assert "\n" not in engine.name


def test_the_square_is_a_size_or_none(engine: Engine) -> None:
    assert engine.image_size is None or engine.image_size > 0


def test_the_same_requests_have_the_same_replies(engine: Engine) -> None:
    asked = requests(3)
    assert list(engine.describe(asked)) == list(engine.describe(asked))


def test_replies_differ_where_pictures_differ(engine: Engine) -> None:
    replies = engine.describe(requests(6))
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) > 1


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_a_batch_in_any_order_is_equal_to_one_by_one(engine: Engine, order: list[int], size: int) -> None:
    asked = requests(9)
    alone = _one_by_one(engine, asked)
    for start in range(0, 9, size):
        chosen = order[start : start + size]
        together = engine.describe([asked[number] for number in chosen])
        assert list(together) == [alone[number] for number in chosen]


_ALONE: dict[int, list[Reply | EngineError]] = {}


def _one_by_one(engine: Engine, asked: list[Request]) -> list[Reply | EngineError]:
    if id(engine) not in _ALONE:
        _ALONE[id(engine)] = [engine.describe([request])[0] for request in asked]
    return _ALONE[id(engine)]
