"""The page about parts of your own: its module and its commands run."""

import json
import re
import shlex
import sys
from pathlib import Path

import pytest

from mien.cli import main

DOCS = Path(__file__).parents[2] / "docs"
RECIPE = """
name = "tutorial"
data = { name = "playhouse", options = { train = 16, val = 8, test = 8, seed = 3 } }
model = { width = 16, heads = 2, layers = 1, num_queries = 2 }
train = { epochs = 1, batch_size = 8 }
evaluate = { bootstrap = 20 }
run = { threads = 1 }
"""


def test_parts_of_your_own_describe_train_and_score(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (DOCS / "how-to" / "extend.md").read_text(encoding="utf-8")
    (module,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "my_parts.py").write_text(module, encoding="utf-8")
    (tmp_path / "tutorial.toml").write_text(RECIPE, encoding="utf-8")
    lines = re.sub(r"\\\n\s*", "", block).splitlines()
    assert len(lines) == 3
    try:
        for line in lines:
            variable, program, *words = shlex.split(line.removeprefix("$ "))
            assert (variable, program) == ("PYTHONPATH=.", "mien")
            assert main(words) == 0, line
    finally:
        sys.modules.pop("my_parts", None)
    assert main(["describe", "export", "runs/mine/descriptions.sqlite", "--out", "texts.jsonl"]) == 0
    texts = [json.loads(line)["text"] for line in (tmp_path / "texts.jsonl").read_text().splitlines()]
    assert len(texts) == 32
    assert all(re.fullmatch(r"A person in \d+ x \d+ pixels\.", text) for text in texts)
    assert json.loads((tmp_path / "runs" / "mine" / "evaluation.json").read_text())["rows"]
