"""What a release consists of besides the code: citation, container, notebook, source files."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from scripts.docs.notebook import TUTORIAL, make_notebook
from scripts.wheel_test import IMPORTS, RESOLVED_ONLY, extras_of_project

import mien

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")


def test_the_citation_has_this_version_and_what_its_format_requires() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert citation["version"] == mien.__version__ == project["version"]
    assert citation["license"] == project["license"]
    paper = citation["preferred-citation"]
    assert {"type", "title", "authors"} <= set(paper)
    assert all({"family-names", "given-names"} <= set(author) for author in paper["authors"])


def test_the_image_has_files_that_exist_and_no_root() -> None:
    extras = re.search(r"'\.\[([\w,-]+)\]'", DOCKERFILE)
    assert extras is not None
    assert set(extras[1].split(",")) <= set(extras_of_project())
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = re.findall(r"^COPY (?!--from)(\S+) ", DOCKERFILE, re.MULTILINE)
    assert copied == ["requirements", ".", "recipes"]
    assert {f"!{name}" for name in copied if name != "."} <= set(ignored)
    assert all((ROOT / name[1:]).exists() for name in ignored if name.startswith("!"))
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["1000"]


def test_containers_publish_no_port_and_wait_for_the_server() -> None:
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    assert set(compose["services"]) == {"mien", "vlm"}
    assert all("ports" not in service for service in compose["services"].values())
    assert compose["services"]["mien"]["depends_on"] == {"vlm": {"condition": "service_healthy"}}
    named = {
        volume.split(":")[0] for service in compose["services"].values() for volume in service["volumes"]
    }
    assert named - {"."} == set(compose["volumes"])


def test_every_extra_is_tried_with_the_wheel() -> None:
    assert set(extras_of_project()) <= set(IMPORTS) | set(RESOLVED_ONLY)


def test_the_source_release_names_every_file_and_folder_of_the_repository() -> None:
    lines = (ROOT / "MANIFEST.in").read_text(encoding="utf-8").splitlines()
    grafted = {line.split()[1] for line in lines if line.startswith("graft ")}
    included = {word for line in lines if line.startswith("include ") for word in line.split()[1:]}
    for name in grafted:
        assert (ROOT / name).is_dir()
    for pattern in included:
        assert list(ROOT.glob(pattern)), pattern


def test_the_notebook_has_everything_of_the_tutorial_and_no_output() -> None:
    page = TUTORIAL.read_text(encoding="utf-8")
    notebook = make_notebook(page)
    nbformat.validate(notebook)
    code = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    commands = re.findall(r"^\$ (.*)$", page, re.MULTILINE)
    assert [line for source in code for line in source.splitlines() if line.startswith("mien ")] == commands
    assert sum(source.startswith("%%writefile tutorial.toml\n") for source in code) == 1
    assert sum(source.startswith("import mien") for source in code) == 1
    assert all(cell.outputs == [] for cell in notebook.cells if cell.cell_type == "code")
    texts = [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]
    assert texts[0].startswith("# Tutorial")
    assert "0.472" in "\n".join(texts)  # what to expect stays
    assert make_notebook(page) == notebook


@pytest.mark.parametrize("page", ["# Only text\n", "```toml\nname = 1\n```\n"])
def test_pages_of_one_kind_become_notebooks(page: str) -> None:
    assert len(make_notebook(page).cells) == 1
