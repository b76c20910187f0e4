"""Posts one request body to a chat-completions server and reads the whole response."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import cached_property
from typing import Any, Final

from mien.describe.remote.protocol import ChatError
from mien.errors import EngineDownError, first_line

__all__ = ["ChatClient"]

_MAX_BYTES: Final = 16 * 2**20  # of a response; a description has a few thousand
_MAX_CONNECT_TIMEOUT: Final = 10.0  # seconds; a server that takes longer to accept is unreachable
# Servers close an idle connection after 5 s or later (uvicorn: 5), and a request must not meet that.
_KEEPALIVE: Final = 4.0


class ChatClient:
    """Keeps connections open between requests; every failure is a ChatError.

    Args:
        timeout: seconds for the whole response.
        key: API key, sent as a bearer token; None for servers without keys.
    """

    def __init__(self, *, timeout: float, key: str | None) -> None:
        self._timeout = timeout
        self._key = key

    async def send(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        """Returns status, headers and content of the response."""
        httpx = _http_library()
        try:
            async with asyncio.timeout(self._timeout):  # overall, however slowly the bytes arrive
                return await self._post(f"{url}/chat/completions", body)
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise ChatError(
                "unreachable",
                f"cannot be reached: {first_line(error, with_type=True)}",
                hint="check that the server runs",
            ) from error
        except TimeoutError as error:
            raise ChatError(
                "server",
                f"no complete response within {self._timeout:g} s",
                hint="raise run.timeout, or lower run.concurrency",
            ) from error
        except httpx.InvalidURL as error:
            raise ChatError("rejected", f"invalid address: {error}", hint="fix run.endpoints") from error
        except httpx.HTTPError as error:
            raise ChatError("server", f"the connection broke: {first_line(error, with_type=True)}") from error

    async def _post(self, url: str, body: bytes) -> tuple[int, Mapping[str, str], bytes]:
        async with self._client.stream("POST", url, content=body) as response:
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
            headers["Authorization"] = f"Bearer {self._key}"
        return httpx.AsyncClient(
            headers=headers,
            timeout=httpx.Timeout(None, connect=min(self._timeout, _MAX_CONNECT_TIMEOUT)),
            # The number of requests in flight is limited elsewhere.
            limits=httpx.Limits(max_connections=None, keepalive_expiry=_KEEPALIVE),
            follow_redirects=False,  # images of people go only where the recipe says
        )

    async def close(self) -> None:
        """Closes all connections."""
        if "_client" in self.__dict__:
            await self._client.aclose()


def _http_library() -> Any:
    try:
        import httpx2
    except ImportError as error:
        raise EngineDownError(
            "the engine 'remote' needs the library httpx2", hint="install it with: pip install 'mien[remote]'"
        ) from error
    return httpx2
