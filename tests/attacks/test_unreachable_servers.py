"""A server that cannot be reached, or not be trusted, is named with the reason and what to do."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest
from PIL import Image
from tests.factories.fault_proxy import unused_address
from tests.factories.odd_server import OddServer, answering, completion, odd_server

from mien.describe.engine import Reply, Request
from mien.describe.remote.engine import RemoteEngine
from mien.describe.remote.network import certificate_hint
from mien.describe.retry import Backoff
from mien.errors import ConfigError, EngineError
from mien.recipe import RunOptions

GOOD = answering(completion())


@pytest.fixture(autouse=True)
def _no_keys_or_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MIEN_API_KEY", "OPENAI_API_KEY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A self-signed certificate for 127.0.0.1; its key is next to it, in "key.pem"."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    file = tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=here -addext subjectAltName=IP:127.0.0.1"
    )
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(file)]
    subprocess.run([*command.split(), *files], check=True, capture_output=True)
    return file


def add_tls(server: OddServer, certificate: Path) -> str:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, certificate.with_name("key.pem"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return server.url.replace("http://", "https://")


def describe_at(url: str, ca_file: Path | None = None) -> Reply | EngineError:
    run = RunOptions(endpoints=(url,), retries=1, timeout=30.0, ca_file=ca_file)
    engine = RemoteEngine("tiny", run=run, backoff=Backoff(base=0.001, cap=0.01))
    request = Request(subject_id="s0", images=(Image.new("RGB", (8, 8)),), prompt="Who?")
    return engine.describe([request])[0]


def error_at(url: str) -> tuple[str, str]:
    with pytest.raises(EngineError) as caught:
        describe_at(url)
    return str(caught.value), caught.value.hint


def test_a_certificate_that_no_one_signed(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with odd_server(GOOD) as server:
        url = add_tls(server, certificate)
        message, hint = error_at(url)
        assert "self-signed certificate" in message
        assert "run.ca_file (or SSL_CERT_FILE)" in hint
        assert isinstance(describe_at(url, ca_file=certificate), Reply)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        assert isinstance(describe_at(url), Reply)
        message, hint = error_at(url.replace("127.0.0.1", "localhost"))
        assert "another name" in hint
        message, hint = error_at(server.url)
        assert f"set run.endpoints to {url}" in hint


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        ("self-signed certificate in certificate chain", "SSL_CERT_FILE"),
        ("unable to get local issuer certificate", "SSL_CERT_FILE"),
        ("certificate has expired", "renew"),
        ("certificate is not yet valid", "clock"),
        ("Hostname mismatch, certificate is not valid for 'here'.", "another name"),
    ],
)
def test_each_fault_of_a_certificate_has_its_hint(reason: str, word: str) -> None:
    hint = certificate_hint(f"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: {reason}")
    assert hint is not None
    assert word in hint
    assert "certificate" in hint


def test_a_file_of_certificates_that_is_none(tmp_path: Path) -> None:
    file = tmp_path / "empty.pem"
    file.touch()
    for one in (file, tmp_path / "missing.pem", tmp_path):
        with pytest.raises(ConfigError, match=r"run\.ca_file"):
            describe_at("https://127.0.0.1:9/v1", ca_file=one)


def test_tls_to_a_server_without_it() -> None:
    with odd_server(GOOD) as server:
        _, hint = error_at(server.url.replace("http://", "https://"))
    assert f"set run.endpoints to {server.url}" in hint


def test_a_port_where_nothing_listens() -> None:
    message, hint = error_at(url := unused_address())
    assert "refused" in message.lower()
    assert f"nothing listens at {url.removeprefix('http://').removesuffix('/v1')}" in hint


@pytest.mark.parametrize("host", ["no-such-host.invalid", "a..b", f"{'a' * 70}.invalid"])
def test_a_host_name_that_does_not_exist(host: str) -> None:
    message, hint = error_at(f"http://{host}:8000/v1")
    assert "cannot be reached" in message
    assert f"check the host name {host!r}" in hint
