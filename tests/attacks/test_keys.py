"""No part of an API key comes back from a server into a description or a message."""

import base64
import logging
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest
from tests.factories.odd_server import OddHandler, answering, completion, describe_people, odd_server

from mien.cli import main
from mien.describe.remote import engine
from mien.describe.remote.api_key import ApiKey, read_api_key
from mien.describe.retry import Backoff
from mien.errors import EngineError

KEY = "sk-Ab3dE9xY-0123456789zZ"


@pytest.mark.parametrize(
    "echo",
    [
        *(KEY, KEY.lower(), KEY[4:12], KEY[2:11].upper(), " ".join(KEY), "-".join(KEY), KEY[::-1]),
        "".join(f"%{ord(one):02X}" for one in KEY),
        "".join(f"\\u{ord(one):04x}" for one in KEY),
        "".join(f"&#{ord(one)};" for one in KEY),
        *(base64.b64encode(f"{start}{KEY}".encode()).decode() for start in ("", "x", "xy")),
        KEY.encode().hex(),
    ],
)
def test_parts_of_a_key_are_found_and_hidden(echo: str) -> None:
    key = ApiKey(KEY)
    assert key.is_in(f"She is calm {echo} and alone.")
    assert not key.is_in(key.redact(f"She is calm {echo} and alone."))
    assert KEY not in repr(key)


def test_an_ordinary_text_holds_no_part() -> None:
    text = "The person appears calm and alone."
    assert ApiKey(KEY).redact(text) == text
    assert not ApiKey("sk-no-key-required").is_in("No key is required.")


@pytest.mark.parametrize(
    "value", [f"'{KEY}'", f"Bearer {KEY}", f"{KEY[:9]} {KEY[9:]}", f"{KEY}\n{KEY}", f"{KEY}\u00e9"]
)
def test_a_key_that_cannot_be_one_is_refused_and_not_shown(
    value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_API_KEY", value)
    with pytest.raises(EngineError, match="MIEN_API_KEY") as caught:
        read_api_key()
    assert KEY[:8] not in f"{caught.value} {caught.value.hint}"


# --- Through `mien describe` ---


# What a server answers that has made a text of the header.
ECHOES: Mapping[str, Callable[[str], tuple[int, object, dict[str, str]]]] = {
    "text": lambda text: (200, completion(f"She says {text} and smiles."), {}),
    "model": lambda text: (200, completion(model=text), {}),
    "finish reason": lambda text: (200, completion(finish=text), {}),
    "refusal": lambda text: (200, completion("", message={"refusal": text}), {}),
    "error": lambda text: (500, {"error": {"message": text}}, {}),
    "error with 200": lambda text: (200, {"error": {"message": text, "code": 400}}, {}),
    "error code": lambda text: (400, {"error": {"message": "no", "code": text, "type": text}}, {}),
    "field": lambda text: (400, {"detail": [{"loc": ["body", text], "msg": text}]}, {}),
    "page": lambda text: (200, f"<html><title>{text}</title>{text}</html>".encode(), {}),
    "binary": lambda text: (200, b"\x00\xff" + text.encode(), {}),
    "redirect": lambda text: (302, b"", {"Location": f"http://127.0.0.1/?key={quote(text)}"}),
    "pause": lambda text: (429, {"error": {"message": text}}, {"Retry-After": "99999999"}),
}
FORMS: Mapping[str, Callable[[str], str]] = {
    "whole": str,
    "cut": lambda header: header[11:19],
    "upper case": str.upper,
    "URL-encoded": lambda header: "".join(f"%{ord(one):02x}" for one in header),
    "Base64": lambda header: base64.b64encode(header.encode()).decode(),
    "spaced": " ".join,
}


@pytest.mark.parametrize(
    ("place", "form"),
    [
        *((place, "whole") for place in ECHOES),
        *((place, form) for place in ("text", "error") for form in FORMS),
    ],
)
def test_an_echoed_key_reaches_nothing(
    place: str,
    form: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_API_KEY", KEY)
    monkeypatch.setattr(engine, "Backoff", partial(Backoff, base=0.001, cap=0.01))

    def react(handler: OddHandler, body: object) -> None:
        status, value, headers = ECHOES[place](FORMS[form](handler.headers["Authorization"]))
        handler.answer(status, value, headers)

    records: list[str] = []
    log = logging.Handler(logging.DEBUG)
    log.emit = lambda record: records.append(record.getMessage())  # type: ignore[method-assign]
    monkeypatch.setattr(logging.getLogger("mien"), "handlers", [log])
    monkeypatch.setattr(logging.getLogger("mien"), "level", logging.DEBUG)
    with odd_server(react) as server:
        code, texts, _ = describe_people(server.url, "run.retries=0")
    assert code in (3, 6)
    assert texts == []
    assert main(["describe", "export", "store.sqlite", "--out", "export.jsonl"]) == 0
    captured = capsys.readouterr()
    written = [file.read_bytes().decode(errors="replace") for file in tmp_path.rglob("*") if file.is_file()]
    for text in (captured.out, captured.err, *records, *written):
        assert not ApiKey(KEY).is_in(text)
        assert not [start for start in range(len(KEY) - 7) if KEY[start : start + 8].lower() in text.lower()]


@pytest.mark.parametrize(
    "value", [f"{KEY[:9]} {KEY[9:]}", f"{KEY}\nx", f"'{KEY}'", f"Bearer {KEY}", f"{KEY}\u00e9"]
)
def test_a_key_that_was_copied_badly_is_not_shown(
    value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MIEN_API_KEY", value)
    with odd_server(answering(completion())) as server:
        code, texts, _ = describe_people(server.url)
    assert (code, texts, server.bodies) == (6, [], [])
    captured = capsys.readouterr()
    assert "MIEN_API_KEY" in captured.err
    assert not ApiKey(KEY).is_in(captured.out + captured.err)


def test_a_proxy_is_named_without_its_password(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with odd_server(answering(completion())) as proxy:
        address = proxy.url.removeprefix("http://").removesuffix("/v1")
        monkeypatch.setenv("http_proxy", f"http://user:s3cretpassword@{address}")
        monkeypatch.setenv("no_proxy", "")
        assert describe_people("http://vlm.invalid:8000/v1")[0] == 0
        assert len(proxy.bodies) == 2
        assert f"vlm.invalid:8000 is reached through the proxy http://{address} (http_proxy)" in caplog.text
        assert "s3cret" not in caplog.text
        with odd_server(answering(completion())) as server:
            Path("store.sqlite").unlink()
            assert describe_people(server.url, "run.use_proxies=false")[0] == 0
        assert len(proxy.bodies) == 2
