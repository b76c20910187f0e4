"""The locked environments agree with pyproject.toml: names, bounds, digests."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = PROJECT["project"]["optional-dependencies"]
DIRECT = [
    Requirement(text) for text in PROJECT["project"]["dependencies"] + EXTRAS["dev"] + EXTRAS["serve-ray"]
]
TOOLS = [Requirement(text) for text in PROJECT["dependency-groups"]["tools"]]
DOCS = [Requirement(text) for text in PROJECT["dependency-groups"]["docs"]]
BUILD = [Requirement(text) for text in PROJECT["build-system"]["requires"]]


def entries(name: str) -> list[str]:
    """The requirements of a file, each with its continuation lines."""
    text = (ROOT / "requirements" / name).read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if re.match(r"[A-Za-z]", line)]


def pins(name: str) -> dict[str, str]:
    """The version of each requirement of a file, for Python 3.11 where versions differ."""
    found: dict[str, str] = {}
    for entry in entries(name):
        requirement = Requirement(entry.split("--hash")[0])
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        found.setdefault(canonicalize_name(requirement.name), specifier.version)
    return found


LOCKED = pins("dev.txt") | pins("torch.txt")


@pytest.mark.parametrize("requirement", DIRECT + BUILD, ids=str)
def test_every_direct_dependency_is_locked_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier.contains(LOCKED[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", TOOLS, ids=str)
def test_every_tool_is_locked_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins("tools.txt")[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("requirement", DOCS, ids=str)
def test_everything_that_builds_the_site_is_locked_within_its_bounds(requirement: Requirement) -> None:
    assert requirement.specifier.contains(pins("docs.txt")[canonicalize_name(requirement.name)])


@pytest.mark.parametrize("name", ["dev.txt", "tools.txt", "docs.txt"])
def test_every_locked_package_has_digests(name: str) -> None:
    assert len(entries(name)) > 20
    assert [entry for entry in entries(name) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)] == []


def test_the_lock_has_only_wheels_and_no_libraries_for_gpus() -> None:
    text = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")
    assert "--only-binary :all:" in text
    assert [name for name in LOCKED if name.startswith(("nvidia", "cuda")) or name == "triton"] == []


@pytest.mark.parametrize("requirement", BUILD + TOOLS + DOCS, ids=str)
def test_what_builds_and_locks_is_bounded(requirement: Requirement) -> None:
    assert {specifier.operator for specifier in requirement.specifier} == {">=", "<"}
