"""A chat-completions server that answers as a function says, and descriptions made through it."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from tests.factories.chat_server import Handler, Server

from mien.cli import main
from mien.describe.store.store import Store

TEXT = "A woman in a blue coat stands alone and appears calm."
# What a server does with a request and its body.
React = Callable[["OddHandler", dict[str, Any]], None]
_RECIPE = """
name = "people"
data = { name = "manifest", root = "people.jsonl", label_set = "caers" }
describe = { engine = "remote", model = "tiny" }
run = { store = "store.sqlite" }
"""


class OddServer(Server):
    """Keeps the bodies of its requests."""

    def __init__(self, react: React) -> None:
        self.react = react
        self.bodies: list[dict[str, Any]] = []
        super().__init__(OddHandler)


class OddHandler(Handler):
    server: OddServer

    def do_POST(self) -> None:  # noqa: N802  # http.server goes by this name
        body = json.loads(self.content())
        self.server.bodies.append(body)
        self.server.react(self, body)


@contextmanager
def odd_server(react: React) -> Iterator[OddServer]:
    """A server that runs inside the block."""
    server = OddServer(react)
    try:
        yield server
    finally:
        server.close()


def answering(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> React:
    """A server that always answers the same."""
    return lambda handler, body: handler.answer(status, value, headers)


def completion(content: object = TEXT, *, finish: object = "stop", **changes: Any) -> dict[str, Any]:
    """A chat completion; `message` and `choice` add to those parts of it, other names to the whole."""
    message = {"role": "assistant", "content": content, **changes.pop("message", {})}
    choice = {"index": 0, "message": message, "finish_reason": finish, **changes.pop("choice", {})}
    usage = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}
    return {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage, **changes}


def describe_people(url: str, *options: str, count: int = 2) -> tuple[int, list[str], list[str]]:
    """`mien describe` of people in the working directory.

    Returns:
        The exit code, the texts, and the errors of those who have none.
    """
    rows = []
    for number in range(count):
        Image.new("RGB", (32, 24), (number, 0, 200)).save(f"{number}.png")
        rows.append(json.dumps({"id": f"s{number}", "image": f"{number}.png", "labels": ["Sad"]}))
    Path("people.jsonl").write_text("\n".join(rows))
    Path("recipe.toml").write_text(_RECIPE)
    sets = [f"run.endpoints=['{url}']", *options]
    code = main(["describe", "recipe.toml", *(word for one in sets for word in ("--set", one))])
    with Store(Path("store.sqlite")) as store:
        return code, [item.text for item in store], [failure.error for failure in store.failures()]
