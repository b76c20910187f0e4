"""No part of an API key comes back from a server into a description or a message."""

import base64

import pytest

from mien.describe.remote.api_key import ApiKey, read_api_key
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
