"""vLLM's server: two of them, one that is killed, one that comes back, and what zero-shot needs."""

import json
from pathlib import Path
from typing import Any
from urllib.request import Request as WebRequest

import pytest
import torch
from tests.factories.fault_proxy import open_direct
from tests.factories.real_vllm import COUNT, HOW, MAX_TOKENS, VllmServer, texts_of

from mien.describe.engine import Reply, Request
from mien.describe.generate import describe
from mien.describe.local.engine import LocalEngine
from mien.describe.remote.engine import RemoteEngine, RemoteOptions
from mien.describe.requests import RequestBuilder
from mien.describe.retry import Backoff
from mien.describe.store.store import Store
from mien.errors import EngineError
from mien.recipe import RunOptions
from mien.types import Subject


def open_remote(*servers: VllmServer, max_new_tokens: int = MAX_TOKENS) -> RemoteEngine:
    return RemoteEngine(
        VllmServer.model,
        RemoteOptions(image_size=144),
        run=RunOptions(endpoints=tuple(server.url for server in servers), concurrency=16),
        max_new_tokens=max_new_tokens,
        backoff=Backoff(base=0.05, cap=0.5),
    )


def test_two_servers_share_the_work_and_write_what_this_process_writes(
    servers: list[VllmServer], requests: list[Request], texts: list[str]
) -> None:
    before = [server.num_answered() for server in servers]
    assert texts_of(open_remote(*servers), requests) == texts
    answered = [server.num_answered() - count for server, count in zip(servers, before, strict=True)]
    assert min(answered) > COUNT / 5
    assert sum(answered) == COUNT


def test_a_prompt_that_is_too_long_fails_alone_with_the_reason(
    servers: list[VllmServer], requests: list[Request], texts: list[str]
) -> None:
    long = Request(subject_id="long", images=requests[0].images, prompt="How do they feel? " * 200)
    first, failed, last = open_remote(servers[0]).describe([requests[0], long, requests[1]])
    assert [getattr(reply, "text", None) for reply in (first, last)] == texts[:2]
    assert isinstance(failed, EngineError)
    assert "maximum" in str(failed)
    assert not failed.retryable


def test_the_probabilities_of_first_words_are_those_of_this_process(
    servers: list[VllmServer], requests: list[Request]
) -> None:
    # Zero-shot classification compares the probabilities of label words.
    [message], image = _messages(requests[0]), requests[0]
    answer = _post(
        servers[0],
        {"messages": [message], "max_tokens": 1, "temperature": 0, "logprobs": True, "top_logprobs": 20},
    )
    found = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
    expected = _first_log_probabilities(image)
    assert len(found) == 20
    for entry, (token, value) in zip(found, expected, strict=True):
        assert entry["token"] == token
        assert entry["logprob"] == pytest.approx(value, abs=2e-3)


def test_a_killed_server_costs_nothing_but_time(
    servers: list[VllmServer], people: list[Subject], texts: list[str], tmp_path: Path
) -> None:
    def kill_the_second(progress: Any) -> None:
        if progress.done >= 60:
            servers[1].kill()

    with Store(tmp_path / "store.sqlite") as store:
        builder = RequestBuilder(engine=open_remote(*servers), **HOW)
        describe(people, builder, store, batch_size=30, on_progress=kill_the_second)
        assert store.failures() == []
        assert _texts(store, people) == texts


def test_a_run_goes_on_where_it_was_when_its_server_is_back(
    servers: list[VllmServer], people: list[Subject], texts: list[str], tmp_path: Path
) -> None:
    server, wanted = servers[0], people[:150]

    def kill(progress: Any) -> None:
        if progress.done >= 60:
            server.kill()

    with Store(tmp_path / "store.sqlite") as store, pytest.raises(EngineError):
        describe(wanted, RequestBuilder(engine=open_remote(server), **HOW), store, on_progress=kill)
    server.start()
    server.wait()
    with Store(tmp_path / "store.sqlite") as store:
        assert store.failures() == []
        before = sum(1 for _ in store)
        assert 60 <= before < len(wanted)
        summary = describe(wanted, RequestBuilder(engine=open_remote(server), **HOW), store)
        assert summary.done == len(wanted) - before
        assert _texts(store, wanted) == texts[: len(wanted)]


# --- Parts ---


def _texts(store: Store, people: list[Subject]) -> list[str]:
    found = {description.subject_id: description.text for description in store}
    return [found[person.id] for person in people]


def _messages(request: Request) -> list[dict[str, Any]]:
    from base64 import b64encode
    from io import BytesIO

    buffer = BytesIO()
    request.images[0].save(buffer, "PNG")
    url = f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": request.prompt}]
    return [{"role": "user", "content": content}]


def _post(server: VllmServer, body: dict[str, Any]) -> dict[str, Any]:
    data = json.dumps({"model": server.model, **body}).encode()
    headers = {"Content-Type": "application/json"}
    request = WebRequest(f"{server.url}/chat/completions", data, headers)  # noqa: S310  # to this machine
    with open_direct(request) as response:
        answer: dict[str, Any] = json.load(response)
    return answer


def _first_log_probabilities(request: Request) -> list[tuple[str, float]]:
    """The 20 likeliest first tokens of this process's model."""
    model = LocalEngine("playhouse")._model
    inputs = model.prepare([model.prompt_text(request)], [request])
    with torch.inference_mode():
        logits = model.module(**inputs).logits[0, -1]
    values, tokens = logits.log_softmax(-1).topk(20)
    return [
        (model.processor.tokenizer.decode([token]), value)
        for token, value in zip(tokens.tolist(), values.tolist(), strict=True)
    ]


def test_replies_are_complete(servers: list[VllmServer], requests: list[Request]) -> None:
    whole, cut = (open_remote(servers[0], max_new_tokens=limit).describe(requests[:3]) for limit in (120, 5))
    assert {reply.finish for reply in whole if isinstance(reply, Reply)} == {"stop"}
    assert {reply.finish for reply in cut if isinstance(reply, Reply)} == {"length"}
