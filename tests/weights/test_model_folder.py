"""Models are found by folder or name and identified by content; errors say what to do."""

from pathlib import Path

import pytest

from mien.errors import WeightsError
from mien.playhouse import embedded_models as playhouse
from mien.weights.model_folder import find_model


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_a_folder_is_identified_by_its_content_wherever_it_is(folder: Path, tmp_path: Path) -> None:
    before = find_model(str(folder)).identity()
    moved = folder.rename(tmp_path / "elsewhere")
    assert find_model(str(moved)).identity() == before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_a_changed_file_makes_another_model(folder: Path, name: str) -> None:
    before = find_model(str(folder)).identity()
    (folder / name).write_text("changed")
    assert find_model(str(folder)).identity() != before


@pytest.mark.parametrize("name", ["README.md", "log.jsonl", "pytorch_model.bin", "measured.json"])
def test_a_file_that_cannot_change_the_text_is_ignored(folder: Path, name: str) -> None:
    before = find_model(str(folder)).identity()
    (folder / name).write_text("changed")
    assert find_model(str(folder)).identity() == before


def test_playhouse_is_the_embedded_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(playhouse, "_FOLDER", folder.parent)
    folder.rename(folder.parent / "llava")
    found = find_model("playhouse")
    assert found.name == "playhouse"
    assert "weights" in found.identity()


@pytest.mark.parametrize("name", ["/no/such/folder", "./models/llava", "~/none", "a/b/c"])
def test_a_missing_path_is_not_looked_up_on_the_hub(name: str) -> None:
    with pytest.raises(WeightsError, match="no model at") as caught:
        find_model(name)
    assert "playhouse" in caught.value.hint


@pytest.mark.parametrize("name", ["no-such-model", "no-one/no-such-model"])
def test_a_model_that_cannot_be_downloaded_offline_is_an_error(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=name) as caught:
        find_model(name)
    assert caught.value.exit_code == 5
    assert "folder" in caught.value.hint


def test_a_model_of_the_hub_is_identified_by_its_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The layout of the Hub's cache, as a download leaves it.
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "models--someone--llava"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    snapshot = cached / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_model("someone/llava").identity() == {"model": "someone/llava", "revision": commit}


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_model_names_the_missing_file(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(WeightsError, match=r"contains no (config\.json|\*\.safetensors)"):
        find_model(str(folder))
