"""Models are found by folder or name and identified by content; errors say what to do."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.ablation.workers import worker_pool
from mien.describe import open as opening
from mien.describe.engine import Engine
from mien.errors import ConfigError, WeightsError
from mien.playhouse import embedded_models as playhouse
from mien.recipe import DescribeOptions, RunOptions
from mien.weights import hub
from mien.weights.model_folder import find_model, find_origin

COMMIT = "0123456789abcdef0123456789abcdef01234567"


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
    cached = tmp_path / "models--someone--llava"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    snapshot = cached / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model.safetensors").write_bytes(b"weights")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    assert find_model("someone/llava").identity() == {"model": "someone/llava", "revision": COMMIT}


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Path]:
    """cached({"config.json": b"{}"}, "main"): a snapshot in the cache, as others left it; offline."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "_models", {})

    def make(files: dict[str, bytes], *refs: str) -> Path:
        storage = tmp_path / "models--some--model"
        snapshot = storage / "snapshots" / COMMIT
        snapshot.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (snapshot / name).write_bytes(content)
        for ref in refs:
            (storage / "refs" / ref).parent.mkdir(parents=True, exist_ok=True)
            (storage / "refs" / ref).write_text(COMMIT)
        return snapshot

    return make


def test_a_cache_of_another_program_is_used_offline(cached: Callable[..., Path]) -> None:
    snapshot = cached({"config.json": b"{}", "model.safetensors": b"weights"}, "main", "refs/pr/1")
    for name in ("some/model", f"some/model@{COMMIT}", "some/model@refs/pr/1"):
        found = find_model(name)
        assert (found.path, found.name, found.revision) == (snapshot, "some/model", COMMIT)
        found.fetch_weights()
    assert find_origin("some/model") == {"model": "some/model", "revision": COMMIT, "license": None}
    assert find_origin("other/model") is None


def test_a_cache_without_a_shard_is_not_a_model(cached: Callable[..., Path]) -> None:
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = {"config.json": b"{}", "model.safetensors.index.json": json.dumps(index).encode()}
    snapshot = cached({**files, "model-1.safetensors": b"weights"}, "main")
    with pytest.raises(WeightsError, match="the cache lacks files of some/model"):
        find_model("some/model")
    assert find_origin("some/model") is None  # a later call tries again
    (snapshot / "model-2.safetensors").write_bytes(b"weights")
    assert find_model("some/model").path == snapshot


def test_a_cache_with_only_a_part_of_a_model_is_not_a_model_without_weights(
    cached: Callable[..., Path],
) -> None:
    cached({"config.json": b"{}", "vocab.txt": b""}, "main")
    with pytest.raises(WeightsError, match="the cache lacks files of some/model"):
        find_model("some/model")


def test_a_revision_cannot_lead_out_of_the_cache(cached: Callable[..., Path], tmp_path: Path) -> None:
    cached({"config.json": b"{}", "model.safetensors": b"weights"}, "main")
    (tmp_path / "elsewhere").write_text("not a commit")
    with pytest.raises(WeightsError, match="the cache lacks files"):
        find_model("some/model", "../../elsewhere")


def test_workers_of_an_ablation_know_what_the_hub_has_said(cached: Callable[..., Path]) -> None:
    cached({"config.json": b"{}", "model.safetensors": b"weights"}, "main")
    find_model("some/model")
    with worker_pool(1) as pool:
        assert pool.submit(find_origin, "some/model").result() == find_origin("some/model") is not None


def test_workers_of_a_cluster_know_what_the_hub_has_said(
    cached: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached({"config.json": b"{}", "model.safetensors": b"weights"}, "main")
    opened: list[Callable[[], Engine]] = []
    monkeypatch.setattr(opening, "RayBackend", lambda inner, open_engine, run: opened.append(open_engine))
    opening.open_engine(DescribeOptions(model="some/model"), RunOptions(cluster="ray"))
    monkeypatch.setattr(hub, "_models", {})  # as in another process
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", "/no/such/cache")  # which would be searched
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        pickle.loads(pickle.dumps(opened[0]))()  # noqa: S301
    assert (origin := find_origin("some/model")) is not None
    assert origin["revision"] == COMMIT


def test_two_revisions_of_one_model_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"the revision 'v1', and the option revision 'v2'"):
        find_model("some/model@v1", "v2")


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_model_names_the_missing_file(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(WeightsError, match=r"contains no (config\.json|\*\.safetensors)"):
        find_model(str(folder))
