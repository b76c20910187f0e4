"""What real servers were reported to answer, each through `mien describe`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.factories.odd_server import TEXT, OddHandler, answering, completion, describe_people, odd_server

Capture = pytest.CaptureFixture[str]
Logs = pytest.LogCaptureFixture


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("MIEN_API_KEY", "OPENAI_API_KEY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


def described(value: object, *options: str) -> tuple[int, list[str], list[str]]:
    """What becomes of two people for whom a server always answers the same."""
    with odd_server(answering(value)) as server:
        return describe_people(server.url, *options)


# --- Reasoning ---


@pytest.mark.parametrize(
    "text",
    [
        f"<think>\nShe looks sad, or angry.\n</think>\n\n{TEXT}",
        f"She looks sad, or angry.\n</think>\n\n{TEXT}",
        f"<thinking>She looks sad.</thinking>{TEXT}",
        f"<reasoning>She looks sad.</reasoning>\n<answer>{TEXT}</answer>",
        f"[THINK]She looks sad.[/THINK]{TEXT}",
        f"<|channel|>analysis<|message|>Sad.<|end|><|start|>assistant<|channel|>final<|message|>{TEXT}",
        f"{TEXT}\n<think>Should I say more?</think>",
    ],
)
def test_thinking(text: str) -> None:
    assert described(completion(text)) == (0, [TEXT, TEXT], [])


@pytest.mark.parametrize("text", ["<think>\nShe looks", "[THINK]She", "<|channel|>analysis<|message|>She"])
def test_thinking_that_is_cut_off(text: str, capsys: Capture) -> None:
    code, texts, errors = described(completion(text, finish="length"))
    assert (code, texts) == (3, [])
    assert "within its reasoning" in errors[0]
    assert "describe.max_new_tokens" in errors[0]
    assert "describe.options.thinking = false" in errors[0]
    assert "describe.options.thinking = false" in capsys.readouterr().err


def test_thinking_can_be_turned_off() -> None:
    with odd_server(answering(completion())) as server:
        describe_people(server.url, "describe.options.thinking=false")
    assert server.bodies[0]["chat_template_kwargs"]["enable_thinking"] is False


@pytest.mark.parametrize("content", ["", None, [], [{"type": "thinking", "thinking": "She looks sad..."}]])
@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_only(content: object, field: str) -> None:
    message = {field: "She looks sad..."}
    code, texts, [error, _] = described(completion(content, finish="length", message=message))
    assert (code, texts) == (3, [])
    assert f"only reasoning ({field})" in error
    assert "describe.max_new_tokens" in error
    assert "describe.options.thinking = false" in error


# --- Odd fields ---


_CHANGES: list[dict[str, Any]] = [
    {"usage": dict.fromkeys(("prompt_tokens", "completion_tokens", "total_tokens"))},
    {"usage": None},
    {"usage": []},
    {"usage": "12"},
    {"usage": {"completion_tokens": 12.5}},
    {"usage": {"tokens": "many"}},
    {"usage": {"completion_tokens": "12", "prompt_tokens_details": {"cached_tokens": None}}},
    *({name: None} for name in ("id", "object", "created", "system_fingerprint", "error", "model")),
    {"created": 1.5, "id": 7, "service_tier": {}, "x_groq": [None]},
    {"message": {"refusal": None, "tool_calls": None, "annotations": [], "audio": None}},
    {"choice": {"logprobs": None, "index": None, "stop_reason": 2, "content_filter_results": {}}},
]


@pytest.mark.parametrize("changes", _CHANGES)
def test_usage_null(changes: dict[str, Any]) -> None:
    assert described(completion(**changes)) == (0, [TEXT, TEXT], [])


@pytest.mark.parametrize(
    "finish",
    [
        *("STOP", "Stop", " stop ", "eos", "EOS_TOKEN", "end_turn", "stop_sequence", "FINISH_REASON_STOP"),
        *("eos_token", "COMPLETE", "completed", "finished", "", None, {"type": "stop"}),
    ],
)
def test_finish_upper_case(finish: object) -> None:
    assert described(completion(finish=finish)) == (0, [TEXT, TEXT], [])


# --- Errors with status 200 ---

_ERROR = {"message": "Provider returned error", "code": 502}


@pytest.mark.parametrize(
    "value",
    [
        {"error": _ERROR},
        [{"error": _ERROR}],
        {"error": {**_ERROR, "code": "502"}},
        {"object": "error", **_ERROR},
        completion("", finish="error", choice={"error": _ERROR}),
        completion(None, finish=None, choice={"error": _ERROR}),
    ],
)
def test_error_with_200_is_retried_if_it_says_so(value: object, caplog: Logs) -> None:
    seen: list[str] = []

    def react(handler: OddHandler, body: dict[str, Any]) -> None:
        seen.append(str(body))
        handler.answer(200, value if seen.count(str(body)) == 1 else completion())

    with odd_server(react) as server:
        assert describe_people(server.url) == (0, [TEXT, TEXT], [])
    assert len(seen) == 4
    assert "Provider returned error" in caplog.text


@pytest.mark.parametrize(
    "place", [lambda error: {"error": error}, lambda error: completion("", choice={"error": error})]
)
def test_error_with_200_that_concerns_the_item(place: Callable[[object], object]) -> None:
    error = {"message": "The image is too odd", "code": 400}
    with odd_server(answering(place(error))) as server:
        code, texts, errors = describe_people(server.url, "run.batch_size=1", count=2)
    assert (code, texts) == (3, [])
    assert all("The image is too odd" in error for error in errors)
    assert len(server.bodies) == 2


# --- Fields that servers refuse ---


def refusing(field: str, message: str) -> Callable[[OddHandler, dict[str, Any]], None]:
    def react(handler: OddHandler, body: dict[str, Any]) -> None:
        if field not in body:
            handler.answer(200, completion())
        else:
            error = {"message": message, "type": "invalid_request_error", "param": field}
            handler.answer(400, {"error": error})

    return react


@pytest.mark.parametrize(
    ("field", "message", "hint", "option"),
    [
        (
            "temperature",
            "Unsupported value: 'temperature' does not support 0 with this model.",
            'describe.options.omit = ["temperature"]',
            "describe.options.omit=['temperature']",
        ),
        (
            "seed",
            "Unknown name: seed",
            'describe.options.omit = ["seed"]',
            "describe.options.rename={seed='random_seed'}",
        ),
        (
            "max_tokens",
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
            'describe.options.limit = "max_completion_tokens"',
            "describe.options.limit=max_completion_tokens",
        ),
        (
            "stream",
            "Extra inputs are not permitted: stream",
            'describe.options.omit = ["stream"]',
            "describe.options.omit=['stream']",
        ),
    ],
)
def test_no_temperature(field: str, message: str, hint: str, option: str, capsys: Capture) -> None:
    with odd_server(refusing(field, message)) as server:
        code, texts, errors = describe_people(server.url)
        assert (code, texts, errors) == (6, [], [])
        assert hint in capsys.readouterr().err
        assert describe_people(server.url, option) == (0, [TEXT, TEXT], [])
    if "rename" in option:
        assert server.bodies[-1]["random_seed"] == 0


def test_no_top_p(capsys: Capture) -> None:
    extra = "describe.options.extra={top_p=1.0}"
    with odd_server(refusing("top_p", "top_p is not allowed")) as server:
        assert describe_people(server.url, extra)[0] == 6
        assert "remove top_p from describe.options.extra" in capsys.readouterr().err
        assert describe_people(server.url, extra, "describe.options.omit=['top_p']")[0] == 0
