"""Trained weights on disk: safetensors files that describe themselves and are checked against a digest.

`model.safetensors` holds the best weights of a finished training. Its header has, as JSON, everything needed
to use them (recipe, label set, signatures, sizes), so that weights and description cannot get separated.
`last.safetensors` has the weights of the last step, if `run.keep_last` is set. `best.safetensors` has the
best weights so far of a training that diverged. `resume.safetensors` holds the state of an unfinished
training, and `resume.previous.safetensors` the state saved before it, in case the former is damaged.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.documents import parse_json, require_file
from mien.errors import DamagedError, RunError, RunLockedError, WeightsError, first_line
from mien.features.device import open_device
from mien.files import atomic_write_bytes
from mien.labels import LabelSet
from mien.locks import run_writer
from mien.model.build import InputSpec
from mien.model.classifier import Classifier
from mien.model.encoder import build_encoder, resolve_vision_encoder, trains_encoder
from mien.model.fusion import build_fusion
from mien.recipe import Recipe
from mien.recipe.places import differing_keys, is_same_recipe, relative_to_run, resolve_in_run
from mien.weights.build_limits import check_size

__all__ = [
    "BEST_FILE",
    "LAST_FILE",
    "MODEL_FILE",
    "PREVIOUS_FILE",
    "RESUME_FILE",
    "TrainResult",
    "TrainedModel",
    "load_trained",
    "model_digest",
    "model_recipe",
    "read_tensors",
    "save_trained",
    "write_tensors",
]

MODEL_FILE: Final = "model.safetensors"
LAST_FILE: Final = "last.safetensors"
BEST_FILE: Final = "best.safetensors"
RESUME_FILE: Final = "resume.safetensors"
PREVIOUS_FILE: Final = "resume.previous.safetensors"
_SCHEMA: Final = 2
_KEY: Final = "mien"  # of our JSON among the header's strings


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """The result of a training.

    Attributes:
        best_epoch: The epoch of the best score, counted from 1.
        best_score: Its score of `metric` on the validation split.
        metric: The name of the metric.
        steps: Number of steps taken.
    """

    best_epoch: int
    best_score: float
    metric: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedModel:
    """A trained classifier, and how its inputs must be made.

    Attributes:
        classifier: The classifier with its weights.
        recipe: The recipe that trained it.
        label_set: The labels, in the order of the logits.
        image_dim: Width of an image token; None if images are not used.
        vocab_size: Number of token ids; None if descriptions are not used.
        vision_signature: Signature of the vision encoder; None if images are not used.
        tokenizer_signature: Signature of the tokenizer; None if descriptions are not used.
        data: Fingerprint of the training and validation splits.
        num_frames: Frames per subject.
        num_views: Views per frame.
        result: How the training ended.
    """

    classifier: Classifier
    recipe: Recipe
    label_set: LabelSet
    image_dim: int | None
    vocab_size: int | None
    vision_signature: str | None
    tokenizer_signature: str | None
    data: str
    num_frames: int = 1
    num_views: int = 1
    result: TrainResult

    def check_inputs(self, spec: InputSpec, split: str) -> None:
        """Raises RunError unless the inputs of a split are of the kind that the model was trained on."""
        pairs = {
            "label set": (spec.label_set, self.label_set),
            "image features": (spec.vision_signature, self.vision_signature),
            "tokenizer": (spec.tokenizer_signature, self.tokenizer_signature),
            "number of frames": (spec.image_dim and spec.num_frames, self.image_dim and self.num_frames),
            "number of views": (spec.image_dim and spec.num_views, self.image_dim and self.num_views),
        }
        for what, (got, needed) in pairs.items():
            if needed is not None and got != needed:
                if isinstance(got, LabelSet) and isinstance(needed, LabelSet) and got.name == needed.name:
                    raise _different_labels(split, got, needed)
                has = f"no {what}" if got is None else f"the {what} {_short(got)}"
                raise RunError(
                    f"split {split!r} has {has}, and the model was trained with {_short(needed)}",
                    hint="evaluate with the recipe that trained the model, or train again",
                )

    def check_recipe(self, recipe: Recipe) -> None:
        """Raises RunError unless the model was trained by this recipe; `[run]` and places may differ."""
        if not is_same_recipe(self.recipe, recipe):
            ours, theirs = self.recipe.digest(), recipe.digest()
            keys = ", ".join(differing_keys(self.recipe, recipe))
            raise RunError(
                f"the model was trained by recipe {ours[:12]}, and this run has recipe {theirs[:12]}: {keys}",
                hint="restore this run's model, or train again",
            )


def _different_labels(split: str, got: LabelSet, needed: LabelSet) -> RunError:
    """The error for two label sets with the same name, which names the first difference."""
    pairs = enumerate(zip_longest(got.labels, needed.labels, fillvalue="nothing"))
    index, (here, there) = next(
        ((index, pair) for index, pair in pairs if pair[0] != pair[1]), (0, ("its rule", "another rule"))
    )
    return RunError(
        f"split {split!r} has the label set {got.name!r} with {len(got)} labels, and the model was trained "
        f"with one of the same name with {len(needed)}: label {index} is {here!r} here and {there!r} there",
        hint="evaluate with the recipe that trained the model, or train again",
    )


# --- Models ------------------------------------------------------------------------------------------


def save_trained(folder: Path, trained: TrainedModel, name: str = MODEL_FILE) -> None:
    """Writes a trained model into a run directory as `model.safetensors`, or under another name."""
    about = {
        "recipe": relative_to_run(_without_folders(trained.recipe).to_json(), folder),
        "label_set": asdict(trained.label_set),
        "dimensions": trained.classifier.dimensions is not None,
        "image_dim": trained.image_dim,
        "vocab_size": trained.vocab_size,
        "num_frames": trained.num_frames,
        "num_views": trained.num_views,
        "vision_signature": trained.vision_signature,
        "tokenizer_signature": trained.tokenizer_signature,
        "label_tokens": [] if trained.classifier.names is None else trained.classifier.names.label_tokens,
        "data": trained.data,
        "result": asdict(trained.result),
    }
    write_tensors(folder / name, trained.classifier.state_dict(), about)


def _without_folders(recipe: Recipe) -> Recipe:
    """The recipe without the folders of the run, which the weights do not need; the manifest has them."""
    folders = {"out": None, "store": None, "cache": None}
    return recipe.model_copy(update={"run": recipe.run.model_copy(update=folders)})


def load_trained(
    folder: Path, device: str = "cpu", name: str = MODEL_FILE, *, places: Recipe | None = None
) -> TrainedModel:
    """Loads the model of a finished training, in evaluation mode and without gradients.

    Args:
        folder: The run directory.
        device: The device to load it to.
        name: The file in the run directory.
        places: The run's recipe with its data and models where they are now; by default where they were.

    Raises:
        RunError: If the run is not trained, or the file does not hold what its header says.
        DamagedError: If the file is damaged.
        WeightsError: If the model's own encoder cannot be found, or differs from the one it was trained from.
        EngineError: If the device cannot be used.
    """
    file = folder / name
    if not file.exists():
        is_unfinished = any((folder / state).exists() for state in (RESUME_FILE, PREVIOUS_FILE))
        held = f"{folder} holds {'an unfinished training' if is_unfinished else 'no trained model'}"
        writer = run_writer(folder)
        if writer is not None:
            raise RunLockedError(f"{held} yet; it is being written by {writer}", hint="wait for it to end")
        raise RunError(held, hint="run mien train" + (" again to resume it" if is_unfinished else " first"))
    target = open_device(device)
    weights, about = read_tensors(file)
    try:
        trained = _rebuild(about, file, places, [tensor.numel() for tensor in weights.values()])
        trained.classifier.load_state_dict(dict(weights))
    except WeightsError:
        raise  # about the encoder's own files: this file is intact
    except Exception as error:  # a header may hold anything
        raise RunError(
            f"{file} does not hold what its header says: {first_line(error)}",
            hint="read it with the version of mien that wrote it, or train again",
        ) from error
    trained.classifier.eval().requires_grad_(requires_grad=False).to(target)
    return trained


def model_digest(folder: Path) -> str:
    """Identifies the weights of a run: the digest in the header of `model.safetensors`.

    `load_trained` checks whether it is right.

    Raises:
        RunError: If the run is not trained.
    """
    return _read_header(folder / MODEL_FILE, "digest")


def model_recipe(folder: Path) -> dict[str, Any]:
    """The table of the recipe in the header of `model.safetensors`; nothing is built and no weight is read.

    Raises:
        RunError: If the run is not trained.
        DamagedError: If the header is not that of a trained model.
    """
    file = folder / MODEL_FILE
    try:
        return dict(parse_json(_read_header(file, _KEY))["recipe"])
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedError(
            f"{file} has no recipe: {error!r}", hint="get the file again, or train again"
        ) from error


def _read_header(file: Path, key: str) -> str:
    try:
        require_file(file)
        with safe_open(file, framework="np") as opened:
            return str((opened.metadata() or {})[key])
    except (SafetensorError, OSError, MemoryError, KeyError) as error:
        raise RunError(
            f"{file} does not say which weights it holds: {error}", hint="run mien train first"
        ) from error


def _rebuild(
    about: Mapping[str, Any], file: Path, places: Recipe | None, sizes: Sequence[int]
) -> TrainedModel:
    """The model that a header describes, with random weights; ValueError if it is much larger than saved."""
    recipe = Recipe.parse(resolve_in_run(about["recipe"], file.parent), where=str(file))
    if places is not None and is_same_recipe(recipe, places):
        recipe = places
    labels = about["label_set"]
    label_set = LabelSet(name=labels["name"], labels=tuple(labels["labels"]), exclusive=labels["exclusive"])
    # Building draws random weights; the caller's random state must not change.
    build = partial(_build, about, recipe, len(label_set))
    check_size(build, sizes)
    with torch.random.fork_rng(devices=[]):
        classifier = build()
        _require_same_encoder(recipe, about["vision_signature"], file)
        classifier.encoder = build_encoder(recipe)
    return TrainedModel(
        classifier=classifier,
        recipe=recipe,
        label_set=label_set,
        image_dim=about["image_dim"],
        vocab_size=about["vocab_size"],
        num_frames=about.get("num_frames", 1),
        num_views=about.get("num_views", 1),
        vision_signature=about["vision_signature"],
        tokenizer_signature=about["tokenizer_signature"],
        data=about["data"],
        result=TrainResult(**about["result"]),
    )


def _build(about: Mapping[str, Any], recipe: Recipe, num_labels: int) -> Classifier:
    """The classifier that a header describes, without its encoder."""
    fusion = build_fusion(
        recipe.model,
        image_dim=about["image_dim"],
        vocab_size=about["vocab_size"],
        num_frames=about.get("num_frames", 1),
        num_views=about.get("num_views", 1),
    )
    return Classifier(
        fusion,
        num_labels,
        dimensions=about["dimensions"],
        labels=recipe.train.heads != "dimensions",
        label_tokens=about.get("label_tokens", ()),
    )


def _require_same_encoder(recipe: Recipe, trained_with: str, file: Path) -> None:
    """Raises WeightsError if the encoder files are not those that a trained encoder started from."""
    if not trains_encoder(recipe):
        return
    signature = resolve_vision_encoder(recipe.features).signature
    if signature != trained_with:
        raise WeightsError(
            f"{file} holds changes to the encoder {recipe.features.vision!r}, whose files differ now "
            f"({_short(signature)}, not {_short(trained_with)})",
            hint="restore the original encoder, or train again",
        )


# --- Files -------------------------------------------------------------------------------------------


def write_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors and JSON values as one file, atomically, with a digest of both."""
    detached = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"schema": _SCHEMA, **about}, allow_nan=False)
    atomic_write_bytes(file, save(detached, metadata={_KEY: text, "digest": _digest(detached, text)}))


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors and the JSON values that `write_tensors` wrote, also those of older schemas.

    Raises:
        DamagedError: If the file cannot be read, or its digest differs.
        RunError: If a newer version of mien wrote it.
    """
    try:
        require_file(file)
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = header[_KEY]
        about: dict[str, Any] = parse_json(text)
        schema = about["schema"]
        if schema in (1, _SCHEMA) and header["digest"] != _digest(tensors, text):
            raise ValueError("its digest differs")
    except (SafetensorError, OSError, MemoryError, KeyError, ValueError, TypeError, RuntimeError) as error:
        raise DamagedError(
            f"{file} is damaged: {first_line(error)}", hint="delete it and run mien train again"
        ) from error
    if schema == 1:
        return _rename_parameters(tensors), {**about, "schema": _SCHEMA}
    if schema != _SCHEMA:
        raise RunError(
            f"{file} has schema {schema!r}, not {_SCHEMA}",
            hint="read it with the version of mien that wrote it",
        )
    return tensors, about


# From schema 1 to 2: what version 0.1.0 called the parameters of a Q-Former, and of the frame embedding.
# Names of `resume.safetensors` begin with a part.
_QFORMER_NAMES: Final = {
    "queries": "query_tokens",
    "words.weight": "word_embeddings.weight",
    "positions.weight": "position_embeddings.weight",
}
_LANDMARK: Final = "layers.0.self_attention.query_key_value.weight"  # every Q-Former has it
_PART: Final = r"(?P<part>(?:model\.|best\.|average\.)?)"
_QUERIES: Final = re.compile(_PART + r"(?P<prefix>fusion\.(?:.*\.)?)queries")
_QFORMER_NAME: Final = re.compile(
    _PART + r"(?P<prefix>fusion\.(?:.*\.)?)(?P<name>" + "|".join(map(re.escape, _QFORMER_NAMES)) + ")"
)
_FRAME_NAME: Final = re.compile(_PART + r"fusion\.places\.(?P<name>frames|views)")


def _rename_parameters(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of schema 1 by their names of schema 2. Only a Q-Former's own parameters are renamed."""
    qformers = set()
    for name in tensors:
        match = _QUERIES.fullmatch(name)
        if match and name.removesuffix("queries") + _LANDMARK in tensors:
            qformers.add(match["prefix"])
    renamed = {}
    for name, tensor in tensors.items():
        new = name
        match = _QFORMER_NAME.fullmatch(name)
        if match and match["prefix"] in qformers:
            new = match["part"] + match["prefix"] + _QFORMER_NAMES[match["name"]]
        elif match := _FRAME_NAME.fullmatch(name):
            new = f"{match['part']}fusion.frame_embedding.{match['name']}"
        renamed[new] = tensor
    return renamed


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        sha.update(tensor.numpy().reshape(-1).data)
    return sha.hexdigest()


def _short(value: object) -> str:
    return repr(value.name) if isinstance(value, LabelSet) else str(value)[:12]
