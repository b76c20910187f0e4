"""The examples of the README run, word for word."""

from __future__ import annotations

import json
import random
import re
import shlex
from pathlib import Path

import pytest
from PIL import Image

from mien.cli import main
from mien.playhouse.draw import draw_scene
from mien.playhouse.scene import sample_scene

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Where the README says `recipes/playhouse.toml`, a recipe that takes seconds.
RECIPE = """
name = "playhouse"
data = { name = "playhouse", options = { train = 16, val = 8, test = 8, seed = 3 } }
describe = { engine = "local", model = "playhouse", max_new_tokens = 40 }
model = { fusion = "qformer", width = 16, heads = 2, layers = 1, num_queries = 2, cross_every = 1 }
train = { epochs = 1, batch_size = 8 }
evaluate = { bootstrap = 20 }
run = { threads = 1, batch_size = 16 }
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def commands(start: str) -> list[list[str]]:
    """The commands of all console blocks that begin with `start`, without prompt and comment."""
    lines = [line[2:] for block in blocks("console") for line in block.splitlines() if line.startswith("$ ")]
    return [shlex.split(line, comments=True) for line in lines if line.startswith(start)]


def test_the_examples_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "playhouse.toml").write_text(RECIPE)
    scene = draw_scene(sample_scene(random.Random(1)))
    scene.image.resize((400, 400)).save("photo.jpg")

    shell = commands("mien ")
    assert [command[1] for command in shell] == ["describe", "train", "evaluate", "predict"]
    for command in shell:
        assert main(command[1:]) == 0, command
    assert "appears to feel" in capsys.readouterr().out

    (example,) = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 6
    exec(compile(example, "README.md", "exec"), {})  # noqa: S102  the README's own text
    top, description = capsys.readouterr().out.split(")) ", 1)
    assert top.startswith("((")
    assert len(description) > 20
    with Image.open("annotated.jpg") as annotated:
        assert annotated.size == (400, 400)
    assert [path.name for path in Path("marked").iterdir()] == ["000001-photo.jpg"]


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = commands("make ")
    assert [target[1] for target in targets] == ["demo", "test"]
    for target in targets:
        assert re.search(rf"^{target[1]}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "page", [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))], ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_table_is_that_of_the_committed_demo() -> None:
    results = json.loads((ROOT / "benchmarks" / "results" / "2026-11-30-demo.json").read_text())
    scores = {row["name"]: row for row in results["rows"] if row["metric"] == "mAP"}
    differences = {row["b"]: row for row in results["differences"] if row["metric"] == "mAP"}
    rows = {
        "fused: image and description": "fused",
        "image only": "image_only",
        "description only": "text_only",
        "fused, no box on the subject": "no_box",
        "fused, shuffled descriptions": "shuffled",
        "fused, a plain caption instead": "caption",
    }
    for title, name in rows.items():
        line = next(line for line in README.splitlines() if line.startswith(f"| {title} |"))
        _, _, score, interval, _ = (cell.strip() for cell in line.split("|"))
        assert score == f"{scores[name]['value']:.3f}".lstrip("0")
        if name != "fused":
            low, high = (f"{differences[name][key]:+.3f}".replace("0.", ".") for key in ("low", "high"))
            assert interval == f"{low} to {high}"
    assert f"| chance | {scores['fused']['chance']:.3f} |".replace("0.", ".") in README
