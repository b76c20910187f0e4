"""What goes to a server, and what its answers mean."""

import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from mien.describe.engine import Reply, Request
from mien.describe.remote.protocol import Encoding, Exchange, ExchangeError, is_same_model

KEY = "sk-very-secret"


def exchange(**changes: Any) -> Exchange:
    options: dict[str, Any] = {
        "model": "llava-7b",
        "decoding": {"temperature": 0, "max_tokens": 9},
        "encoding": Encoding(),
        "max_new_tokens": 9,
        "key": KEY,
    }
    return Exchange(**{**options, **changes})


def noise(size: tuple[int, int] = (20, 12)) -> Image.Image:
    pixels = np.random.default_rng(5).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def sent(encoding: Encoding, *images: Image.Image) -> dict[str, Any]:
    request = Request(subject_id="s", images=images, prompt="How?")
    body: dict[str, Any] = json.loads(exchange(encoding=encoding).body(request))
    return body


def opened(part: dict[str, Any]) -> Image.Image:
    head, _, data = part["image_url"]["url"].partition(",")
    picture = Image.open(io.BytesIO(base64.b64decode(data)))
    assert head == f"data:image/{(picture.format or '').lower()};base64"
    return picture


def answer(content: Any = "Calm.", **changes: Any) -> bytes:
    choice = {"message": {"content": content}, "finish_reason": "stop"} | changes.pop("choice", {})
    return json.dumps({"model": "llava-7b", "choices": [choice], **changes}).encode()


def trouble(status: int, content: bytes, **request_options: Any) -> ExchangeError:
    with pytest.raises(ExchangeError) as caught:
        exchange().reply(status, content, **request_options)
    return caught.value


def test_png_arrives_pixel_for_pixel() -> None:
    first, second = noise(), noise((8, 8))
    body = sent(Encoding(), first, second)
    *pictures, question = body["messages"][0]["content"]
    assert [np.asarray(opened(part)).tolist() for part in pictures] == [
        np.asarray(image).tolist() for image in (first, second)
    ]
    assert question == {"type": "text", "text": "How?"}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("llava-7b", 0, 9)
    assert body["stream"] is False


def test_jpeg_keeps_a_red_line_red() -> None:
    image = Image.new("RGB", (32, 32), "white")
    image.paste((255, 0, 0), (15, 0, 16, 32))
    [part, _] = sent(Encoding(format="jpeg"), image)["messages"][0]["content"]
    red, green, blue = np.asarray(opened(part))[16, 15].astype(int)
    assert red > 230
    assert max(green, blue) < 40


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_any_mode(mode: str) -> None:
    [part, _] = sent(Encoding(format="jpeg"), noise().convert(mode))["messages"][0]["content"]
    assert opened(part).mode == "RGB"


def test_a_picture_that_has_no_jpeg() -> None:
    with pytest.raises(ExchangeError, match="cannot be sent") as caught:
        sent(Encoding(format="jpeg"), Image.new("RGB", (70_000, 1)))
    assert caught.value.kind == "item"


# --- Answers -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reply"),
    [
        (answer(" Calm. \n"), Reply(text="Calm.")),
        (answer([{"type": "text", "text": "Calm"}, {"text": "."}]), Reply(text="Calm.")),
        (answer(None), Reply(text="")),
        (answer(model=None), Reply(text="Calm.")),
        (answer(unknown={"a": [1]}), Reply(text="Calm.")),
    ],
)
def test_what_answers_mean(content: bytes, reply: Reply) -> None:
    assert exchange().reply(200, content) == reply


@pytest.mark.parametrize(
    ("reason", "num_tokens", "finish"),
    [
        *(("stop", 9, "stop"), ("eos", 9, "stop"), ("length", 3, "length"), ("max_tokens", 3, "length")),
        *((None, 9, "length"), (None, 8, "stop"), ("", 9, "length")),
    ],
)
def test_why_an_answer_ended(reason: str | None, num_tokens: int, finish: str) -> None:
    content = answer(choice={"finish_reason": reason}, usage={"completion_tokens": num_tokens})
    assert exchange().reply(200, content).finish == finish


def test_without_reason_and_count_it_ended_by_itself() -> None:
    assert exchange().reply(200, answer(choice={"finish_reason": None})).finish == "stop"


@pytest.mark.parametrize(
    ("content", "kind", "said"),
    [
        (b"", "server", "no chat completion"),
        (b"<html>Bad gateway</html>", "server", "Bad gateway"),
        (answer()[:-5], "server", "no chat completion"),
        (b"[]", "server", "no chat completion"),
        (json.dumps({"choices": []}).encode(), "server", "choices"),
        (json.dumps({"error": {"message": "no room"}}).encode(), "server", "no room"),
        (b"[" * 100_000, "server", "no chat completion"),
        (answer(model="llava-13b"), "server", "'llava-13b' answered instead of 'llava-7b'"),
        (answer(choice={"finish_reason": "abort"}), "server", "abort"),
        (answer(choice={"finish_reason": "content_filter"}), "item", "withheld.*content_filter"),
        (answer(choice={"message": {"refusal": "I cannot."}}), "item", "withheld.*I cannot."),
    ],
)
def test_what_is_no_answer(content: bytes, kind: str, said: str) -> None:
    with pytest.raises(ExchangeError, match=said) as caught:
        exchange().reply(200, content)
    assert caught.value.kind == kind


@given(content=st.binary() | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(json.dumps))
def test_anything_is_a_reply_or_trouble(content: bytes | str) -> None:
    data = content if isinstance(content, bytes) else content.encode()
    for status in (200, 400, 500):
        assert trouble(status, data).kind in ("server", "item")


@pytest.mark.parametrize(
    ("statuses", "kind"),
    [
        ((400, 413, 415, 422, 451), "item"),
        ((408, 409, 425, 500, 502, 504, 599), "server"),
        ((429, 503, 529), "busy"),
        ((301, 307, 401, 402, 403, 404, 405), "shut"),
    ],
)
def test_statuses(statuses: tuple[int, ...], kind: str) -> None:
    assert {trouble(status, b"no").kind for status in statuses} == {kind}


def test_forbidden_is_about_the_picture_once_it_was_answered() -> None:
    assert trouble(403, b"flagged", admitted=True).kind == "item"


def test_a_wish_to_be_asked_later_is_kept() -> None:
    assert trouble(429, b"", retry_after="7").retry_after == "7"


@pytest.mark.parametrize(
    "body", [{"error": {"message": "too wide"}}, {"error": "too wide"}, {"detail": "too wide"}, "too wide"]
)
def test_the_reason_is_found_wherever_servers_put_it(body: object) -> None:
    assert str(trouble(400, json.dumps(body).encode())) == "status 400: too wide"


def test_a_page_of_reasons_is_one_short_line() -> None:
    said = str(trouble(500, b"<p>\n\n" * 100_000))
    assert len(said) < 300
    assert "\n" not in said


@pytest.mark.parametrize("length", [0, 150, 195, 400])
def test_a_server_that_tells_the_key_is_not_quoted(length: int) -> None:
    for content in (f"{'x' * length}{KEY}!", json.dumps({"error": {"message": f"{'x' * length} {KEY}"}})):
        said = str(trouble(401, content.encode()))
        assert KEY[:4] not in said
    assert KEY not in str(trouble(200, answer(choice={"finish_reason": KEY})))
    assert KEY not in str(trouble(200, answer(model=KEY)))


# --- Names ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "told"),
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
def test_names_of_one_model(asked: str, told: str) -> None:
    assert is_same_model(asked, told)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("llava-7b", "llava-13b"),
        ("llava:7b", "llava:13b"),
        ("gpt-4o", "gpt-4o-mini"),
        ("gpt-4o", "gpt-4"),
        ("llava", "gpt-3.5-turbo"),
    ],
)
def test_names_of_two_models(asked: str, told: str) -> None:
    assert not is_same_model(asked, told)
    assert is_same_model(asked, told, aliases=(told,))
