"""The page of a run: complete, self-contained, and safe with hostile text."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from tests.factories.html_pages import read_page

from mien.errors import RunError
from mien.evaluate.evaluation import save_split, write_evaluation
from mien.evaluate.scores import SplitScores
from mien.labels import LabelSet
from mien.recipe import EvaluateOptions, Recipe
from mien.report.run.page import write_report
from mien.runs import Run
from mien.types import Sample, Subject, Target

_HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</style></title></blockquote></main><h1>mine",
    "<!-- ",
    "&lt;b&gt; &amp;",
    "{{ 7 * 7 }}{% raw %}",
    "\u202edesrever \u2028 nul\0 half \ud83d",
    "long" * 200,
)


def _hostile_run(path: Path, data: str = "manifest") -> Path:
    """A run with hostile text everywhere a user, a file or a model can put text."""
    recipe = Recipe(name=_HOSTILE[0])
    resolved = {**recipe.to_json(), "data": {"name": data}}
    Run.create(path, command=_HOSTILE[1], recipe=resolved, digest=recipe.digest())
    labels = LabelSet(name=_HOSTILE[3], labels=_HOSTILE, exclusive=False)
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            subject=Subject.still(text, path / f"{_HOSTILE[1][:4]}.png"),
            target=Target(labels={text: 1.0}),
            split="test",
        )
        for text in _HOSTILE
    ]
    scores = SplitScores(
        split="test",
        label_set=labels,
        ids=_HOSTILE,
        groups=_HOSTILE,
        scores=rng.random((len(_HOSTILE), len(labels))).astype(np.float32),
        targets=np.eye(len(_HOSTILE), dtype=np.float32),
    )
    save_split(path, scores, samples, {text: text for text in _HOSTILE})
    write_evaluation(path, [scores], name=_HOSTILE[1], seed=0, options=EvaluateOptions(bootstrap=20))
    return path


def test_the_page_shows_all_results(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    for words in (
        "playhouse-demo",
        "appear",
        "say nothing about real photographs",
        "is best with mAP",
        "fused is better: the interval excludes zero.",
        "Scores by label",
        "Best predictions",
        "Worst predictions",
        "How to read this page",
        "Complete recipe",
        "Annotators\u2019 labels",
    ):
        assert words in page.text
    results = json.loads((demo_run / "results.json").read_text())
    for row in results["rows"]:
        assert row["name"] in page.text
        assert f"{row['value']:.3f}" in page.text
        assert f"{row['low']:.3f} to {row['high']:.3f}" in page.text
        assert f"{row['chance']:.3f}" in page.text
    for difference in results["differences"]:
        assert f"{difference['value']:+.3f}".replace("-", "\u2212") in page.text
    assert sum(tag == "img" for tag, _ in page.tags) == 8 + 40  # cards, and everyone in the error browser


def test_the_page_is_self_contained(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "iframe", "object", "embed", "form", "base", "a"}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes)
        if tag == "img":
            assert re.match(r"data:image/(jpeg|webp);base64,", attributes["src"] or "")
    source = (demo_run / "report.html").read_text(encoding="utf-8")
    assert "http://" not in source
    assert "https://" not in source
    assert "url(" not in source
    policy = next(a for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert (policy["content"] or "").startswith("default-src 'none'")


def test_every_chart_has_a_text_alternative(demo_run: Path) -> None:
    page = read_page(write_report(demo_run))
    charts = [
        attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("class") == "row"
    ]
    assert len(charts) > 20
    assert all(chart["role"] == "img" and "interval" in (chart["aria-label"] or "") for chart in charts)
    assert all(attributes["alt"] for tag, attributes in page.tags if tag == "img")


def test_hostile_text_is_escaped(tmp_path: Path) -> None:
    page = read_page(write_report(_hostile_run(tmp_path / "run")))
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "img", "h5"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert sum(tag == "h1" for tag, _ in page.tags) == 1
    assert sum(tag == "style" for tag, _ in page.tags) == 1
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7 * 7 }}" in page.text
    assert "&lt;b&gt; &amp;" in page.text


def test_the_same_run_gives_the_same_page(demo_run: Path) -> None:
    first = write_report(demo_run).read_bytes()
    assert write_report(demo_run).read_bytes() == first
    assert sorted(file.name for file in demo_run.glob("*report*")) == ["report.html"]


def test_embedded_models_on_other_images_have_a_notice(tmp_path: Path) -> None:
    text = read_page(write_report(_hostile_run(tmp_path / "run"))).text
    assert "trained only on the drawn scenes of Playhouse" in text


def test_a_run_of_other_models_has_only_the_notice_about_apparent_emotion(tmp_path: Path) -> None:
    run = _hostile_run(tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["recipe"]["describe"]["model"] = "llava-hf/llava-1.5-13b-hf"
    manifest["recipe"]["features"].update(
        vision="openai/clip-vit-large-patch14", tokenizer="bert-base-uncased"
    )
    (run / "manifest.json").write_text(json.dumps(manifest))
    text = read_page(write_report(run)).text
    assert "Apparent emotion." in text
    assert "Playhouse" not in text.split("Complete recipe")[0]


@pytest.mark.parametrize(
    ("kept", "shown", "not_shown"),
    [
        (("evaluation.json",), "Scores by label", "Best predictions"),
        (("evaluation.json", "scores-test.npz"), "Scores by label", "Best predictions"),
        (("scores-test.npz",), "Scores by label", "Chance 0"),
        (("scores-test.npz", "samples-test.jsonl"), "Best predictions", "Conclusion"),
        (("results.json",), "Conclusion", "Best predictions"),
    ],
)
def test_a_section_is_shown_if_its_files_exist(
    demo_run: Path, tmp_path: Path, kept: tuple[str, ...], shown: str, not_shown: str
) -> None:
    for name in ("manifest.json", *kept):
        (tmp_path / name).write_bytes((demo_run / name).read_bytes())
    text = read_page(write_report(tmp_path)).text
    assert shown in text
    assert not_shown not in text


def test_a_comparison_replaces_the_runs_own_scores(demo_run: Path) -> None:
    text = read_page(write_report(demo_run)).text
    assert text.count("mAP on split test") == 2  # its scores and its differences
    assert "vad_mae on split test" in text  # not part of the comparison


def test_a_run_without_results_is_an_error_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="is not a run"):
        write_report(tmp_path)
    Run.create(tmp_path / "run", command="mien train", recipe={"name": "x"}, digest="0" * 64)
    with pytest.raises(RunError, match="no results to report") as caught:
        write_report(tmp_path / "run")
    assert "mien evaluate" in caught.value.hint
    assert not (tmp_path / "run" / "report.html").exists()
