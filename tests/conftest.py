"""Fixtures of all tests; property tests without deadlines; one thread per process."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from PIL import Image
from tests.factories.json_documents import check_printed

from mien.cli.render import console, text
from mien.runs import command_event

# A shell starts its background jobs with SIGINT ignored, and mien leaves ignored signals alone.
if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tiny models are many times slower on several threads; set before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline and no limit on the time to make examples: a busy machine is not a failure.
settings.register_profile(
    "mien", deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("mien")


@pytest.fixture
def paint(tmp_path: Path) -> Callable[..., Path]:
    """Saves an image of one color: paint("a.png", size=(64, 48), color="white", mode="RGB", **options)."""

    def save(
        name: str,
        size: tuple[int, int] = (64, 48),
        color: object = "white",
        mode: str = "RGB",
        **options: object,
    ) -> Path:
        path = tmp_path / name
        Image.new(mode, size, color).save(path, **options)  # type: ignore[arg-type]
        return path

    return save


@pytest.fixture(autouse=True)
def printed_documents(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that commands print with --json in this process is checked against their JSON schemas."""

    def format_json(value: object, encoding: str | None = None) -> str:
        shown = text.format_json(value, encoding)
        if event := command_event():  # none for a console without a command
            check_printed(event["line"], json.loads(shown))
        return shown

    monkeypatch.setattr(console, "format_json", format_json)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--write-golden", action="store_true", help="rewrite the golden files")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[str, str], None]:
    """Compares a text with a file under tests/golden: golden("help.txt", text). See `make golden`."""

    def compare(name: str, text: str) -> None:
        path = Path(__file__).parent / "golden" / name
        if request.config.getoption("--write-golden"):
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text, (
            f"{name} differs; if that is intended, run `make golden`"
        )

    return compare
