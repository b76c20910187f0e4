"""The table of known models is sorted, without duplicates, and shown by the command."""

import json

import pytest

from mien.cli import main
from mien.describe.local.known_models import MODELS, list_models


def test_models_are_listed_once_smallest_first() -> None:
    names = [card.name for card in MODELS]
    assert len(set(names)) == len(names)
    assert [card.parameters for card in MODELS] == sorted(card.parameters for card in MODELS)
    assert names[0] == "playhouse"


def test_weights_take_two_or_four_bytes_each() -> None:
    [paper] = [card for card in MODELS if card.name == "llava-hf/llava-1.5-13b-hf"]
    assert paper.memory == pytest.approx(2 * 13.4)
    assert MODELS[0].memory == pytest.approx(4 * 0.004)


def test_the_command_shows_every_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe", "models", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["models"] == list_models()
    assert main(["describe", "models"]) == 0
    shown = capsys.readouterr().out
    assert all(card.name in shown and card.license in shown for card in MODELS)
