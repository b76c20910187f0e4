"""Any OpenAI-compatible chat-completions server: vLLM, SGLang, Ollama, llama.cpp, transformers, or hosted.

Goes in: requests. Comes out: replies in order; many are on their way at once, over one or several servers.
Knows nothing about: stores, keys, how a server runs its model. It cannot see the model's weights, so what
the model is rests on its name, and on `revision` if you give one.

The key of an account comes from the environment alone: MIEN_API_KEY, else OPENAI_API_KEY.
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import threading
import weakref
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Any, Final, Literal, Self, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from mien.describe.backoff import Backoff
from mien.describe.engine import Engine, Reply, Request
from mien.describe.remote.dispatcher import Dispatcher, Sender
from mien.describe.remote.protocol import Encoding, Exchange
from mien.errors import ConfigError, EngineError
from mien.recipe import DescribeOptions, Options, RunOptions

__all__ = ["RemoteEngine", "RemoteOptions"]

_log = logging.getLogger(__name__)
_Result = TypeVar("_Result")

# Raise this when the same server comes to be asked, or its answer read, in another way.
_VERSION: Final = 1
_HERE: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_OURS: Final = frozenset(
    {"model", "messages", "stream", "n", "temperature", "seed", "max_tokens", "max_completion_tokens"}
)


class RemoteOptions(Options):
    """[describe.options] of engine "remote".

    `image_size`: side of the square to which pictures are fitted before they are sent; give the model's own,
    or the server may crop. `extra`: more of the body, such as top_k; `limit`: what the server calls the most
    tokens to write. `revision`: which weights it holds, as far as you know. `aliases`: other names under
    which it may report the model.
    """

    image_format: Literal["png", "jpeg"] = "png"
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    image_size: int | None = Field(default=None, gt=0)
    seed: int = 0
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    revision: str | None = None
    aliases: tuple[str, ...] = ()


class RemoteEngine(Engine):
    """Greedy decoding by a served model. May be called from several threads; they share all limits."""

    def __init__(
        self,
        model: str,
        options: RemoteOptions | None = None,
        *,
        run: RunOptions,
        max_new_tokens: int = 160,
        backoff: Backoff | None = None,
    ) -> None:
        self._model = model
        self._options = options or RemoteOptions()
        self._endpoints = [_checked(url) for url in run.endpoints]
        self._run = run
        self._max_new_tokens = max_new_tokens
        self._backoff = backoff or Backoff()
        self._lock = threading.Lock()
        if taken := sorted(_OURS & self._options.extra.keys()):
            raise ConfigError(
                f"[describe.options] extra may not set {taken[0]!r}",
                hint="it is set by the engine: see describe.model, describe.max_new_tokens, options.seed",
            )

    @classmethod
    def open(cls, options: DescribeOptions, run: RunOptions) -> Self:
        own = RemoteOptions.parse(options.options, where="[describe.options] of engine 'remote'")
        return cls(options.model, own, run=run, max_new_tokens=options.max_new_tokens)

    @property
    def name(self) -> str:
        # Some servers name a model by its folder.
        return f"remote/{PurePosixPath(self._model).name if self._model.startswith('/') else self._model}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        revision = self._options.revision
        return {
            "engine": "remote",
            "version": _VERSION,
            "model": self._model,
            **({} if revision is None else {"revision": revision}),
            "decoding": self._decoding,
            "images": dict(self._encoding.identity()),
        }

    @property
    def image_size(self) -> int | None:
        return self._options.image_size

    @property
    def calls_at_once(self) -> int:
        """So many that one batch waiting for its last answer leaves no place at the servers empty."""
        return 1 + math.ceil(self._run.concurrency / self._run.batch_size)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        with self._lock:
            background, dispatcher = self._working
        return background.run(dispatcher.describe(requests))

    @property
    def _decoding(self) -> dict[str, JsonValue]:
        options = self._options
        return {
            "temperature": 0,
            "seed": options.seed,
            options.limit: self._max_new_tokens,
            **options.extra,
        }

    @property
    def _encoding(self) -> Encoding:
        return Encoding(format=self._options.image_format, quality=self._options.jpeg_quality)

    @cached_property
    def _working(self) -> tuple[_Background, Dispatcher]:
        """Made with the first request: a full store needs neither server nor key."""
        if not self._endpoints:
            raise ConfigError(
                "engine 'remote' has no server to ask: run.endpoints is empty",
                hint="set run.endpoints to base addresses such as http://localhost:8000/v1",
            )
        key = _key()
        if key:
            _warn_of_listeners(self._endpoints)
        exchange = Exchange(
            model=self._model,
            decoding=self._decoding,
            encoding=self._encoding,
            max_new_tokens=self._max_new_tokens,
            aliases=self._options.aliases,
            key=key,
        )
        sender = Sender(timeout=self._run.timeout, key=key)
        dispatcher = Dispatcher(
            exchange,
            sender,
            self._endpoints,
            concurrency=self._run.concurrency,
            retries=self._run.retries,
            backoff=self._backoff,
        )
        background = _Background()
        weakref.finalize(self, background.close, sender.close)
        return background, dispatcher


def _key() -> str | None:
    key = (os.environ.get("MIEN_API_KEY") or os.environ.get("OPENAI_API_KEY") or "").strip()
    if not (key.isascii() and key.isprintable()):
        raise EngineError(  # without the key itself
            "the key in the environment holds characters that no key has",
            hint="set MIEN_API_KEY again, without quotes or line breaks",
        )
    return key or None


def _warn_of_listeners(urls: Sequence[str]) -> None:
    for parts in map(urlsplit, urls):
        if parts.scheme == "http" and parts.hostname not in _HERE:
            _log.warning("the key travels unencrypted to %s; others on its way may read it", parts.hostname)


def _checked(url: str) -> str:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise _no_address(url) from error
    if parts.username or parts.password or parts.query or parts.fragment:
        # Not shown: it may be a secret, and a recipe is kept with its run.
        raise ConfigError(
            f"an endpoint at {parts.hostname!r} holds more than an address",
            hint="give the key in the environment as MIEN_API_KEY, and leave ?, # and user:password out",
        )
    if not is_address:
        raise _no_address(url)
    return url.rstrip("/")


def _no_address(url: str) -> ConfigError:
    shown = url.rpartition("@")[2]  # what stands before may be a secret
    return ConfigError(f"endpoint {shown!r} is not an address", hint="write it as http://localhost:8000/v1")


class _Background:
    """An event loop in a thread of its own, for callers of any thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="remote", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        """What the work returns or raises; it is cancelled where the caller is interrupted."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs `last()` and ends the thread. May be called by the collector of garbage, in any thread."""
        done = asyncio.run_coroutine_threadsafe(last(), self._loop)
        done.add_done_callback(lambda _: self._loop.call_soon_threadsafe(self._loop.stop))
        if threading.current_thread() is not self._thread:
            self._thread.join(timeout=1)
