"""What a browser loads: no inline code, no parsed HTML, one policy, and nothing that needs a token."""

from __future__ import annotations

import io
import re
import tomllib
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import httpx2
import pytest
from PIL import Image
from tests.factories.scripted_model import ScriptedModel
from tests.factories.service import running_service

from mien.serve.page.examples import EXAMPLES, draw_example
from mien.serve.page.files import PAGE_PATHS, POLICY

STATIC = {file.name: file.read_text() for file in (files("mien.serve.page") / "static").iterdir()}
TOKEN = "a token of thirty-two characters"


class _Tags(HTMLParser):
    """The tags of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_the_page_has_no_inline_code_and_loads_only_what_is_served() -> None:
    tags = _Tags(STATIC["index.html"]).found
    assert len(tags) > 40
    attributes = [(tag, name, value) for tag, attrs in tags for name, value in attrs.items()]
    assert [item for item in attributes if item[1] == "style" or item[1].startswith("on")] == []
    assert [tag for tag, attrs in tags if tag == "style" or (tag == "script" and "src" not in attrs)] == []
    places = {value for tag, name, value in attributes if name == "src" or (name == "href" and tag == "link")}
    assert {f"/{place}" for place in places} <= PAGE_PATHS


@pytest.mark.parametrize("name", [name for name in STATIC if name.endswith(".js")])
def test_no_module_parses_html_or_code(name: str) -> None:
    words = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "DOMParser", "srcdoc")
    assert [word for word in (*words, "eval(", "new Function", "Storage") if word in STATIC[name]] == []
    imported = re.findall(r'from "\./([^"]+)"', STATIC[name])
    assert set(imported) <= set(STATIC)


def test_everything_is_served_without_a_token_under_the_policy() -> None:
    with (
        running_service(ScriptedModel().as_served(), token=TOKEN) as running,
        httpx2.Client(base_url=running.url, trust_env=False) as http,
    ):
        for path in PAGE_PATHS:
            answer = http.get(path)
            assert answer.status_code == 200, path
            assert answer.headers["x-content-type-options"] == "nosniff"
            assert answer.headers["referrer-policy"] == "no-referrer"
            assert http.head(path).status_code == 200
            assert http.post(path).status_code == 405
        page = http.get("/")
        assert page.headers["content-security-policy"] == POLICY
        assert "unsafe" not in POLICY
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert http.get("/page/page.js").headers["content-type"].startswith("text/javascript")
        # A link of another site may lead to the page, but not to the data.
        elsewhere = {"sec-fetch-site": "cross-site"}
        assert http.get("/", headers=elsewhere).status_code == 200
        assert http.get("/v1/models", headers=elsewhere).status_code == 403
        assert http.get("/v1/models").status_code == 401
        for path in (
            "/page/",
            "/page/files.py",
            "/page/%2e%2e/files.py",
            "/page/examples/99.png",
            "/index.html",
        ):
            assert http.get(path, headers={"authorization": f"Bearer {TOKEN}"}).status_code == 404
        assert "/page" not in http.get("/openapi.json", headers={"authorization": f"Bearer {TOKEN}"}).text


def test_the_page_is_not_served_to_names_that_another_site_has_pointed_here() -> None:
    with running_service(ScriptedModel().as_served()) as running:
        answer = httpx2.get(running.url, headers={"host": "rebound.example"}, trust_env=False)
    assert answer.status_code == 403


def test_the_examples_are_drawn_and_differ() -> None:
    drawn = [draw_example(number) for number in range(len(EXAMPLES))]
    assert len(set(drawn)) == len(EXAMPLES) >= 4
    assert {len(scene.people) for scene in EXAMPLES} == {1, 2, 3}
    assert not {scene.setting for scene in EXAMPLES} & {"classroom", "office"}
    with running_service(ScriptedModel().as_served()) as running:
        for number, item in enumerate(
            httpx2.get(f"{running.url}/page/examples.json", trust_env=False).json()
        ):
            answer = httpx2.get(f"{running.url}/{item['file']}", trust_env=False)
            assert (answer.content, answer.headers["content-type"]) == (drawn[number], "image/png")
            assert EXAMPLES[number].occasion in item["title"]
    assert Image.open(io.BytesIO(drawn[0])).size == (288, 288)


def test_the_wheel_has_every_file_of_the_page() -> None:
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    package = root / "src" / "mien" / "serve"
    packed = {
        path
        for pattern in project["tool"]["setuptools"]["package-data"]["mien.serve"]
        for path in package.glob(pattern)
    }
    assert {path.name for path in packed} == set(STATIC)
