"""The console: progress and notes on stderr, results on stdout, as text or JSON."""

import json

import pytest

from mien.cli.render.console import Console, render_table
from mien.describe.progress import Progress


def progress(done: int, total: int | None = 10, *, skipped: int = 0, failed: int = 0) -> Progress:
    return Progress(done=done, skipped=skipped, failed=failed, total=total, seconds=2.0)


class Screen:
    """Records what a console prints: (text, is it on stderr, does a new line follow)."""

    def __init__(self) -> None:
        self.printed: list[tuple[str, bool, bool]] = []

    def __call__(self, text: str, *, err: bool = False, nl: bool = True) -> None:
        self.printed.append((text, err, nl))


@pytest.fixture
def screen() -> Screen:
    return Screen()


def test_a_note_goes_to_stderr_and_an_empty_one_nowhere(screen: Screen) -> None:
    console = Console(as_json=False, live=False, out=screen)
    console.note("careful")
    console.note("")
    console.note(None)
    assert screen.printed == [("careful", True, True)]


def test_on_a_terminal_one_line_is_rewritten_and_ended_before_anything_else(screen: Screen) -> None:
    console = Console(as_json=False, live=True, out=screen)
    console.show_describing(progress(1))
    console.show_describing(progress(2))
    console.note("careful")
    texts, _, newlines = zip(*screen.printed, strict=True)
    assert [text.startswith("\r\x1b[Kdescribed") for text in texts] == [True, True, False, False]
    assert texts[2:] == ("", "careful")
    assert newlines == (False, False, True, True)


def test_elsewhere_a_line_is_printed_now_and_then_and_at_the_end(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = iter((100.0, 101.0, 111.0, 112.0, 113.0))
    monkeypatch.setattr("mien.cli.render.console.time.monotonic", lambda: next(times))
    console = Console(as_json=False, live=False, out=screen)
    for done in (1, 2, 3, 10):
        console.show_describing(progress(done))
    assert [text.split(",")[0] for text, _, _ in screen.printed] == ["described 2/10", "described 10/10"]
    assert all(is_error for _, is_error, _ in screen.printed)


def test_progress_names_existing_and_failed_descriptions(screen: Screen) -> None:
    console = Console(as_json=False, live=True, out=screen)
    console.show_describing(progress(1, None, skipped=2, failed=1))
    assert screen.printed[0][0].endswith("described 4, 0.5/s, 2 existed, 1 failed")


def test_a_result_is_text_or_one_json_document(screen: Screen) -> None:
    document = {"a_b": 1, "c": "é"}
    Console(as_json=False, live=False, out=screen).print_table(document)
    Console(as_json=True, live=False, out=screen).print_table(document)
    Console(as_json=False, live=False, out=screen).print_result(document, None)
    (text, *_), (line, *_) = screen.printed
    assert text == render_table(document) == "a b  1\nc    é"
    assert json.loads(line) == {"schema": 1, **document}
    assert "é" in line


def test_a_table_rounds_floats() -> None:
    assert render_table({"val_mAP": 0.34688346, "steps": 4}) == "val mAP  0.3469\nsteps    4"
