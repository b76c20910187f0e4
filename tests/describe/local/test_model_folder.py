"""Finding models: by folder, by name, told apart by content; what is not there says what to do."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.describe.local.model_folder import find_model, square_input
from mien.errors import WeightsError
from mien.playhouse import embedded_models as playhouse


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "model"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    return made


def test_a_folder_is_told_by_its_content_wherever_it_lies(folder: Path, tmp_path: Path) -> None:
    before = find_model(str(folder)).identity()
    moved = folder.rename(tmp_path / "elsewhere")
    assert find_model(str(moved)).identity() == before


@pytest.mark.parametrize(
    "name", ["model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"]
)
def test_a_changed_file_is_another_model(folder: Path, name: str) -> None:
    before = find_model(str(folder)).identity()
    (folder / name).write_text("changed")
    assert find_model(str(folder)).identity() != before


@pytest.mark.parametrize("name", ["README.md", "log.jsonl", "pytorch_model.bin", "measured.json"])
def test_a_file_that_cannot_change_the_text_does_not_count(folder: Path, name: str) -> None:
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
def test_a_path_that_is_not_there_is_not_looked_for_on_the_hub(name: str) -> None:
    with pytest.raises(WeightsError, match="no model at") as caught:
        find_model(name)
    assert "playhouse" in caught.value.hint


@pytest.mark.parametrize("name", ["no-such-model", "nobody/no-such-model"])
def test_a_name_that_cannot_be_fetched_offline_says_so(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match=name) as caught:
        find_model(name)
    assert caught.value.exit_code == 5
    assert "folder" in caught.value.hint


def test_a_model_of_the_hub_is_told_by_its_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


@pytest.mark.parametrize("lacking", ["config.json", "model.safetensors"])
def test_a_folder_that_is_no_model_says_what_it_lacks(folder: Path, lacking: str) -> None:
    (folder / lacking).unlink()
    with pytest.raises(WeightsError, match="holds no"):
        find_model(str(folder))


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (
            {
                "do_center_crop": True,
                "crop_size": {"height": 336, "width": 336},
                "size": {"shortest_edge": 336},
            },
            336,
        ),
        ({"do_center_crop": True, "crop_size": 224}, 224),
        ({"size": {"height": 384, "width": 384}}, 384),
        ({"size": {"shortest_edge": 336}}, None),
        ({"size": {"height": 300, "width": 400}}, None),
        ({"do_center_crop": True, "crop_size": 336, "image_grid_pinpoints": [[336, 672]]}, None),
        ({"size": {"height": 448, "width": 448}, "crop_to_patches": True}, None),
        ({"size": {"height": 448, "width": 448}, "crop_to_patches": False}, 448),
        ({"min_pixels": 3136, "max_pixels": 12845056}, None),
    ],
    ids=["llava", "old", "siglip", "edge", "oblong", "llava-next", "internvl", "one tile", "qwen"],
)
def test_the_square_that_a_processor_makes(
    tmp_path: Path, settings: dict[str, Any], size: int | None
) -> None:
    assert square_input(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert square_input(tmp_path) == size
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 99}}))
    assert square_input(tmp_path) == 99


def test_settings_that_are_no_json_are_said(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        square_input(tmp_path)
