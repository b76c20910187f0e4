"""Posts one request body to a chat-completions server and reads the whole response."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from mien.describe.remote.api_key import ApiKey
from mien.describe.remote.errors import ChatError, quote
from mien.describe.remote.network import (
    certificate_hint,
    connection_hint,
    find_proxy,
    system_error,
    tls_context,
)
from mien.errors import EngineDownError, first_line

__all__ = ["ChatClient"]

_log = logging.getLogger(__name__)

_MAX_BYTES: Final = 4 * 2**20  # of a response; a description has a few thousand
_MAX_CONNECT_TIMEOUT: Final = 10.0  # seconds; a server that takes longer to accept is unreachable
# Servers close an idle connection after 5 s or later (uvicorn: 5), and a request must not meet that.
_KEEPALIVE: Final = 4.0


class ChatClient:
    """Keeps connections open between requests; every failure is a ChatError.

    Args:
        urls: base addresses of the servers.
        timeout: seconds for the whole response, however slowly its bytes arrive.
        key: API key, sent as a bearer token; None for servers without keys.
        ca_file: certificates to trust in addition to those of this machine.
        use_proxies: whether the proxies in the environment are used.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        timeout: float,
        key: ApiKey | None,
        ca_file: Path | None = None,
        use_proxies: bool = True,
    ) -> None:
        self._timeout = timeout
        self._key = key
        self._ca_file = ca_file
        self._proxies = {
            url: proxy for url in urls if use_proxies and (proxy := find_proxy(url, os.environ)) is not None
        }
        for url, proxy in self._proxies.items():
            _log.warning("%s is reached through the proxy %s", urlsplit(url).netloc, proxy.shown)

    async def send(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and content of the response."""
        httpx = _http_library()
        try:
            async with asyncio.timeout(self._timeout):  # overall
                return await self._post(url, body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise self._connect_error(url, error) from self._cause(error)
        except TimeoutError as error:
            raise ChatError(
                "slow",
                f"no complete response within {self._timeout:g} s",
                hint="raise run.timeout, or lower run.concurrency",
            ) from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise ChatError("rejected", f"invalid address: {error}", hint="fix run.endpoints") from error
        except httpx.DecodingError as error:
            raise ChatError(
                "server", f"the response is not compressed as it says: {self._message(error)}"
            ) from self._cause(error)
        except httpx.HTTPError as error:
            raise self._broken_error(url, error) from self._cause(error)

    async def _post(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._client.stream("POST", f"{url}/chat/completions", content=body) as response:
            content = bytearray()
            async for chunk in response.aiter_bytes():
                content += chunk
                if len(content) > _MAX_BYTES:
                    raise ChatError("server", f"the response is larger than {_MAX_BYTES} bytes")
            return response.status_code, response.headers, bytes(content)

    @cached_property
    def _client(self) -> Any:
        httpx = _http_library()
        headers = {"Content-Type": "application/json", "User-Agent": "mien"}
        if self._key:
            headers["Authorization"] = self._key.header
        context = tls_context(self._ca_file, httpx.create_ssl_context)
        # The number of requests in flight is limited elsewhere.
        limits = httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE)
        try:
            mounts = {
                f"{parts.scheme}://{parts.netloc}": httpx.AsyncHTTPTransport(
                    verify=context, limits=limits, proxy=proxy.url
                )
                for parts, proxy in ((urlsplit(url), proxy) for url, proxy in self._proxies.items())
            }
        except (ImportError, ValueError) as error:
            shown = next(iter(self._proxies.values())).shown
            raise EngineDownError(
                f"the proxy {shown} cannot be used: {self._message(error)}",
                hint="install socksio for a SOCKS proxy, or set run.use_proxies = false to connect directly",
            ) from error
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=min(self._timeout, _MAX_CONNECT_TIMEOUT)),
            limits=limits,
            verify=context,
            mounts=mounts,
            trust_env=False,  # proxies are in `mounts`
            follow_redirects=False,  # images of people go only where the recipe says
        )

    async def close(self) -> None:
        """Closes all connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()

    # --- Errors ---

    def _connect_error(self, url: str, error: Exception) -> ChatError:
        error = system_error(error)
        message, proxy = self._message(error), self._proxies.get(url)
        hint = certificate_hint(message)
        if hint is not None:  # trying again cannot help
            return ChatError("rejected", f"its certificate cannot be verified: {message}", hint=hint)
        through = "" if proxy is None else f" through the proxy {proxy.shown}"
        return ChatError(
            "unreachable",
            f"cannot be reached{through}: {message}",
            hint=connection_hint(url, message, proxy),
        )

    def _broken_error(self, url: str, error: Exception) -> ChatError:
        hint = ""
        if urlsplit(url).scheme == "http" and isinstance(error, _http_library().TransportError):
            # A TLS server answers plain HTTP with bytes that are not a response, or closes the connection.
            hint = f"if the server needs TLS, set run.endpoints to https{url.removeprefix('http')}"
        return ChatError("server", f"the connection broke: {self._message(system_error(error))}", hint=hint)

    def _message(self, error: Exception) -> str:
        """The first line of a foreign message, which may quote what the server sent."""
        return quote(first_line(error, with_type=True), self._key)

    def _cause(self, error: Exception) -> Exception | None:
        """The exception itself for a traceback, unless it or one of its causes holds the key."""
        seen: BaseException | None = error
        while seen is not None:
            if self._key is not None and self._key.is_in(str(seen)):
                return None
            seen = seen.__cause__ or seen.__context__
        return error


def _http_library() -> Any:
    try:
        import httpx2
    except ImportError as error:
        raise EngineDownError(
            "the engine 'remote' needs the library httpx2", hint="install it with: pip install 'mien[remote]'"
        ) from error
    return httpx2
