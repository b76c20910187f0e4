"""Any OpenAI-compatible chat-completions server: vLLM, SGLang, Ollama, llama.cpp, transformers, or hosted.

Many requests are in flight at once, over one or several servers. The engine cannot see a server's weights, so
the identity of the model is its name, and `revision` if you give one.

An API key comes from the environment only: MIEN_API_KEY, or OPENAI_API_KEY.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import weakref
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import PurePosixPath
from typing import Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, JsonValue

from mien.describe.background_loop import BackgroundLoop
from mien.describe.engine import FIRST_TOKENS, NUM_ALTERNATIVES, Engine, Reply, Request
from mien.describe.reasoning import thinking_switches
from mien.describe.remote.api_key import read_api_key
from mien.describe.remote.client import ChatClient
from mien.describe.remote.dispatcher import Dispatcher
from mien.describe.remote.protocol import ChatProtocol, ImageEncoding, RequestFields
from mien.describe.retry import Backoff
from mien.errors import ConfigError, EngineError, nearest_hint
from mien.recipe import DescribeOptions, Options, RunOptions

__all__ = ["RemoteEngine", "RemoteOptions"]

_log = logging.getLogger(__name__)

# Raise this when the same server is prompted, or its output read, in another way.
_VERSION: Final = 1
_LOCALHOST: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_RESERVED: Final = frozenset(
    {"model", "messages", "stream", "n", "temperature", "seed", "max_tokens", "max_completion_tokens"}
)
_SET: Final = ("model", "stream", "temperature", "seed")  # and the limit


class RemoteOptions(Options):
    """[describe.options] of engine "remote".

    Attributes:
        image_format: format in which images are sent.
        jpeg_quality: quality of JPEG, from 1 to 100.
        image_size: side in pixels of the square to which images are fitted before they are sent. Set it to
            the model's own size; otherwise the server may crop.
        seed: seed in the body of each request.
        limit: the server's name for the largest number of tokens to write.
        extra: more fields of the body, such as top_k.
        omit: fields to leave out because the server refuses them, such as temperature or seed. The server's
            own value then holds, and the text may differ from run to run.
        rename: other names for fields, such as { seed = "random_seed" }.
        thinking: turn the model's reasoning on or off in its chat template, through the field
            chat_template_kwargs, which vLLM, SGLang and llama.cpp know. For others, use `extra`.
        image_detail: the field `detail` of images, for servers that know it.
        revision: which weights the server has, as far as you know.
        aliases: other names under which the server may report the model.
    """

    image_format: Literal["png", "jpeg"] = "png"
    jpeg_quality: int = Field(default=95, ge=1, le=100)
    image_size: int | None = Field(default=None, gt=0)
    seed: int = 0
    limit: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    extra: dict[str, JsonValue] = Field(default_factory=dict)
    omit: tuple[str, ...] = ()
    rename: dict[str, str] = Field(default_factory=dict)
    thinking: bool | None = None
    image_detail: Literal["auto", "low", "high"] | None = None
    revision: str | None = None
    aliases: tuple[str, ...] = ()


class RemoteEngine(Engine):
    """Greedy decoding on servers. Threads may call it in parallel; they share all limits.

    Args:
        model: name of the model, as the servers know it.
        options: see `RemoteOptions`.
        run: endpoints, concurrency, timeout and retries.
        max_new_tokens: longest text, in tokens.
        backoff: pauses between attempts.

    Raises:
        ConfigError: an endpoint is not an address, or `options.extra` sets a field of the engine.
    """

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
        self._endpoints = [_check_url(url) for url in run.endpoints]
        self._run = run
        self._max_new_tokens = max_new_tokens
        self._backoff = backoff or Backoff()
        self._lock = threading.Lock()
        _check_fields(self._options)

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
            "decoding": self._fields.identity(),
            "images": dict(self._encoding.identity()),
        }

    @property
    def image_size(self) -> int | None:
        return self._options.image_size

    @property
    def calls_at_once(self) -> int:
        """Enough that the servers stay busy while one batch waits for its last reply."""
        return 1 + math.ceil(self._run.concurrency / self._run.fixed_batch_size)

    def describe(self, requests: Sequence[Request]) -> Sequence[Reply | EngineError]:
        if not requests:
            return []
        with self._lock:
            loop, dispatcher = self._connection
        return loop.run(dispatcher.describe(requests))

    def for_first_words(self) -> RemoteEngine:
        """The same model on the same servers, asked for the likeliest first words of each answer."""
        extra = {**self._options.extra, "logprobs": True, "top_logprobs": NUM_ALTERNATIVES}
        options = self._options.model_copy(update={"extra": extra})
        return RemoteEngine(
            self._model, options, run=self._run, max_new_tokens=FIRST_TOKENS, backoff=self._backoff
        )

    def stop(self) -> None:
        with self._lock:
            if "_connection" not in self.__dict__:
                return
            loop, dispatcher = self._connection
        loop.call(dispatcher.stop)

    @property
    def _fields(self) -> RequestFields:
        options = self._options
        switches = thinking_switches(options.thinking)
        return RequestFields(
            limit=(options.limit, self._max_new_tokens),
            decoding={"temperature": 0, "seed": options.seed},
            extra=options.extra,
            thinking={"chat_template_kwargs": switches} if switches else {},
            omit=options.omit,
            rename=options.rename,
        )

    @property
    def _encoding(self) -> ImageEncoding:
        return ImageEncoding(
            format=self._options.image_format,
            quality=self._options.jpeg_quality,
            detail=self._options.image_detail,
        )

    @cached_property
    def _connection(self) -> tuple[BackgroundLoop, Dispatcher]:
        """Created with the first request: a complete store needs neither server nor key."""
        if not self._endpoints:
            raise ConfigError(
                "engine 'remote' has no server: run.endpoints is empty",
                hint="set run.endpoints to base addresses such as http://localhost:8000/v1",
            )
        key = read_api_key()
        if key:
            _warn_if_unencrypted(self._endpoints)
        protocol = ChatProtocol(
            model=self._model,
            fields=self._fields,
            encoding=self._encoding,
            max_new_tokens=self._max_new_tokens,
            aliases=self._options.aliases,
            key=key,
        )
        client = ChatClient(
            self._endpoints,
            timeout=self._run.timeout,
            key=key,
            ca_file=self._run.ca_file,
            use_proxies=self._run.use_proxies,
        )
        dispatcher = Dispatcher(
            protocol,
            client,
            self._endpoints,
            concurrency=self._run.concurrency,
            retries=self._run.retries,
            backoff=self._backoff,
            timeout=self._run.timeout,
        )
        loop = BackgroundLoop("remote")
        weakref.finalize(self, loop.close, client.close)
        return loop, dispatcher


def _check_fields(options: RemoteOptions) -> None:
    """ConfigError if options contradict each other or set a field that belongs to the engine."""
    if reserved := sorted(_RESERVED & options.extra.keys()):
        raise ConfigError(
            f"[describe.options] extra may not set {reserved[0]!r}",
            hint="set describe.model, describe.max_new_tokens or describe.options.seed instead",
        )
    thinking = () if options.thinking is None else ("chat_template_kwargs",)
    names = (*_SET, options.limit, *options.extra, *thinking)
    for where, fields in (("omit", options.omit), ("rename", tuple(options.rename))):
        if unknown := [name for name in fields if name not in names]:
            raise ConfigError(
                f"[describe.options] {where} names {unknown[0]!r}, which is not sent",
                hint=nearest_hint(unknown[0], names, kind="fields"),
            )
    renamed = [options.rename.get(name, name) for name in ("messages", *names) if name not in options.omit]
    if twice := [name for name in renamed if renamed.count(name) > 1 or not name]:
        raise ConfigError(
            f"[describe.options] rename gives two fields the name {twice[0]!r}", hint="give each its own name"
        )


def _warn_if_unencrypted(urls: Sequence[str]) -> None:
    for parts in map(urlsplit, urls):
        if parts.scheme == "http" and parts.hostname not in _LOCALHOST:
            _log.warning("the API key is sent unencrypted to %s; others may read it", parts.hostname)


def _check_url(url: str) -> str:
    url = url.strip()
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError as error:
        raise _invalid_url(url) from error
    if parts.username or parts.password or parts.query or parts.fragment:
        # The rest is not shown: it may be a secret, and a recipe is stored with its run.
        raise ConfigError(
            f"an endpoint at {parts.hostname!r} contains more than an address",
            hint="set the key in the environment as MIEN_API_KEY, and remove ?, # and user:password",
        )
    if not is_address or not url.isprintable() or " " in url:
        raise _invalid_url(url)
    return url.rstrip("/").removesuffix("/chat/completions").rstrip("/")


def _invalid_url(url: str) -> ConfigError:
    shown = url.rpartition("@")[2]  # what comes before it may be a secret
    example = "http://localhost:8000/v1"
    if re.fullmatch(r"[\w.-]+(:\d{1,5})?(/[\w./-]*)?", shown) and not shown.startswith("/"):
        example = f"http://{shown.rstrip('/')}" + ("" if "/" in shown.rstrip("/") else "/v1")
    return ConfigError(f"endpoint {shown!r} is not an address", hint=f"write it as {example}")
