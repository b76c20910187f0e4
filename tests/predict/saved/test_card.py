"""The model card: what was measured on what, with interval and chance; names of others are text."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import ModelCard
from tests.factories.tiny_runs import train_tiny_run

from mien.cli import main
from mien.evaluate.results.results import EVALUATION, read_results, write_results
from mien.predict.loading import find_source, load_model
from mien.predict.saved.layout import CARD
from mien.predict.saved.save import save_model


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("card")
    found = train_tiny_run(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert main(["evaluate", str(found)]) == 0
    return found


def card_of(run: Path, folder: Path) -> tuple[dict[str, Any], str]:
    """The metadata and the text of the card of a saved run."""
    source = find_source(run)
    save_model(source, load_model(source, device="cpu"), folder)
    card = ModelCard.load(folder / CARD)
    data: dict[str, Any] = card.data.to_dict()
    return data, card.text


def test_every_number_has_its_split_interval_and_chance(run: Path, tmp_path: Path) -> None:
    data, text = card_of(run, tmp_path / "model")
    rows = read_results(run / EVALUATION).rows
    assert rows
    for row in rows:
        assert row.low is not None
        assert row.high is not None
        line = next(
            line for line in text.splitlines() if line.startswith(f"| {row.metric}".replace("_", r"\_"))
        )
        assert line.endswith(f"| {row.value:.3f} | {row.low:.3f} to {row.high:.3f} | {row.chance:.3f} |")
    assert "Measured on the split **test** of Playhouse, a small drawn world, on 4 people" in text
    assert "on 4 people in 4 images, next to" in text
    assert "**Weights chosen by:** mAP on the split val" in text
    assert "fitted on the split **val**" in text
    assert "Variation between training seeds is not included." in text
    assert "**Split train:** 8 different images" in text
    assert "numbers say nothing about real photographs" in text
    assert "This run scored the split test 1 time, with 1 set of weights." in text
    assert "| vision encoder | playhouse | mien" in text
    assert "the emotions of people at work or in education" in text
    assert "**Carbon:** not measured" in text
    assert data["library_name"] == "mien"
    assert data["license"] == "apache-2.0"
    (index,) = data["model-index"]
    assert [metric["type"] for metric in index["results"][0]["metrics"]] == [row.metric for row in rows]


def test_names_of_others_are_text(run: Path, tmp_path: Path) -> None:
    results = read_results(run / EVALUATION)
    evil = "x](http://evil.example) <script>alert(1)</script>\n# Heading | cell `code` ![i](j)"
    labels = tuple(replace(row, label=evil) for row in results.labels)
    original = (run / EVALUATION).read_bytes()
    write_results(run / EVALUATION, replace(results, labels=labels, notes=(evil,)))
    try:
        data, text = card_of(run, tmp_path / "model")
    finally:
        (run / EVALUATION).write_bytes(original)
    assert "<script>" not in text.replace(r"\<", "")
    assert not any(line.startswith("# Heading") for line in text.splitlines())
    assert r"x\]\(" not in text
    assert r"x\](http://evil.example) \<script\>" in text
    assert data["library_name"] == "mien"


def test_what_was_not_measured_is_said(run: Path, tmp_path: Path) -> None:
    original = (run / EVALUATION).read_bytes()
    (run / EVALUATION).unlink()
    (run / "emissions.csv").write_text("timestamp,emissions\n1,0.25\n2,0.5\n")
    try:
        data, text = card_of(run, tmp_path / "model")
    finally:
        (run / EVALUATION).write_bytes(original)
        (run / "emissions.csv").unlink()
    assert "**It was not evaluated.**" in text
    assert "0.750 kg of CO2 equivalents, by CodeCarbon" in text
    assert data["co2_eq_emissions"] == {"emissions": 750.0, "source": "CodeCarbon"}
    assert "model-index" not in data
