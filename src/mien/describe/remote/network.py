"""Connections to servers: proxies, certificates, and hints for connections that fail.

Proxies come from the environment. They are resolved here, so that the one that is named is the one that is
used.
"""

from __future__ import annotations

import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies_environment

from mien.errors import ConfigError, EngineDownError, first_line

__all__ = ["Proxy", "certificate_hint", "connection_hint", "find_proxy", "system_error", "tls_context"]

_SCHEMES: Final = ("http", "https", "socks5", "socks5h")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy from the environment.

    Attributes:
        url: address, perhaps with a user and a password; do not show it.
        variable: name of the variable that holds it.
    """

    url: str
    variable: str

    def __repr__(self) -> str:
        return f"Proxy({self.shown})"

    @property
    def shown(self) -> str:
        """The address without user and password, and the name of its variable."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]} ({self.variable})"


def find_proxy(url: str, environment: Mapping[str, str]) -> Proxy | None:
    """The proxy through which an address is reached; None for a direct connection.

    Follows HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in upper or lower case, as curl does. NO_PROXY
    may hold networks such as 10.0.0.0/8.

    Raises:
        EngineDownError: the variable holds no address of a proxy.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    proxies = getproxies_environment()
    for name in (parts.scheme, "all"):
        if proxies.get(name) and not _is_excepted(parts.hostname or "", port, proxies.get("no", "")):
            return _parse_proxy(proxies[name], _variable(name, environment))
    return None


def _is_excepted(host: str, port: int, exceptions: str) -> bool:
    """Whether NO_PROXY names a host: by its name, a domain above it, its address, or a network."""
    for entry in filter(None, (entry.strip().lower() for entry in exceptions.split(","))):
        name = entry.removeprefix("*").removeprefix(".")
        if entry == "*" or name in (host, f"{host}:{port}", f"[{host}]", f"[{host}]:{port}"):
            return True
        if host.endswith(f".{name}") or _is_in_network(host, name):
            return True
    return False


def _is_in_network(host: str, network: str) -> bool:
    plain = network.replace("[", "").replace("]", "")
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(plain, strict=False)
    except (ValueError, TypeError):
        return False  # a name


def _variable(name: str, environment: Mapping[str, str]) -> str:
    lower = f"{name}_proxy"
    return lower if environment.get(lower) else lower.upper()


def _parse_proxy(text: str, variable: str) -> Proxy:
    proxy = Proxy(url=text if "://" in text else f"http://{text}", variable=variable)
    try:
        parts = urlsplit(proxy.url)
        is_address = parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address or not text.isprintable():
        raise EngineDownError(  # not shown: it may hold a password
            f"{variable} in the environment is not the address of a proxy",
            hint=f"set {variable} to an address such as http://proxy:8080, or run.use_proxies = false",
        )
    return proxy


def tls_context(ca_file: Path | None, default: Any) -> Any:
    """How certificates are verified: as usual, and with the authorities in `ca_file`.

    Raises:
        ConfigError: the file cannot be read or holds no certificate.
    """
    try:
        context = default()
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"the certificates that SSL_CERT_FILE or SSL_CERT_DIR name cannot be read: {first_line(error)}",
            hint="set SSL_CERT_FILE to a file of certificates (PEM)",
        ) from error
    if ca_file is None:
        return context
    try:
        context.load_verify_locations(cafile=str(ca_file))
    except (OSError, ssl.SSLError, ValueError) as error:
        raise ConfigError(
            f"run.ca_file {ca_file} cannot be read: {first_line(error)}",
            hint="name a file of certificates (PEM)",
        ) from error
    return context


# --- Why a connection fails ---


def system_error(error: Exception) -> Exception:
    """The operating system's error beneath a failed connection; the error itself if there is none."""
    found, below = error, error.__cause__ or error.__context__
    while below is not None:
        if isinstance(below, ExceptionGroup):  # one per address of the host
            below = below.exceptions[0]
        if isinstance(below, OSError) and below.errno is not None:
            found = below
        below = below.__cause__ or below.__context__
    return found


def certificate_hint(message: str) -> str | None:
    """What to do if the message of a failed connection is about the server's certificate; None if not."""
    text = message.lower()
    if "certificate" not in text or "verify failed" not in text:
        return None
    if "expired" in text or "not yet valid" in text:
        return "the server's certificate is not valid today: renew it, or set this machine's clock"
    if "hostname mismatch" in text or "ip address mismatch" in text or "doesn't match" in text:
        return "the server's certificate is for another name: write the name that it is for in run.endpoints"
    if "self-signed" in text or "self signed" in text or "unable to get local issuer" in text:
        return (
            "no one that this machine trusts signed the server's certificate: if the server is yours, set "
            "run.ca_file (or SSL_CERT_FILE) to the file of its certificate or of its authority (PEM)"
        )
    return "the server's certificate is not accepted: renew it, or set run.ca_file (or SSL_CERT_FILE)"


_REASONS: Final = (
    (r"wrong.version|record layer failure|http.request|unknown protocol|unexpected eof", "plain"),
    (r"name or service not known|getaddrinfo|nodename|name resolution|no address associated", "name"),
    (r"refused", "refused"),
    (r"unreachable|no route", "route"),
)


def connection_hint(url: str, message: str, proxy: Proxy | None) -> str:
    """What to do about a failed connection."""
    parts = urlsplit(url)
    if proxy is not None:
        return f"check the proxy {proxy.shown}, or set run.use_proxies = false to connect directly"
    reason = next((kind for pattern, kind in _REASONS if re.search(pattern, message.lower())), "")
    if reason == "plain" and parts.scheme == "https":
        return f"if the server has no TLS, set run.endpoints to http://{parts.netloc}{parts.path}"
    if reason == "name":
        return f"check the host name {parts.hostname!r} in run.endpoints, and this machine's network"
    if reason == "refused":
        return f"start the server, or check the port in run.endpoints: nothing listens at {parts.netloc}"
    if reason == "route":
        return f"check this machine's network: it has no route to {parts.hostname}"
    return "check that the server runs and that run.endpoints name it"
