"""The table of known models: sorted, named once, and shown."""

import json

import pytest

from mien.cli import main
from mien.describe.local.known_models import MODELS, known_model, listing


def test_every_model_is_named_once_the_smallest_first() -> None:
    names = [card.name for card in MODELS]
    assert len(set(names)) == len(names)
    assert [card.parameters for card in MODELS] == sorted(card.parameters for card in MODELS)
    assert names[0] == "playhouse"


def test_weights_take_two_bytes_each_or_four() -> None:
    paper = known_model("llava-hf/LLaVA-1.5-13b-hf")
    assert paper is not None
    assert paper.memory == pytest.approx(2 * paper.parameters)
    assert MODELS[0].memory == pytest.approx(4 * MODELS[0].parameters)
    assert known_model("nobody/nothing") is None


def test_the_command_shows_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == listing()
    assert main(["describe", "models"]) == 0
    shown = capsys.readouterr().out
    assert all(card.name in shown and card.licence in shown for card in MODELS)
