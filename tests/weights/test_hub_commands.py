"""Commands with models of the Hub, by name: what is downloaded, how often the Hub is queried, each error."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch
import transformers
from PIL import Image
from tests.factories.encoders import save_model
from tests.factories.hub_server import DENIED, EXPIRED, GRANTED, HubServer, hub_server, settings, sham_files
from tests.factories.warm_command_line import Ended, WarmCommandLine, warm_command_line

from mien.playhouse.embedded_models import embedded_model_folder
from mien.playhouse.layouts import emotic
from mien.runs import Run, read_events

RECIPE = """
name = "hub"
[data]
name = "manifest"
root = "people.jsonl"
label_set = "caers"
[features]
max_text_tokens = 40
[model]
width = 32
layers = 1
options = { feedforward = 2 }
[train]
epochs = 1
missing_descriptions = "image_only"
"""
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "the", "person", "smiles"]


@pytest.fixture(scope="module")
def server() -> Iterator[HubServer]:
    with hub_server() as running:
        yield running


@pytest.fixture(scope="module")
def mien(server: HubServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WarmCommandLine]:
    """Commands in a folder with a recipe and four images; the cache of the Hub is theirs alone."""
    folder = tmp_path_factory.mktemp("hub")
    (folder / "recipe.toml").write_text(RECIPE)
    with (folder / "people.jsonl").open("w") as file:
        for number in range(4):
            Image.new("RGB", (48, 32), (number * 60, 0, 9)).save(folder / f"{number}.png")
            row = {"id": f"s{number}", "image": f"{number}.png", "split": ("train", "val")[number // 2]}
            file.write(json.dumps({**row, "labels": [("Happy", "Sad")[number % 2]]}) + "\n")
    unset = ("HF_TOKEN", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_CACHE", "HF_HUB_ETAG_TIMEOUT")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    with warm_command_line({**environment, **settings(server, folder)}, folder) as run:
        yield run


@pytest.fixture
def hub(server: HubServer) -> Iterator[HubServer]:
    """The server in order, with no requests yet."""
    server.requests.clear()
    server.ranges.clear()
    server.fault = None
    yield server
    server.fault = None


def find(
    mien: WarmCommandLine,
    model: str,
    *,
    environment: Mapping[str, str] | None = None,
    constants: Mapping[str, object] | None = None,
) -> Ended:
    """Runs a command that finds a describing model and does not load it."""
    words = ("describe", "recipe.toml", "--dry-run", "--set", f"describe.model={model}")
    return mien(*words, environment=environment, constants=constants)


def error_of(ended: Ended) -> str:
    """The error and the hint of a command that ended because weights are not available."""
    assert ended.code == 5, ended.err
    assert ended.out == ""
    *_, error, hint = ended.err.splitlines()
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    return f"{error}\n{hint}"


# --- Downloads and requests ----------------------------------------------------------------------------


def test_a_model_is_downloaded_described_with_and_asked_for_once_per_command(
    mien: WarmCommandLine, hub: HubServer, tmp_path: Path
) -> None:
    commit = hub.add("org/llava", embedded_model_folder("llava"), license="apache-2.0", gated=True)
    token = {"HF_TOKEN": GRANTED}
    hub.fault = "cut"  # while weights are sent; the download goes on where it stopped
    words = ("recipe.toml", "--set", "describe.model=org/llava", "--out", str(tmp_path))
    # The client keeps what it has received in chunks.
    ended = mien("describe", *words, "--json", environment=token, constants={"DOWNLOAD_CHUNK_SIZE": 10**6})
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["described"] == 4
    notes = [line for line in ended.err.splitlines() if line.startswith("note: downloading")]
    about = f"note: downloading org/llava at {commit[:12]} (license apache-2.0): "
    assert [note.startswith(about) for note in notes] == [True, True]
    size = (embedded_model_folder("llava") / "model.safetensors").stat().st_size
    assert notes[1].endswith(f"{size / 1e6:.1f} MB in 1 file")
    assert ended.err.index(notes[1]) < ended.err.index("described 4/4")
    assert len(hub.look_ups) == 1
    assert hub.ranges == [f"bytes={size // 2 // 10**6}000000-"]  # cut in the middle
    assert not {"README.md", "exam.json", "speech.jsonl"} & set(hub.downloads)
    (event,) = read_events(tmp_path / "descriptions.sqlite.events.jsonl").named("described")
    assert event["model"] == {"model": "org/llava", "revision": commit, "license": "apache-2.0"}

    hub.requests.clear()
    assert mien("describe", "status", *words).code == 0
    assert mien("describe", *words).code == 0
    assert len(hub.look_ups) == 2
    assert hub.downloads == []


@pytest.mark.parametrize("revision", ["commit", "v1.0", "refs/pr/1"])
def test_a_model_can_be_pinned(mien: WarmCommandLine, hub: HubServer, revision: str) -> None:
    name = f"org/pinned-{revision.replace('/', '-')}"
    old = hub.add(name, sham_files("old"), refs=("v1.0", "refs/pr/1"))
    hub.add(name, sham_files("new"))
    pinned = old if revision == "commit" else revision
    ended = find(mien, f"{name}@{pinned}")
    assert ended.code == 0, ended.err
    assert f"{name} at {old[:12]}" in ended.err
    hub.requests.clear()
    words = ("--set", f"describe.model={name}", "--set", f"describe.options.revision={pinned}")
    again = mien("describe", "recipe.toml", "--dry-run", *words)
    assert again.code == 0, again.err
    assert "downloading" not in again.err
    assert len(hub.requests) == (0 if revision == "commit" else 1)


def save_bert(folder: Path, *, width: int, heads: int) -> Path:
    """Saves a random BERT of one layer that knows `WORDS`."""
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(WORDS),
        hidden_size=width,
        num_hidden_layers=1,
        num_attention_heads=heads,
        intermediate_size=4 * width,
    )
    transformers.BertModel(config).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    return folder


def test_a_training_asks_once_for_each_of_its_models_and_records_them(
    mien: WarmCommandLine, hub: HubServer, tmp_path: Path
) -> None:
    text_commit = hub.add("org/bert", save_bert(tmp_path / "bert", width=32, heads=4), refs=("main", "v1"))
    clip_commit = hub.add("org/clip", save_model("clip", tmp_path / "clip"), license=None)
    words = (
        *("train", "recipe.toml", "--set", f"features.vision=org/clip@{clip_commit}"),
        *("--set", "features.tokenizer=org/bert@v1", "--set", "model.init=org/bert@v1"),
    )
    ended = mien(*words, "--out", str(tmp_path / "run"), "--json")
    assert ended.code == 0, ended.err
    json.loads(ended.out)
    assert f"note: downloading org/clip at {clip_commit[:12]} (license not stated): " in ended.err
    assert sorted(hub.look_ups) == [
        "/api/models/org/bert/revision/v1",
        f"/api/models/org/clip/revision/{clip_commit}",
    ]
    (event,) = Run.open(tmp_path / "run").events().named("models")
    bert_origin = {"model": "org/bert", "revision": text_commit, "license": "mit"}
    assert event["models"] == {
        "features.vision": {"model": "org/clip", "revision": clip_commit, "license": None},
        "features.tokenizer": bert_origin,
        "model.init": bert_origin,
    }


def test_the_small_recipe_starts_from_a_sentence_encoder_by_name(
    mien: WarmCommandLine, hub: HubServer, tmp_path: Path
) -> None:
    """A stand-in with MiniLM's width and fewer layers and words; the recipe's other settings are its own."""
    encoder = save_bert(tmp_path / "bert", width=384, heads=12)
    hub.add("sentence-transformers/all-MiniLM-L6-v2", encoder, license="apache-2.0")
    hub.add("openai/clip-vit-base-patch32", save_model("clip", tmp_path / "clip"))
    emotic.write(tmp_path / "drawn", train=4, val=2, test=2, seed=5)
    recipe = Path(__file__).parents[2] / "recipes" / "emotic-small.toml"
    ended = mien(
        *("train", str(recipe), "--set", f"data.root={tmp_path / 'drawn'}", "--set", "model.layers=1"),
        *("--dry-run", "--json"),
    )
    assert ended.code == 0, ended.err
    plan = json.loads(ended.out)
    assert (plan["fusion"], plan["batch"]) == ("qformer", 16)
    assert "downloading sentence-transformers/all-MiniLM-L6-v2" in ended.err
    (random,) = [line for line in ended.err.splitlines() if "so random" in line]
    assert "not in it, so random: query_tokens, layers.0.cross_attention." in random  # all others are in it


def test_a_download_that_failed_continues_with_the_files_that_are_missing(
    mien: WarmCommandLine, hub: HubServer
) -> None:
    hub.add("org/reset", sham_files())
    words = ("train", "recipe.toml", "--set", "features.vision=org/reset")
    hub.fault = "reset"
    assert "org/reset cannot be downloaded" in error_of(mien(*words))
    hub.fault = None
    hub.requests.clear()
    assert "no image processor" in error_of(mien(*words))  # it was found, but is not an encoder
    assert hub.downloads == ["model.safetensors"]


# --- Refusals ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "message", "hint"),
    [
        (None, "org/gated is gated: the Hub gives it to known accounts only", "hf auth login"),
        (DENIED, "org/gated is gated: this account has no access to it", "ask for access at http"),
        (EXPIRED, "does not accept the token of this machine", "unset HF_TOKEN"),
    ],
)
def test_a_gated_model_needs_access(
    mien: WarmCommandLine, hub: HubServer, token: str | None, message: str, hint: str
) -> None:
    hub.add("org/gated", sham_files(), gated=True)
    error = error_of(find(mien, "org/gated", environment={"HF_TOKEN": token} if token else {}))
    assert message in error
    assert hint in error
    assert hub.downloads == []


@pytest.mark.parametrize("key", ["features.vision", "model.init", "describe.model"])
def test_a_model_that_the_hub_does_not_have(mien: WarmCommandLine, hub: HubServer, key: str) -> None:
    words = {"features.vision": ("train",), "model.init": ("train", "--dry-run")}
    command = words.get(key, ("describe", "--dry-run"))
    ended = mien(*command, "recipe.toml", "--set", f"{key}=org/unknown")
    assert "the Hub has no model 'org/unknown', or it is private" in error_of(ended)
    assert len(hub.look_ups) == 1


def test_a_revision_that_the_model_does_not_have(mien: WarmCommandLine, hub: HubServer) -> None:
    hub.add("org/revised", sham_files())
    error = error_of(find(mien, "org/revised@v9"))
    assert "org/revised has no revision 'v9'" in error
    assert f"{hub.url}/org/revised" in error


def test_pickled_weights_are_refused_before_anything_is_downloaded(
    mien: WarmCommandLine, hub: HubServer
) -> None:
    hub.add("org/pickled", {"config.json": b"{}", "pytorch_model.bin": b"pickled"})
    error = error_of(find(mien, "org/pickled"))
    assert "has no safetensors but only pickled weights (pytorch_model.bin), which can run code" in error
    assert hub.downloads == []


def test_a_model_that_is_larger_than_the_disk_is_not_begun(mien: WarmCommandLine, hub: HubServer) -> None:
    hub.add("org/huge", sham_files())
    hub.repositories["org/huge"].claimed["model.safetensors"] = 10**15
    error = error_of(find(mien, "org/huge"))
    assert "org/huge needs 1000000.0 GB on the disk of " in error
    assert "set HF_HUB_CACHE" in error
    assert hub.downloads == []


# --- A Hub that cannot be reached ----------------------------------------------------------------------

UNREACHABLE = ["503", "drop", "hang", "portal"]


@pytest.fixture(scope="module")
def cached(server: HubServer, mien: WarmCommandLine) -> str:
    """The name of a model whose files are all in the cache."""
    server.fault = None
    server.add("org/cached", sham_files())
    ended = mien("train", "recipe.toml", "--set", "features.vision=org/cached")
    assert "no image processor" in ended.err
    return "org/cached"


@pytest.mark.parametrize("fault", ["503", "hang"])
def test_a_hub_that_is_down_is_not_needed_for_a_model_in_the_cache(
    mien: WarmCommandLine, hub: HubServer, cached: str, fault: str
) -> None:
    hub.fault = fault
    ended = find(mien, cached, constants={"HF_HUB_ETAG_TIMEOUT": 1})
    assert ended.code == 0, ended.err
    assert f"note: {cached} cannot be downloaded from {hub.url}: " in ended.err
    assert f"; using {cached} at " in ended.err
    assert len(hub.requests) == 1


@pytest.mark.parametrize("fault", UNREACHABLE)
def test_a_hub_that_is_down_is_an_error_without_the_model(
    mien: WarmCommandLine, hub: HubServer, fault: str
) -> None:
    hub.fault = fault
    error = error_of(find(mien, "org/not-cached", constants={"HF_HUB_ETAG_TIMEOUT": 1}))
    assert f"org/not-cached cannot be downloaded from {hub.url}: " in error
    assert "check the network" in error
    if fault == "hang":
        assert "timed out" in error


def test_offline_the_cache_is_used_without_a_request(
    mien: WarmCommandLine, hub: HubServer, cached: str
) -> None:
    offline = {"HF_HUB_OFFLINE": True}
    ended = find(mien, cached, constants=offline)
    assert ended.code == 0, ended.err
    assert "note: org" not in ended.err
    error = error_of(find(mien, "org/not-cached", constants=offline))
    assert "the cache lacks files of org/not-cached, and HF_HUB_OFFLINE forbids to download them" in error
    assert "hf download org/not-cached" in error
    assert hub.requests == []
