"""A replica opens what `mien serve` opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.factories.tiny_runs import train_tiny_run

from mien.cli.opening import open_run
from mien.cli.shared import make_console
from mien.errors import MienError
from mien.serve.ray.arguments import Arguments
from mien.serve.ray.model import open_model


def test_a_run(tmp_path: Path) -> None:
    run = train_tiny_run(tmp_path)
    model = open_model(Arguments(run=str(run)), max_pixels=1000)
    assert (model.name, model.card.embedded, model.card.kind) == ("run", True, "trained")
    assert model.card.detector is not None
    assert "playhouse" in model.card.detector
    model.warm_up()
    named = open_model(Arguments(run=str(run), name="faces", detector="none"), max_pixels=1000)
    assert (named.name, named.card.detector) == ("faces", None)


def test_a_link_has_the_name_of_its_run_as_for_the_command(tmp_path: Path) -> None:
    run = train_tiny_run(tmp_path)
    latest = tmp_path / "latest"
    latest.symlink_to(run.name)
    opened = open_run(make_console(as_json=True), latest, (), "none", ())
    model = open_model(Arguments(run=str(latest), detector="none"), max_pixels=1000)
    assert model.name == opened.name == "run"


def test_without_training() -> None:
    arguments = Arguments(zero_shot="playhouse", method="similarity", labels="Peace, Fear", detector="whole")
    card = open_model(arguments, max_pixels=1000).card
    assert (card.id, card.labels, card.embedded, card.kind) == (
        "playhouse",
        ["Peace", "Fear"],
        True,
        "zero_shot",
    )


def test_a_run_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="nothing"):
        open_model(Arguments(run=str(tmp_path / "nothing")), max_pixels=1000)
