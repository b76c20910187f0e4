import subprocess
import sys
from pathlib import Path

import pytest
import typer

from mien import __version__
from mien.cli import entry_point as entry
from mien.cli import main
from mien.errors import MienError

Capture = pytest.CaptureFixture[str]


def all_below(cls: type[MienError]) -> list[type[MienError]]:
    children = [child for child in cls.__subclasses__() if child.__module__ == MienError.__module__]
    return [below for child in children for below in (child, *all_below(child))]


def lines_of(capture: Capture) -> list[str]:
    captured = capture.readouterr()
    assert captured.out == ""
    return captured.err.splitlines()


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    def command(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(entry, "app", command)
    return main([])


def test_version_and_help_go_to_stdout(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"mien {__version__}\n"
    for arguments in (["--help"], ["-h"], []):
        assert main(arguments) == 0
        captured = capsys.readouterr()
        assert captured.out.startswith("Usage: mien")
        assert captured.err == ""


@pytest.mark.parametrize("arguments", [["no-such-command"], ["--no-such-option"], ["--version=3"]])
def test_wrong_usage_prints_two_lines_and_exits_with_2(arguments: list[str], capsys: Capture) -> None:
    assert main(arguments) == 2
    error, hint = lines_of(capsys)
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    assert "mien --help" in hint


def test_a_misspelled_option_gets_the_right_one_as_hint(capsys: Capture) -> None:
    main(["--versoin"])
    assert "did you mean --version?" in lines_of(capsys)[1]


@pytest.mark.parametrize("cls", [MienError, *all_below(MienError)])
def test_every_error_prints_two_lines_and_has_its_exit_code(
    cls: type[MienError], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail_with(monkeypatch, cls("it\nbroke", hint="fix it")) == cls.exit_code
    assert lines_of(capsys) == ["error: it broke", "hint: fix it"]


def test_an_error_without_a_hint_points_to_the_help(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_with(monkeypatch, MienError("it broke")) == 1
    assert lines_of(capsys) == ["error: it broke", "hint: see mien --help"]


def test_a_defect_shows_a_traceback_only_on_demand(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_with(monkeypatch, KeyError("k")) == 1
    error, hint = lines_of(capsys)
    assert error == "error: unexpected KeyError: 'k'"
    assert "MIEN_DEBUG=1" in hint
    monkeypatch.setenv("MIEN_DEBUG", "1")
    assert fail_with(monkeypatch, KeyError("k")) == 1
    assert lines_of(capsys)[0].startswith("Traceback")


def test_a_full_disk_is_not_reported_as_a_defect(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    assert fail_with(monkeypatch, OSError(28, "No space left on device", "a.json")) == 4
    error, hint = lines_of(capsys)
    assert "No space left on device: 'a.json'" in error
    assert "make room" in hint


@pytest.mark.parametrize("error", [KeyboardInterrupt(), typer.Abort()])
def test_an_interrupt_exits_with_130_silently(
    error: BaseException, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fail_with(monkeypatch, error) == 130
    assert lines_of(capsys) == []


def test_the_exit_code_of_a_command_is_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    app = typer.Typer()

    @app.command()
    def command() -> None:
        raise typer.Exit(3)

    monkeypatch.setattr(entry, "app", app)
    assert main([]) == 3


def test_a_closed_pipe_ends_a_command_silently() -> None:
    command = [sys.executable, "-m", "mien", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("streams", [">&-", "2>&-", "<&- >&- 2>&-", "2>/dev/full"])
def test_without_standard_streams_the_exit_code_tells(streams: str, tmp_path: Path) -> None:
    shell = ["sh", "-c", f'exec "$0" "$@" {streams}', sys.executable]
    assert (
        subprocess.run([*shell, "-m", "mien", "report", "no-run"], cwd=tmp_path, check=False).returncode == 4
    )
    # No file that is opened later takes the number of a closed stream, to which libraries write.
    code = "import mien.startup as s; s.open_standard_streams(); f = open('n', 'w'); f.write(str(f.fileno()))"
    subprocess.run([*shell, "-c", code], cwd=tmp_path, check=True)
    assert int((tmp_path / "n").read_text()) > 2
