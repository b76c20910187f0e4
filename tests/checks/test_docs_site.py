"""The documentation site: its pages, its generated reference, and the checks of what was built."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml
from scripts.docs.links import find_problems
from scripts.docs.option_tables import attribute_texts
from scripts.docs.pages import ROOT_PAGES, PageError, collect_pages, link_generated, rewrite_links
from scripts.docs.reference import EXIT_CODES, generated_files, generated_pages
from scripts.docs.schemas import SCHEMAS

import mien
import mien.errors
from mien.cli.entry_point import app
from mien.recipe import Options, load_recipe
from mien.registry import TABLES

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def generated() -> dict[str, str]:
    return generated_pages()


# --- Pages ---


def test_links_out_of_the_docs_lead_to_pages_or_copies(tmp_path: Path) -> None:
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "a.json").write_text("{}")
    pages = {"docs/how-to/a.md": "how-to/a.md", "docs/b.md": "b.md", "SECURITY.md": "security.md"}
    text = (
        "[b](../b.md#part) [s](../../SECURITY.md) [r](../../results/a.json) [w](https://a.org) [h](#here)"
        "\n`[x](nowhere.md)`\n```text\n[y](nowhere.md)\n```\n[b](../b.md)"
    )
    found, files = rewrite_links(text, "docs/how-to/a.md", pages, tmp_path)
    assert found == text.replace("../../SECURITY.md", "../security.md").replace(
        "../../results/a.json", "../files/results/a.json"
    )
    assert files == {"results/a.json"}
    with pytest.raises(PageError, match=r"docs/b.md: no file or page at c.md"):
        rewrite_links("[c](c.md)", "docs/b.md", pages, tmp_path)
    with pytest.raises(PageError, match="no file or page"):
        rewrite_links("[up](../../outside.md)", "docs/b.md", pages, tmp_path)


def test_generated_pages_are_linked_to_on_the_site_only() -> None:
    text = "See <!-- site: ../reference/schemas.md#files -->JSON\nschemas<!-- /site -->."
    assert link_generated(text, "how-to/a.md", {"reference/schemas.md": ""}) == (
        "See [JSON\nschemas](../reference/schemas.md#files)."
    )
    with pytest.raises(PageError, match=r"how-to/a.md: no generated page at ../reference/schemas.md"):
        link_generated(text, "how-to/a.md", {"schemas.md": ""})


def test_all_pages_are_collected_and_none_is_written_twice(tmp_path: Path, generated: dict[str, str]) -> None:
    collect_pages(ROOT, generated, tmp_path / "pages")
    names = {path.relative_to(tmp_path / "pages").as_posix() for path in (tmp_path / "pages").rglob("*.md")}
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert names == written | set(ROOT_PAGES.values()) | set(generated)
    with pytest.raises(PageError, match=r"generated and written: index.md"):
        collect_pages(ROOT, {"index.md": ""}, tmp_path / "pages")


def test_every_page_is_in_the_navigation(generated: dict[str, str]) -> None:
    settings = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))

    def names(entry: Any) -> list[str]:
        if isinstance(entry, str):
            return [entry]
        return [
            name for part in (entry.values() if isinstance(entry, dict) else entry) for name in names(part)
        ]

    listed = names(settings["nav"])
    written = {path.relative_to(ROOT / "docs").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    decisions = {name for name in written if re.match(r"decisions/\d", name)}  # their README lists them
    assert len(listed) == len(set(listed))
    assert set(listed) == written - decisions | set(ROOT_PAGES.values()) | set(generated)


# --- The generated reference ---


def commands_of(command: Any, name: str) -> list[tuple[str, Any]]:
    below = getattr(command, "commands", {}).items()
    return [(name, command), *(pair for child, sub in below for pair in commands_of(sub, f"{name} {child}"))]


def test_every_command_and_option_is_on_the_page(generated: dict[str, str]) -> None:
    page = generated["reference/commands.md"]
    sections = dict(re.findall(r"^## (mien .*)\n((?:(?!^## ).*\n)*)", page, re.MULTILINE))
    tree = commands_of(typer.main.get_command(app), "mien")[1:]
    assert list(sections) == [name for name, _ in tree]
    for name, command in tree:
        for parameter in command.params:
            if parameter.param_type_name == "option" and not parameter.hidden:
                cell = sections[name].replace("| <code>", "| `")
                assert f"| `{parameter.opts[0]}" in cell, (name, parameter.opts)
    assert "--method likelihood&#124;words&#124;similarity</code>" in page
    assert not re.search(r"`[^`\n]*\\\|[^`\n]*`", page)  # the backslash would show


def options_classes(kind: type[Options] = Options) -> list[type[Options]]:
    return [kind, *(found for child in kind.__subclasses__() for found in options_classes(child))]


def test_every_key_is_on_the_page_and_explained(generated: dict[str, str]) -> None:
    page = generated["reference/recipe.md"]
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.*?) \| (.*) \|$", page.replace("\\|", "¦"), re.MULTILINE)
    keys = {key.rpartition(".")[2] for key, *_ in rows}
    ours = [kind for kind in options_classes() if kind.__module__.startswith("mien.")]
    assert len(ours) > 20
    for kind in ours:
        assert set(kind.model_fields) <= keys | {"name", "data"} | set(mien.Recipe.model_fields), kind
    assert [key for key, words, default, text in rows if not (words and default and text)] == []
    for kinds in ("dataset", "engine", "fusion", "loss"):
        for name in TABLES[kinds]:
            assert f"#### {kinds} `{name}`\n\n" in page
    assert all(f"`{name}`" in page for name in TABLES["metric"])


def test_every_public_name_is_on_the_page_of_the_api(generated: dict[str, str]) -> None:
    labels = re.findall(r"toc_label: mien\.(\w+)", generated["reference/api.md"])
    assert labels == [name for name in mien.__all__ if name != "__version__"]


def test_every_error_is_on_the_page_with_its_exit_code(generated: dict[str, str]) -> None:
    page = generated["reference/errors.md"]
    rows = {
        name: int(code) for name, code in re.findall(r"^\| `(\w+)` \| `\w+` \| (\d+) \|", page, re.MULTILINE)
    }
    errors = {name: getattr(mien.errors, name) for name in mien.errors.__all__ if name.endswith("Error")}
    assert rows == {name: error.exit_code for name, error in errors.items()}
    assert set(rows.values()) <= set(EXIT_CODES)


def test_attributes_of_base_classes_explain_keys_as_well() -> None:
    class Base:
        """A base.

        Attributes:
            size: How large
                it is.
            name: Its name.

        Another section.
        """

    class Child(Base):
        """A child.

        Attributes:
            name: Another name.
        """

    assert attribute_texts(Child) == {"size": "How large it is.", "name": "Another name."}


@pytest.mark.parametrize("name", list(SCHEMAS))
def test_schemas_are_schemas(name: str) -> None:
    document = json.loads(generated_files()[f"reference/schemas/{name}.schema.json"])
    jsonschema.Draft202012Validator.check_schema(document)
    assert document["description"]


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_match_their_schema_and_misspelled_ones_do_not(path: Path) -> None:
    schema = SCHEMAS["recipe"].document()
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    jsonschema.validate(table, schema)
    jsonschema.validate(load_recipe(path).to_json(), schema)
    with pytest.raises(jsonschema.ValidationError, match="epoch"):
        jsonschema.validate({**table, "train": {"epoch": 1}}, schema)


def test_grids_and_committed_results_match_their_schemas() -> None:
    for path in (ROOT / "recipes" / "ablations").glob("*.toml"):
        jsonschema.validate(tomllib.loads(path.read_text(encoding="utf-8")), SCHEMAS["grid"].document())
    results = json.loads(
        (ROOT / "benchmarks" / "results" / "2026-11-30-demo.json").read_text(encoding="utf-8")
    )
    rows = SCHEMAS["evaluation"].document()["$defs"]["ResultRow"]
    for row in results["rows"]:
        jsonschema.validate({key: row[key] for key in rows["properties"] if key in row}, rows)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**results["rows"][0], "value": "high"}, rows)


# --- The checks of the site ---


def test_markdown_that_shows_as_it_should_not_is_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        "<table><tr><td>a \\| b</td><td class='x'><code>a\\|b</code></td></tr></table><code>a\\|b</code>"
        "<pre>&gt;&gt;&gt; 1</pre><blockquote>\n<blockquote><p>1</p></blockquote></blockquote>"
    )
    assert find_problems(tmp_path) == [
        r"index.html: shows the backslash of \| in a\|b",
        "index.html: quotes within quotes, such as an example that is not code",
    ]


def test_broken_links_and_foreign_addresses_are_found(tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text(
        '<h1 id="top">A</h1><a href="b/">b</a><a href="#top">t</a><a href="https://example.org">out</a>'
        '<a href="gone.html">g</a><a href="b/index.html#gone">h</a><img src="missing.png">'
    )
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "index.html").write_text(
        '<link rel="stylesheet" href="https://fonts.example.org/a.css"><link rel="canonical" href="https://x.org/">'
        '<script src="//cdn.example.org/x.js"></script><p style="background: url(http://x.org/i.png)">'
        "<style>@import 'https://x.org/s.css';</style><a href='../index.html#top'>up</a>"
    )
    (tmp_path / "a.css").write_text(
        "@font-face { src: url('https://x.org/f.woff2') } p { background: url(a.css) }"
    )
    assert find_problems(tmp_path) == [
        "b/index.html: loads https://fonts.example.org/a.css",
        "b/index.html: loads //cdn.example.org/x.js",
        "b/index.html: loads http://x.org/i.png",
        "b/index.html: loads https://x.org/s.css",
        "index.html: gone.html leads nowhere",
        "index.html: b/index.html#gone: no such anchor",
        "index.html: missing.png leads nowhere",
        "a.css: loads https://x.org/f.woff2",
    ]
