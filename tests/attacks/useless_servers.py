"""Servers that answer every request, and never with a description."""

import gzip
import socket
import struct
from collections.abc import Mapping
from typing import Any, Final

from tests.factories.odd_server import OddHandler, React, answering, completion

_PAGE: Final = b"<!DOCTYPE html><html><head><title>Log in</title></head><body>\x1b[31mPlease</body></html>"


def _reset(handler: OddHandler, body: dict[str, Any]) -> None:
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True


def _close(handler: OddHandler, body: dict[str, Any]) -> None:
    handler.close_connection = True


def _drip(handler: OddHandler, body: dict[str, Any]) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.flush()
    _trickle(handler, b" ")


def _drip_headers(handler: OddHandler, body: dict[str, Any]) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    _trickle(handler, b"X-More: 1\r\n")


def _trickle(handler: OddHandler, piece: bytes) -> None:
    handler.close_connection = True
    try:
        while not handler.server.closing.wait(0.05):
            handler.wfile.write(piece)
            handler.wfile.flush()
    except OSError:
        return


def _flood(handler: OddHandler, body: dict[str, Any]) -> None:
    handler.close_connection = True
    handler.send_response(200)
    handler.end_headers()
    try:
        while not handler.server.closing.is_set():
            handler.wfile.write(b"x" * 65536)
    except OSError:
        return


def _by_turns(handler: OddHandler, body: dict[str, Any]) -> None:
    kinds = (answering(_PAGE), answering({"error": "x"}, 500), answering(completion(model="another-13b")))
    kinds[len(handler.server.bodies) % 3](handler, body)


def asking_to_wait(header: str, status: int = 429) -> React:
    """Too many requests, says the server, and when to come back."""
    return answering({"error": {"message": "slow down"}}, status, {"Retry-After": header})


# What each server does, and a part of what is said about it.
USELESS: Final[Mapping[str, tuple[React, str]]] = {
    "another model": (answering(completion(model="another-13b")), "'another-13b' answered instead"),
    "web page": (answering(_PAGE, headers={"Content-Type": "text/html"}), "a web page titled 'Log in'"),
    "empty": (answering(b""), "an empty response"),
    "null": (answering(None), "null instead of a chat completion"),
    "no choices": (answering({"choices": []}), "'choices' are empty"),
    "nested": (answering(b"[" * 100_000), "incomplete JSON"),
    "bomb": (answering(gzip.compress(bytes(8 * 2**20), 9)), "binary data instead of JSON"),
    "bomb with header": (
        answering(gzip.compress(bytes(8 * 2**20), 9), headers={"Content-Encoding": "gzip"}),
        "larger than 4194304 bytes",
    ),
    "flood": (_flood, "larger than 4194304 bytes"),
    "reset": (_reset, "the connection broke"),
    "closed": (_close, "the connection broke"),
    "drip": (_drip, "no complete response within"),
    "headers drip": (_drip_headers, "no complete response within"),
    "redirect": (answering(b"", 302, {"Location": "/v1/chat/completions"}), "a redirect to /v1/chat"),
    "redirect away": (answering(b"", 307, {"Location": "http://127.0.0.1:1/"}), "a redirect to http://127"),
    "error": (answering({"error": {"message": "CUDA error"}}, 500), "CUDA error"),
    "error with 200": (answering({"error": {"message": "CUDA error", "code": 502}}), "CUDA error"),
    "by turns": (_by_turns, "in a row"),
    "429": (answering({"error": {"message": "slow down"}}, 429), "slow down"),
    "429 for days": (asking_to_wait("99999999"), "too long to wait for"),
    "429 until 9999": (asking_to_wait("Fri, 31 Dec 9999 23:59:59 GMT"), "too long to wait for"),
    "429 for ever": (asking_to_wait("9" * 400), "slow down"),
    "429 not a number": (asking_to_wait("nan"), "slow down"),
    "429 for less than nothing": (asking_to_wait("-5"), "slow down"),
    "429 for no time": (asking_to_wait("0"), "slow down"),
    "503 for days": (asking_to_wait("99999999", 503), "too long to wait for"),
}
