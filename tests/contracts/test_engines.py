"""What every engine and every wrapper promises. To add an engine, add a function and a line to `ENGINES`."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.factories.chat_server import MODEL, ChatServer
from tests.factories.cluster_engines import TracedEngine, TracedOptions
from tests.factories.engines import RecordingEngine
from tests.factories.fake_vllm import REFUSED, FakeVllm
from tests.factories.fault_proxy import FaultProxy
from tests.factories.thread_backend import ThreadBackend
from tests.factories.tiny_llava import build_tiny_llava
from tests.factories.tiny_onnx import write_random_yolox

from mien import registry
from mien.describe.cues.engine import CuesEngine
from mien.describe.engine import Engine, EngineWrapper, Reply, Request
from mien.describe.fake import FakeEngine, FakeOptions
from mien.describe.local.engine import LocalEngine
from mien.describe.open import open_engine
from mien.describe.ray.engine import ClusterEngine
from mien.describe.remote.engine import RemoteEngine
from mien.describe.store.imported import ImportedEngine, ImportedOptions
from mien.describe.vllm import VllmEngine
from mien.digests import canonical_json
from mien.errors import EngineError
from mien.recipe import DescribeOptions, RunOptions
from mien.types import Finish

REFUSED_PROMPT = "Refuse this one."


def _cues(folder: Path) -> Engine:
    pytest.importorskip("onnxruntime")
    return CuesEngine(str(write_random_yolox(folder / "yolox.onnx")), num_threads=2)


def _fake(folder: Path) -> Engine:
    return FakeEngine(FakeOptions(refuse=("refused",)))


def _imported(folder: Path) -> Engine:
    return ImportedEngine(ImportedOptions(name="gpt-4o"))


def _local(folder: Path) -> Engine:
    return LocalEngine(build_tiny_llava(folder / "llava"), max_new_tokens=8)


def _remote(folder: Path) -> Engine:
    # Both servers run in threads that end with the process.
    proxy = FaultProxy(ChatServer().url, lambda body, before: "400" if REFUSED_PROMPT in body else None)
    return RemoteEngine(MODEL, run=RunOptions(endpoints=(proxy.url,), concurrency=4))


def _vllm(folder: Path) -> Engine:
    return VllmEngine(str(build_tiny_llava(folder / "llava")), start=lambda *_: FakeVllm())


def _cluster(folder: Path) -> Engine:
    inner = _fake(folder)
    return ClusterEngine(inner, ThreadBackend(inner), size=2, timeout=60.0)


def _ray(folder: Path) -> Engine:
    pytest.importorskip("ray")
    options = DescribeOptions(engine="fake", options={"refuse": ["refused"]})
    return open_engine(options, RunOptions(cluster="ray", actors=2))


def _recording(folder: Path) -> Engine:
    return RecordingEngine(_fake(folder))


def _traced(folder: Path) -> Engine:
    return TracedEngine(TracedOptions(folder=folder))


ENGINES: dict[str, Callable[[Path], Engine]] = {
    "cues": _cues,
    "fake": _fake,
    "imported": _imported,
    "local": _local,
    "remote": _remote,
    "vllm": _vllm,
}
WRAPPERS: dict[str, Callable[[Path], Engine]] = {
    "cluster": _cluster,
    "ray": _ray,
    "recording": _recording,
    "traced": _traced,
}
ALL = ENGINES | WRAPPERS
SLOW = {"ray"}  # starts a cluster


def _params(names: list[str]) -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.slow if name in SLOW else ()) for name in names]


@pytest.fixture(scope="module")
def engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Engine]]:
    """Opens each engine once; closes them all after the last test."""
    opened: dict[str, Engine] = {}

    def get(name: str) -> Engine:
        if name not in opened:
            opened[name] = ALL[name](tmp_path_factory.mktemp(name))
        return opened[name]

    yield get
    for engine in opened.values():
        engine.close()


@pytest.fixture(params=_params(sorted(ALL)))
def any_engine(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Engine:
    """Every engine, also one that has no model."""
    return engines(request.param)


@pytest.fixture(params=_params(sorted(ALL.keys() - {"imported"})))
def engine(request: pytest.FixtureRequest, engines: Callable[[str], Engine]) -> Engine:
    """Every engine that answers requests."""
    return engines(request.param)


def make_requests(count: int) -> list[Request]:
    """Images of noise in different shapes, and prompts of different lengths."""
    rng = np.random.default_rng(3)
    made = []
    for number in range(count):
        width, height = rng.integers(8, 60, 2)
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        pixels[0, 0] = 20 + number  # the fake vLLM reads nothing else
        prompt = "How does this person feel, and why? " * (1 + number % 3)
        made.append(Request(subject_id=f"s{number}", images=(Image.fromarray(pixels),), prompt=prompt))
    return made


# --- Identity ---


def test_every_engine_of_the_registry_runs_this_suite() -> None:
    assert ENGINES.keys() == set(registry.registered_names("engine"))


def test_an_engine_is_abstract_or_not_subclassed() -> None:
    def subclasses(parent: type) -> set[type]:
        children: set[type] = set(parent.__subclasses__())
        return children.union(*map(subclasses, children))

    ours = {child for child in subclasses(Engine) if child.__module__.startswith("mien.")}
    assert ours >= {FakeEngine, ImportedEngine, LocalEngine, RemoteEngine, VllmEngine, ClusterEngine}
    parents = {parent for child in ours for parent in child.__bases__}
    assert parents & ours == {EngineWrapper}


def test_the_signature_is_plain_json(any_engine: Engine) -> None:
    signature = dict(any_engine.signature)
    assert json.loads(canonical_json(signature)) == signature
    assert isinstance(signature["engine"], str)


@pytest.mark.parametrize("name", _params(sorted(ALL)))
def test_the_signature_depends_on_neither_time_nor_place(
    name: str, engines: Callable[[str], Engine], tmp_path: Path
) -> None:
    # The same model in another folder, and another server with the same model.
    other = ALL[name](tmp_path)
    assert dict(other.signature) == dict(engines(name).signature)
    assert (other.name, other.image_size) == (engines(name).name, engines(name).image_size)
    other.close()  # also before the first request


def test_the_name_is_one_short_line(any_engine: Engine) -> None:
    assert 0 < len(any_engine.name) < 100
    assert any_engine.name == any_engine.name.strip()
    assert "\n" not in any_engine.name


def test_the_image_size_is_positive_or_none(any_engine: Engine) -> None:
    size = any_engine.image_size
    assert size is None or size > 0


# --- Replies ---


def test_no_requests_have_no_replies(any_engine: Engine) -> None:
    assert list(any_engine.describe([])) == []


def test_an_engine_without_a_model_raises_on_requests(engines: Callable[[str], Engine]) -> None:
    with pytest.raises(EngineError) as caught:
        engines("imported").describe(make_requests(2))
    assert "2 descriptions by 'gpt-4o' are missing" in str(caught.value)
    assert "mien describe import" in caught.value.hint


def test_every_request_has_a_reply_that_is_a_clean_text(engine: Engine) -> None:
    replies = list(engine.describe(make_requests(6)))
    assert len(replies) == 6
    for reply in replies:
        assert isinstance(reply, Reply)
        assert reply.text == reply.text.strip()
        assert reply.finish in get_args(Finish)


def test_the_same_requests_have_the_same_replies(engine: Engine) -> None:
    batch = make_requests(3)
    assert list(engine.describe(batch)) == list(engine.describe(batch))


def test_replies_differ_if_images_differ(engine: Engine) -> None:
    batch = [replace(request, prompt="How?") for request in make_requests(6)]
    replies = engine.describe(batch)
    assert len({reply.text for reply in replies if isinstance(reply, Reply)}) == 6


def test_the_subject_id_changes_nothing(engine: Engine) -> None:
    batch = make_requests(3)
    renamed = [replace(request, subject_id=f"other {request.subject_id}") for request in batch]
    assert list(engine.describe(renamed)) == list(engine.describe(batch))


def test_requests_stay_as_they_are(engine: Engine) -> None:
    batch = make_requests(3)
    before = [[image.tobytes() for image in request.images] for request in batch]
    engine.describe(batch)
    assert [[image.tobytes() for image in request.images] for request in batch] == before


@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(9)), size=st.integers(1, 9))
def test_a_batch_in_any_order_equals_its_requests_one_by_one(
    engine: Engine, order: list[int], size: int
) -> None:
    requests = make_requests(9)
    expected = _one_by_one(engine, requests)
    for start in range(0, 9, size):
        chosen = order[start : start + size]
        replies = engine.describe([requests[number] for number in chosen])
        assert list(replies) == [expected[number] for number in chosen]


def test_as_many_calls_as_it_allows_may_run_at_once(engine: Engine) -> None:
    assert engine.calls_at_once >= 1
    requests = make_requests(9)
    expected = _one_by_one(engine, requests)
    with ThreadPoolExecutor(engine.calls_at_once) as executor:
        calls = [executor.submit(engine.describe, [request]) for request in requests]
    assert [reply for call in calls for reply in call.result()] == expected


@pytest.mark.parametrize("name", _params(["fake", "vllm", "remote", "cluster", "ray", "recording"]))
def test_the_failure_of_an_item_is_returned_in_its_place(name: str, engines: Callable[[str], Engine]) -> None:
    first, last = make_requests(2)
    # One request that each of these engines refuses, in its own way.
    red = Image.new("RGB", (8, 8), (REFUSED, 0, 0))
    refused = Request(subject_id="refused", images=(red,), prompt=REFUSED_PROMPT)
    before, failure, after = engines(name).describe([first, refused, last])
    assert [before, after] == _one_by_one(engines(name), [first, last])
    assert isinstance(failure, EngineError)
    assert str(failure)
    assert not failure.retryable


_EXPECTED: dict[tuple[int, int], list[Reply | EngineError]] = {}


def _one_by_one(engine: Engine, requests: list[Request]) -> list[Reply | EngineError]:
    key = (id(engine), len(requests))
    if key not in _EXPECTED:
        _EXPECTED[key] = [engine.describe([request])[0] for request in requests]
    return _EXPECTED[key]
