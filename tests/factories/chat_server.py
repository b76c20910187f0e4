"""A tiny chat-completions server whose text follows from the images and the prompt alone."""

import base64
import hashlib
import io
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from PIL import Image

from mien.describe.engine import Request

MODEL = "tiny"


def answer_to(request: Request) -> str:
    """The text that the server writes for a request."""
    return _text(request.images, request.prompt)


def _text(images: Any, prompt: str) -> str:
    pixels = hashlib.sha256(b"".join(image.convert("RGB").tobytes() for image in images)).hexdigest()
    return f"The person feels {pixels[:8]}, prompt {hashlib.sha256(prompt.encode()).hexdigest()[:8]}."


class Server(ThreadingHTTPServer):
    """Listens on a port of this machine until `close`; port 0 takes a free one."""

    daemon_threads = True
    request_queue_size = 128  # with the default of 5, connections wait for a second

    def __init__(self, handler: type[BaseHTTPRequestHandler], port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), handler)
        self.closing = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def close(self) -> None:
        self.closing.set()
        self.shutdown()
        self.server_close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that disconnect are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    """Reads complete requests and writes complete responses."""

    server: Server
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one packet per response; otherwise each waits 40 ms for an acknowledgment

    def content(self) -> bytes:
        return self.rfile.read(int(self.headers["Content-Length"]))

    def answer(self, status: int, value: object, headers: Mapping[str, str] | None = None) -> None:
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        for name, text in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent."""


class ChatServer(Server):
    """Records the bodies and headers of its requests, and takes `delay` seconds for each.

    It says `usage`, unless that is None.
    """

    def __init__(self, delay: float = 0.0, port: int = 0) -> None:
        self.delay = delay
        self.usage: dict[str, int] | None = None
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[Mapping[str, str]] = []
        super().__init__(_ChatHandler, port)


class _ChatHandler(Handler):
    server: ChatServer

    def do_POST(self) -> None:
        body = json.loads(self.content())
        self.server.bodies.append(body)
        self.server.headers.append(dict(self.headers.items()))
        if self.path != "/v1/chat/completions":
            self.answer(404, {"detail": "Not Found"})
            return
        time.sleep(self.server.delay)
        *images_sent, prompt = body["messages"][0]["content"]
        images = [_decode(part["image_url"]["url"]) for part in images_sent]
        message = {"role": "assistant", "content": f" {_text(images, prompt['text'])}"}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        value = {"object": "chat.completion", "model": body["model"], "choices": [choice]}
        self.answer(200, value if self.server.usage is None else {**value, "usage": self.server.usage})


def _decode(url: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))


@contextmanager
def chat_server(delay: float = 0.0, port: int = 0) -> Iterator[ChatServer]:
    """A server that runs inside the block."""
    server = ChatServer(delay, port)
    try:
        yield server
    finally:
        server.close()
