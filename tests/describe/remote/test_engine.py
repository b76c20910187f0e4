"""The remote engine on a working server: bodies, order, concurrency, signature and options."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.factories.chat_server import MODEL, ChatServer, answer_to, chat_server
from tests.factories.fault_proxy import fault_proxy, unused_address, wait_until

from mien.describe.engine import Reply, Request
from mien.describe.open import open_engine
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.describe.retry import Backoff
from mien.digests import canonical_json
from mien.errors import ConfigError, EngineError
from mien.recipe import DescribeOptions, RunOptions

FAST = Backoff(base=0.001, cap=0.01, max_retry_after=0.02)


def remote(*urls: str, options: RemoteOptions | None = None, **run: Any) -> RemoteEngine:
    settings = {"endpoints": urls, "timeout": 30.0, **run}
    return RemoteEngine(MODEL, options, run=RunOptions(**settings), backoff=FAST)


def requests(count: int, *, start: int = 0) -> list[Request]:
    rng = np.random.default_rng(start)
    images = (Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8)) for _ in range(count))
    return [
        Request(subject_id=f"s{number}", images=(image,), prompt=f"How? {number % 3}")
        for number, image in enumerate(images, start)
    ]


def expected(batch: list[Request]) -> list[Reply]:
    return [Reply(text=answer_to(request)) for request in batch]


def test_replies_come_in_order(server: ChatServer) -> None:
    batch = requests(20)
    assert remote(server.url, concurrency=5).describe(batch) == expected(batch)
    assert len(server.bodies) == 20


def test_one_request_may_have_several_images(server: ChatServer) -> None:
    first, second, third = requests(3)
    batch = [Request(subject_id="s", images=(*first.images, *second.images), prompt="Both?"), third]
    assert remote(server.url).describe(batch) == expected(batch)


def test_a_recipe_opens_it(server: ChatServer) -> None:
    options: dict[str, Any] = {"image_format": "jpeg", "image_size": 48, "seed": 3, "extra": {"top_k": 1}}
    described = DescribeOptions(engine="remote", model=MODEL, max_new_tokens=7, options=options)
    engine = open_engine(described, RunOptions(endpoints=(f"{server.url}/",)))
    assert engine.image_size == 48
    assert isinstance(engine.describe(requests(1))[0], Reply)
    [body] = server.bodies
    [image, _] = body.pop("messages")[0]["content"]
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    assert body.pop("model") == MODEL
    assert body == {"temperature": 0, "seed": 3, "max_tokens": 7, "top_k": 1, "stream": False}


def test_the_token_limit_takes_the_name_that_the_server_knows(server: ChatServer) -> None:
    remote(server.url, options=RemoteOptions(limit="max_completion_tokens")).describe(requests(1))
    assert server.bodies[0]["max_completion_tokens"] == 160
    assert "max_tokens" not in server.bodies[0]


def test_requests_run_in_parallel_up_to_the_limit() -> None:
    with chat_server(delay=0.02) as server, fault_proxy(server.url) as proxy:
        batch = requests(24)
        assert remote(proxy.url, concurrency=4).describe(batch) == expected(batch)
        assert proxy.most_in_flight == 4


def test_threads_share_the_limit() -> None:
    with chat_server(delay=0.01) as server, fault_proxy(server.url) as proxy:
        engine = remote(proxy.url, concurrency=3)
        groups = [requests(8, start=10 * number) for number in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(engine.describe, groups)) == [expected(group) for group in groups]
        assert proxy.most_in_flight == 3


def test_two_servers_share_the_load() -> None:
    with (
        chat_server(delay=0.01) as server,
        fault_proxy(server.url) as first,
        fault_proxy(server.url) as second,
    ):
        batch = requests(40)
        assert remote(first.url, second.url, concurrency=6).describe(batch) == expected(batch)
        counts = [first.num_requests.total(), second.num_requests.total()]
        assert sum(counts) == 40
        assert min(counts) > 8
        assert first.most_in_flight + second.most_in_flight <= 6


@pytest.mark.parametrize("retries", [0, 3])
def test_a_dead_server_next_to_a_working_one_costs_nothing(
    server: ChatServer, retries: int, caplog: pytest.LogCaptureFixture
) -> None:
    batch = requests(12)
    engine = remote(unused_address(), server.url, retries=retries, concurrency=4)
    for start in range(0, 12, 3):
        assert engine.describe(batch[start : start + 3]) == expected(batch[start : start + 3])
    assert len(server.bodies) == 12


def test_the_engine_recovers_once_a_server_is_reachable(server: ChatServer) -> None:
    url = unused_address()
    engine, batch = remote(url, retries=2), requests(3)
    with pytest.raises(EngineError, match="cannot be reached") as caught:
        engine.describe(batch)
    assert caught.value.retryable
    assert caught.value.hint
    with chat_server(port=int(url.split(":")[2].split("/")[0])):

        def comes_back() -> bool:
            try:
                return list(engine.describe(batch)) == expected(batch)
            except EngineError:
                return False

        wait_until(comes_back)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """A process started in the background of a shell ignores interrupts, and so does Python in it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_call_cancels_its_requests() -> None:
    with chat_server() as server, fault_proxy(server.url, lambda item, before: "hang") as proxy:
        engine = remote(proxy.url)

        def interrupt() -> None:
            wait_until(lambda: proxy.num_requests.total() == 3)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        thread = threading.Thread(target=interrupt)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            engine.describe(requests(3))
        thread.join()
        wait_until(lambda: proxy.num_hanging == 0)


# --- Signature and options ---


def signature_of(options: RemoteOptions | None = None, model: str = MODEL, **run: Any) -> str:
    engine = RemoteEngine(model, options, run=RunOptions(**run))
    return canonical_json(dict(engine.signature))


@pytest.mark.parametrize(
    "options",
    [
        RemoteOptions(image_format="jpeg"),
        RemoteOptions(image_format="jpeg", jpeg_quality=80),
        RemoteOptions(seed=1),
        RemoteOptions(extra={"top_k": 1}),
        RemoteOptions(revision="2024-05"),
    ],
)
def test_what_changes_the_text_changes_the_signature(options: RemoteOptions) -> None:
    assert signature_of(options) != signature_of()
    assert signature_of(model="other") != signature_of()


def test_what_changes_only_speed_or_place_does_not() -> None:
    run: dict[str, Any] = {"endpoints": ("http://other/v1",), "concurrency": 2, "timeout": 9.0, "retries": 1}
    assert signature_of(**run) == signature_of()
    assert signature_of(RemoteOptions(jpeg_quality=10)) == signature_of()  # of a image that travels as PNG


def test_opening_it_and_its_signature_load_no_client() -> None:
    code = (
        "import sys; from mien.describe.remote.engine import RemoteEngine;"
        "from mien.recipe import RunOptions;"
        "RemoteEngine('m', run=RunOptions()).signature;"
        "sys.exit(any(name in sys.modules for name in ('httpx2', 'openai', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("concurrency", "batch_size", "calls"), [(16, 8, 3), (1, 8, 2), (64, 5, 14)])
def test_calls_at_once_keep_the_servers_busy(concurrency: int, batch_size: int, calls: int) -> None:
    assert remote("http://a/v1", concurrency=concurrency, batch_size=batch_size).calls_at_once == calls


def test_without_a_server_the_error_names_the_option() -> None:
    engine = remote()  # opening needs no server, because looking up descriptions needs none
    with pytest.raises(ConfigError, match=r"run\.endpoints"):
        engine.describe(requests(1))


@pytest.mark.parametrize("key", ["model", "messages", "stream", "temperature", "max_tokens", "n"])
def test_extra_fields_may_not_replace_those_of_the_engine(key: str) -> None:
    with pytest.raises(ConfigError, match=f"may not set '{key}'"):
        remote("http://localhost/v1", options=RemoteOptions(extra={key: 1}))


@pytest.mark.parametrize(
    "url", ["localhost:8000", "ftp://localhost/v1", "http://", "", "http://[::1/v1", "http://host:port/v1"]
)
def test_an_invalid_address_is_an_error(url: str) -> None:
    with pytest.raises(ConfigError, match="is not an address") as caught:
        remote(url)
    assert "http://localhost:8000/v1" in caught.value.hint
