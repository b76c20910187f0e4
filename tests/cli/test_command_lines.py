"""Every `mien ...` in a hint, a help text, a page or a recipe is a command line that exists."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from mien.cli.entry_point import app
from mien.errors import MienError
from mien.recipe import load_recipe

ROOT = Path(__file__).parents[2]
PAGES = [
    *sorted((ROOT / "docs").rglob("*.md")),
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "RESPONSIBLE_USE.md", "SECURITY.md")),
]
RECIPES = sorted((ROOT / "recipes").rglob("*.toml"))
SOURCES = sorted((ROOT / "src").rglob("*.py"))

# Words after "mien" in prose, where it is the project and not the command.
PROSE = {"and", "come", "do", "ignores", "is", "on", "or", "that", "writes", "wrote"}
TREE: Any = typer.main.get_command(app)


class NotACommandError(Exception):
    """A command line that does not exist."""


def leaf_of(words: list[str]) -> tuple[Any, list[str]]:
    """The command that these words call, and the words that are left for it."""
    command, rest = TREE, list(words)
    while commands := getattr(command, "commands", None):
        if rest and rest[0] in commands:
            command = commands[rest.pop(0)]
        elif "run" in commands:
            command = commands["run"]
        elif command is TREE or (rest and rest[0].isalpha()):
            raise NotACommandError(f"no command {rest[:1]}")
        else:
            break
    return command, rest


def check_mention(words: list[str]) -> None:
    """For a mention in a sentence: the command and its options exist; arguments may be missing."""
    if words[0].startswith("--"):
        command, rest = TREE, words
    else:
        command, rest = leaf_of(words)
    options = {name for parameter in command.params for name in parameter.opts} | {"--help", "-h"}
    for word in rest:
        if word.startswith("-") and word.split("=")[0] not in options:
            raise NotACommandError(f"no option {word}")


def check_line(line: str) -> None:
    """For a whole line: it parses, its recipe exists, and what it sets are keys of that recipe."""
    line = re.sub(r"\$\w+", "0", line)  # shell variables
    words = [word for word in shlex.split(line, comments=True) if word != "..."]
    if words[1].startswith("--"):
        check_mention(words[1:])
        return
    command, rest = leaf_of(words[1:])
    context = command.make_context("mien", rest)
    paths = [Path(word) for word in words if re.fullmatch(r"recipes/[\w/-]+\.toml", word)]
    for path in paths:
        assert (ROOT / path).exists(), f"no {path}"
        if path.parent.name == "recipes":
            load_recipe(ROOT / path, context.params.get("overrides") or ())


def lines_of_page(text: str) -> Iterator[str]:
    """Command lines in the code blocks of a page."""
    for block in re.findall(r"^[ ]*```\w*\n(.*?)^[ ]*```", text, re.MULTILINE | re.DOTALL):
        for line in re.sub(r"\\\n\s*", " ", block).splitlines():
            if match := re.match(r"\s*(?:[$>]\s+)?(mien .*)", line):
                yield match.group(1)


def mentions_of_page(text: str) -> Iterator[list[str]]:
    """Code spans in the sentences of a page, with alternatives such as `mien data summary | verify` apart."""
    prose = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    for span in prose.split("`")[1::2]:  # every other part is between two backticks
        yield from mentions_in(span)


def mentions_in(text: str) -> Iterator[list[str]]:
    """The words after each "mien" in a text, up to the end of the phrase."""
    for match in re.finditer(
        r"(?<![\w./-])mien +((?:--)?[a-z][^;,.()`\[\]\n]*(?:\.\w[^;,()`\[\]\n]*)?)", text
    ):
        words = match.group(1).split()
        before = text[: match.start()].split()[-1:]
        if words[0] in PROSE or before in (["import"], ["from"]):
            continue
        first, *others = [part.split() for part in " ".join(words).split(" | ")]
        yield first
        yield from ([*first[:-1], *other] for other in others)


def strings_of(source: str) -> Iterator[str]:
    """String literals of a module except docstrings; X stands for what an f-string inserts."""
    tree = ast.parse(source)
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.JoinedStr):
            skipped.update(id(part) for part in node.values)
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def help_texts(command: Any) -> Iterator[str]:
    yield command.help or ""
    yield from (getattr(parameter, "help", None) or "" for parameter in command.params)
    for child in getattr(command, "commands", {}).values():
        yield from help_texts(child)


def lines() -> Iterator[tuple[Path, str]]:
    """Whole command lines in pages and recipes, with their files."""
    for path in PAGES:
        yield from ((path, line) for line in lines_of_page(path.read_text(encoding="utf-8")))
    for path in RECIPES:
        comments = re.findall(r"^#\s{2,}(mien .*)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        yield from ((path, line) for line in comments)


def mentions() -> Iterator[tuple[Path, list[str]]]:
    """Mentions of commands in messages, help texts and pages, with their files."""
    for path in SOURCES:
        for text in strings_of(path.read_text(encoding="utf-8")):
            yield from ((path, words) for words in mentions_in(text))
    for text in help_texts(TREE):
        yield from ((ROOT / "src", words) for words in mentions_in(" ".join(text.split())))
    for path in PAGES:
        yield from ((path, words) for words in mentions_of_page(path.read_text(encoding="utf-8")))


def test_every_whole_command_line_works() -> None:
    failures = []
    for path, line in lines():
        try:
            check_line(line)
        except (AssertionError, MienError, NotACommandError, typer.TyperException) as error:
            failures.append(f"{path.relative_to(ROOT)}: {line}: {error}")
    assert failures == []


def test_every_mentioned_command_exists() -> None:
    failures = []
    for path, words in mentions():
        try:
            check_mention(words)
        except NotACommandError as error:
            failures.append(f"{path.relative_to(ROOT)}: mien {' '.join(words)}: {error}")
    assert failures == []


def test_every_page_with_commands_says_what_they_need_or_is_run() -> None:
    run = {"tutorial.md", "extend.md"}  # tests/end_to_end
    pages = [
        path for path in (ROOT / "docs").rglob("*.md") if "```console" in path.read_text(encoding="utf-8")
    ]
    unmarked = {
        path.name
        for path in pages
        if not re.match(r"# .*\n\n\*Needs .+\.\*\n\n", path.read_text(encoding="utf-8"))
    }
    assert len(pages) > 10
    assert unmarked == run


def test_lines_and_mentions_are_found_in_every_kind_of_file() -> None:
    places = {path.relative_to(ROOT).parts[0] for path, _ in lines()}
    assert places >= {"README.md", "docs", "recipes"}
    assert {path.relative_to(ROOT).parts[0] for path, _ in mentions()} >= {"docs", "src"}
    assert sum(1 for _ in lines()) > 40


@pytest.mark.parametrize(
    "text",
    ["run mien evaluat first", "run mien evaluate --run X", "mien data verfy NAME", "mien --versoin"],
)
def test_a_command_line_that_does_not_exist_is_found(text: str) -> None:
    (words,) = mentions_in(text)
    with pytest.raises(NotACommandError):
        check_mention(words)


@pytest.mark.parametrize(
    "line",
    [
        "mien train",
        "mien train recipes/no-such.toml",
        "mien train recipes/playhouse.toml --set train.epoch=3",
        "mien evaluate --run runs/x",
    ],
)
def test_a_line_that_would_fail_is_found(line: str) -> None:
    with pytest.raises((AssertionError, MienError, typer.TyperException)):
        check_line(line)


def test_sentences_about_the_project_are_not_command_lines() -> None:
    assert (
        list(mentions_in("read it with the version of mien that wrote it, or install mien on every node"))
        == []
    )
    assert list(mentions_in("Use `mien data summary | verify`.")) == [["data", "summary"], ["data", "verify"]]
