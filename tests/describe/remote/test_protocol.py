"""Request bodies, and what responses mean."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.describe.engine import Reply, Request, TokenUsage
from mien.describe.remote.api_key import ApiKey
from mien.describe.remote.errors import ChatError
from mien.describe.remote.protocol import ChatProtocol, ImageEncoding, RequestFields, is_same_model

KEY = "sk-very-secret"
FIELDS = RequestFields(
    limit=("max_tokens", 9), decoding={"temperature": 0, "seed": 1}, extra={}, thinking={}, rename={}
)


def protocol(**changes: Any) -> ChatProtocol:
    options: dict[str, Any] = {
        "model": "llava-7b",
        "fields": FIELDS,
        "encoding": ImageEncoding(),
        "max_new_tokens": 9,
        "key": ApiKey(KEY),
    }
    return ChatProtocol(**{**options, **changes})


def noise(size: tuple[int, int] = (20, 12)) -> Image.Image:
    pixels = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def body_of(encoding: ImageEncoding, *images: Image.Image) -> dict[str, Any]:
    request = Request(subject_id="s", images=images, prompt="How?")
    body: dict[str, Any] = json.loads(protocol(encoding=encoding).body(request))
    return body


def decode(part: dict[str, Any]) -> Image.Image:
    head, _, data = part["image_url"]["url"].partition(",")
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{(image.format or '').lower()};base64"
    return image


def answer(content: Any = "Calm.", **changes: Any) -> bytes:
    choice = {"message": {"content": content}, "finish_reason": "stop"} | changes.pop("choice", {})
    return json.dumps({"model": "llava-7b", "choices": [choice], **changes}).encode()


def error_of(status: int, content: bytes, **options: Any) -> ChatError:
    with pytest.raises(ChatError) as caught:
        protocol().reply(status, content, **options)
    return caught.value


def test_png_arrives_unchanged() -> None:
    first, second = noise(), noise((8, 8))
    body = body_of(ImageEncoding(), first, second)
    *images, question = body["messages"][0]["content"]
    assert [np.asarray(decode(part)).tolist() for part in images] == [
        np.asarray(image).tolist() for image in (first, second)
    ]
    assert question == {"type": "text", "text": "How?"}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("llava-7b", 0, 9)
    assert body["stream"] is False


def test_jpeg_keeps_a_red_line_red() -> None:
    image = Image.new("RGB", (32, 32), "white")
    image.paste((255, 0, 0), (15, 0, 16, 32))
    [part, _] = body_of(ImageEncoding(format="jpeg"), image)["messages"][0]["content"]
    red, green, blue = np.asarray(decode(part))[16, 15].astype(int)
    assert red > 230
    assert max(green, blue) < 40


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_images_of_any_mode_are_sent(mode: str) -> None:
    [part, _] = body_of(ImageEncoding(format="jpeg"), noise().convert(mode))["messages"][0]["content"]
    assert decode(part).mode == "RGB"


def test_an_image_too_large_for_jpeg_is_an_error_of_the_item() -> None:
    with pytest.raises(ChatError, match="cannot be sent") as caught:
        body_of(ImageEncoding(format="jpeg"), Image.new("RGB", (70_000, 1)))
    assert caught.value.kind == "item"


# --- Responses ---


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (answer(" Calm. \n"), Reply(text="Calm.")),
        (answer([{"type": "text", "text": "Calm"}, {"text": "."}]), Reply(text="Calm.")),
        (answer(model=None), Reply(text="Calm.")),
        (answer(unknown={"a": [1]}), Reply(text="Calm.")),
    ],
)
def test_responses_become_replies(content: bytes, reply: Reply) -> None:
    assert protocol().reply(200, content) == reply


@pytest.mark.parametrize(
    ("reason", "num_tokens", "finish"),
    [
        *(("stop", 9, "stop"), ("eos", 9, "stop"), ("length", 3, "length"), ("max_tokens", 3, "length")),
        *((None, 9, "length"), (None, 8, "stop"), ("", 9, "length")),
    ],
)
def test_the_reason_why_a_text_ended(reason: str | None, num_tokens: int, finish: str) -> None:
    content = answer(choice={"finish_reason": reason}, usage={"completion_tokens": num_tokens})
    assert protocol().reply(200, content).finish == finish


@pytest.mark.parametrize(
    ("usage", "found"),
    [
        ({"prompt_tokens": 640, "completion_tokens": 52}, TokenUsage(prompt=640, completion=52)),
        ({"input_tokens": "640", "output_tokens": 52.0}, TokenUsage(prompt=640, completion=52)),
        *((usage, None) for usage in (None, 7, {}, {"prompt_tokens": 640}, {"completion_tokens": 52})),
        *(
            ({"prompt_tokens": count, "completion_tokens": 52}, None)
            for count in (-1, 1e300, float("nan"), float("inf"), True, "many", None)
        ),
    ],
)
def test_tokens_are_counted_where_the_server_says_them(usage: Any, found: TokenUsage | None) -> None:
    reply = protocol(max_new_tokens=90).reply(200, answer(usage=usage))
    assert reply == Reply(text="Calm.", usage=found)


def test_without_reason_and_count_a_text_counts_as_complete() -> None:
    assert protocol().reply(200, answer(choice={"finish_reason": None})).finish == "stop"


@pytest.mark.parametrize(
    ("content", "kind", "message"),
    [
        (b"", "server", "not a chat completion"),
        (b"<html>Bad gateway</html>", "server", "Bad gateway"),
        (answer()[:-5], "server", "not a chat completion"),
        (b"[]", "server", "not a chat completion"),
        (json.dumps({"choices": []}).encode(), "server", "choices"),
        (json.dumps({"error": {"message": "no room"}}).encode(), "item", "no room"),
        (json.dumps({"error": {"message": "no room", "code": 502}}).encode(), "server", "no room"),
        (json.dumps({"error": {"message": "slow down", "code": 429}}).encode(), "busy", "slow down"),
        (answer(choice={"error": {"message": "no room", "code": 502}}), "server", "no room"),
        (answer(None), "item", "the answer is empty"),
        (answer("\ufeff"), "item", "the answer is empty"),
        (answer(" \u200b\0 "), "item", "the answer is empty"),
        (b"data: {}\n\n", "server", "a stream of events"),
        (b"<html><title>Sign in</title>", "server", "a web page titled 'Sign in'"),
        (b"[" * 100_000, "server", "not a chat completion"),
        (b"[" * 800 + b"]" * 800, "server", "a list instead of a chat completion"),
        (b'{"error":' + b"[" * 800 + b"]" * 800 + b"}", "item", "the server reports an error"),
        (answer(model="llava-13b"), "server", "'llava-13b' answered instead of 'llava-7b'"),
        (answer(choice={"finish_reason": "abort"}), "server", "abort"),
        (answer(choice={"finish_reason": "content_filter"}), "item", "withheld.*content_filter"),
        (answer(choice={"message": {"refusal": "I cannot."}}), "item", "withheld.*I cannot."),
    ],
)
def test_invalid_responses_are_errors(content: bytes, kind: str, message: str) -> None:
    with pytest.raises(ChatError, match=message) as caught:
        protocol().reply(200, content)
    assert caught.value.kind == kind


@given(content=st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_any_response_gives_a_reply_or_an_error(content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    for status in (200, 400, 500):
        assert error_of(status, data).kind in ("server", "item")


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((400, 413, 415, 422, 451), "item"),
        ((408, 409, 425, 500, 502, 504, 599), "server"),
        ((429, 503, 529), "busy"),
        ((301, 307, 401, 402, 403, 404, 405), "rejected"),
    ],
)
def test_each_status_has_a_kind(statuses: tuple[int, ...], kind: str) -> None:
    assert {error_of(status, b"no").kind for status in statuses} == {kind}


def test_forbidden_is_about_the_image_if_the_server_has_described_before() -> None:
    assert error_of(403, b"flagged", has_access=True).kind == "item"


def test_the_retry_after_header_is_kept() -> None:
    assert error_of(429, b"", headers={"retry-after": "7"}).retry_after == "7"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "too wide"}}, {"error": "too wide"}, {"detail": "too wide"}, "too wide"]
)
def test_the_reason_is_found_wherever_servers_put_it(body: object) -> None:
    assert str(error_of(400, json.dumps(body).encode())) == "status 400: too wide"


def test_a_long_reason_becomes_one_short_line() -> None:
    message = str(error_of(500, b"<p>\n\n" * 100_000))
    assert len(message) < 300
    assert "\n" not in message


@pytest.mark.parametrize("length", [0, 150, 195, 400])
def test_a_key_in_a_response_is_not_quoted(length: int) -> None:
    for content in (f"{'x' * length}{KEY}!", json.dumps({"error": {"message": f"{'x' * length} {KEY}"}})):
        message = str(error_of(401, content.encode()))
        assert KEY[:4] not in message
    assert KEY not in str(error_of(200, answer(choice={"finish_reason": KEY})))
    assert KEY not in str(error_of(200, answer(model=KEY)))


# --- Model names ---


@pytest.mark.parametrize(
    ("requested", "reported"),
    [
        ("llava", "llava"),
        ("llava-hf/llava-1.5-7b-hf", "llava-1.5-7b-hf"),
        ("models/llava", "models/llava@main"),
        ("/models/llava/", "/models/llava@main"),
        ("llava", "llava:latest"),
        ("llava-7b", "C:\\models\\LLaVA-7b.gguf"),
        ("gpt-4o", "gpt-4o-2024-08-06"),
        ("gpt-4", "gpt-4-0613"),
    ],
)
def test_names_that_mean_the_same_model(requested: str, reported: str) -> None:
    assert is_same_model(requested, reported)


@pytest.mark.parametrize(
    ("requested", "reported"),
    [
        ("llava-7b", "llava-13b"),
        ("llava:7b", "llava:13b"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4"),
        ("llava", "gpt-3.5-turbo"),
    ],
)
def test_names_that_mean_different_models(requested: str, reported: str) -> None:
    assert not is_same_model(requested, reported)
    assert is_same_model(requested, reported, aliases=(reported,))


def test_a_text_that_is_too_long_for_a_description_is_an_error() -> None:
    error = error_of(200, answer("Calm. " * 50_000))
    assert error.kind == "item"
    assert "300000 characters" in str(error)
    assert "max_new_tokens" in error.hint


def test_only_the_beginning_of_a_servers_message_is_searched() -> None:
    # Some patterns take time that grows with the square of the length: minutes, for a message of this size.
    error = error_of(400, json.dumps({"error": {"message": "image " * 50_000}}).encode())
    assert len(str(error)) < 300
