"""Scripts rely on commands and options, so they change only on purpose."""

from collections.abc import Callable

import typer

from mien.cli.entry_point import app


def help_of(name: str, command: object) -> str:
    """A command's name, arguments, options and subcommands, without the prose."""
    lines = [name]
    for parameter in getattr(command, "params", []):
        kind = "argument" if parameter.param_type_name == "argument" else "option"
        lines.append(f"  {kind} {'/'.join(parameter.opts)}")
    children = getattr(command, "commands", {})
    return "\n".join([*lines, *(help_of(f"{name} {child}", children[child]) for child in sorted(children))])


def test_the_command_line_is_unchanged(golden: Callable[[str, str], None]) -> None:
    golden("command_line.txt", help_of("mien", typer.main.get_command(app)) + "\n")


def test_the_list_shows_new_commands_and_options() -> None:
    other = typer.Typer()

    @other.callback()
    def root() -> None: ...

    @other.command()
    def describe(recipe: str, new: int = 3) -> None: ...

    shown = help_of("mien", typer.main.get_command(other))
    assert shown.splitlines()[-3:] == ["mien describe", "  argument recipe", "  option --new"]
