"""Trained weights on disk: one safetensors file that says what it is, whole or not there.

Goes in: a classifier and what it was trained with. Comes out: the same, checked against its digest.
Knows nothing about: how weights are learned.

`model.safetensors` holds the best weights of a finished training. All that is needed to use them (recipe,
label set, signatures, sizes) stands as JSON in its header, so that weights and words cannot part.
`last.safetensors` has those of its last step, if `run.keep_last`. `best.safetensors` has the best so far of
a training that diverged. `resume.safetensors` holds an unfinished training between two steps, and
`resume.previous.safetensors` the one that was kept before it, in case the former is damaged.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.errors import DamagedError, MienError, RunError, WeightsError
from mien.features.device import open_device
from mien.labels import LabelSet
from mien.model.build import InputSpec
from mien.model.classifier import Classifier
from mien.model.encoder import encoder_of, learns_pictures, vision_of
from mien.model.fusion import build_fusion
from mien.recipe import Recipe
from mien.runs import atomic_write_bytes

__all__ = [
    "BEST_FILE",
    "LAST_FILE",
    "MODEL_FILE",
    "PREVIOUS_FILE",
    "RESUME_FILE",
    "TrainResult",
    "Trained",
    "differing_knobs",
    "load_trained",
    "read_tensors",
    "save_trained",
    "write_tensors",
]

MODEL_FILE: Final = "model.safetensors"
LAST_FILE: Final = "last.safetensors"
BEST_FILE: Final = "best.safetensors"
RESUME_FILE: Final = "resume.safetensors"
PREVIOUS_FILE: Final = "resume.previous.safetensors"
_SCHEMA: Final = 1
_KEY: Final = "mien"  # of our JSON among the header's texts


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainResult:
    """How a training ended: epochs count from 1, the score is of `metric` on val, `steps` are all taken."""

    best_epoch: int
    best_score: float
    metric: str
    steps: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Trained:
    """A trained classifier, and what its inputs must be made with. A signature is None if it is not used."""

    classifier: Classifier
    recipe: Recipe
    label_set: LabelSet
    image_dim: int | None
    vocab_size: int | None
    vision_signature: str | None
    tokenizer_signature: str | None
    data: str
    num_frames: int = 1  # of a subject, and how often each is looked at
    num_views: int = 1
    result: TrainResult

    def check(self, spec: InputSpec, split: str) -> None:
        """RunError unless the inputs of a split are of the kind that the classifier was trained on."""
        given = {
            "label set": (spec.label_set, self.label_set),
            "image features": (spec.vision_signature, self.vision_signature),
            "tokenizer": (spec.tokenizer_signature, self.tokenizer_signature),
            "number of frames": (spec.image_dim and spec.num_frames, self.image_dim and self.num_frames),
            "number of views": (spec.image_dim and spec.num_views, self.image_dim and self.num_views),
        }
        for what, (got, needed) in given.items():
            if needed is not None and got != needed:
                if isinstance(got, LabelSet) and isinstance(needed, LabelSet) and got.name == needed.name:
                    raise _other_labels(split, got, needed)
                has = f"no {what}" if got is None else f"the {what} {_short(got)}"
                raise RunError(
                    f"split {split!r} has {has}, and the model was trained with {_short(needed)}",
                    hint="evaluate with the recipe that trained the model, or train again",
                )

    def check_recipe(self, recipe: Recipe) -> None:
        """RunError unless it was trained by this recipe; `[run]` may differ."""
        ours, theirs = self.recipe.digest(), recipe.digest()
        if ours != theirs:
            knobs = ", ".join(differing_knobs(self.recipe, recipe))
            raise RunError(
                f"the model was trained by recipe {ours[:12]}, and this run is of {theirs[:12]}: {knobs}",
                hint="bring back the model of this run, or train again",
            )


def differing_knobs(one: Recipe, other: Recipe) -> list[str]:
    """The keys outside of `[run]`, such as "train.lr", in which two recipes differ, with both values."""
    found = []
    theirs = other.to_json()
    for section, table in one.to_json().items():
        if section == "run" or table == theirs[section]:
            continue
        pairs = {section: (table, theirs[section])}
        if isinstance(table, dict) and isinstance(values := theirs[section], dict):
            pairs = {f"{section}.{key}": (table[key], values[key]) for key in table}
        found += [f"{key} ({a!r}, {b!r})" for key, (a, b) in pairs.items() if a != b]
    return found


def _other_labels(split: str, got: LabelSet, needed: LabelSet) -> RunError:
    """The error for two label sets of one name: where they part."""
    pairs = enumerate(zip_longest(got.labels, needed.labels, fillvalue="nothing"))
    place, (here, there) = next(
        ((place, pair) for place, pair in pairs if pair[0] != pair[1]), (0, ("its rule", "another rule"))
    )
    return RunError(
        f"split {split!r} has the label set {got.name!r} with {len(got)} labels, and the model was trained "
        f"with one of that name with {len(needed)}: label {place} is {here!r} here and {there!r} there",
        hint="evaluate with the recipe that trained the model, or train again",
    )


def save_trained(folder: Path, trained: Trained, name: str = MODEL_FILE) -> None:
    """Writes `model.safetensors`, or another file of its kind, into the folder."""
    about = {
        "recipe": trained.recipe.to_json(),
        "label_set": asdict(trained.label_set),
        "dimensions": trained.classifier.dimensions is not None,
        "image_dim": trained.image_dim,
        "vocab_size": trained.vocab_size,
        "num_frames": trained.num_frames,
        "num_views": trained.num_views,
        "vision_signature": trained.vision_signature,
        "tokenizer_signature": trained.tokenizer_signature,
        "data": trained.data,
        "result": asdict(trained.result),
    }
    write_tensors(folder / name, trained.classifier.state_dict(), about)


def load_trained(folder: Path, device: str = "cpu", name: str = MODEL_FILE) -> Trained:
    """The model of a finished training, in evaluation mode; RunError if there is none, or it is damaged."""
    file = folder / name
    if not file.exists():
        unfinished = any((folder / one).exists() for one in (RESUME_FILE, PREVIOUS_FILE))
        raise RunError(
            f"{folder} holds {'an unfinished training' if unfinished else 'no trained model'}",
            hint="run mien train" + (" again: it continues" if unfinished else " first"),
        )
    place = open_device(device)
    weights, about = read_tensors(file)
    try:
        trained = _restore(about, file)
        trained.classifier.load_state_dict(dict(weights))
    except WeightsError:
        raise  # of an encoder that learned along: the file is as it should be
    except (MienError, KeyError, TypeError, RuntimeError) as error:
        raise RunError(
            f"{file} does not hold what its header says: {_first_line(error)}",
            hint="read it with the mien that wrote it, or train again",
        ) from error
    trained.classifier.eval().requires_grad_(requires_grad=False).to(place)
    return trained


def _restore(about: Mapping[str, Any], file: Path) -> Trained:
    recipe = Recipe.parse(about["recipe"], where=str(file))
    labels = about["label_set"]
    label_set = LabelSet(name=labels["name"], labels=tuple(labels["labels"]), exclusive=labels["exclusive"])
    # The weights are drawn at random before they are read; nobody else's random numbers change by it.
    with torch.random.fork_rng(devices=[]):
        fusion = build_fusion(
            recipe.model,
            image_dim=about["image_dim"],
            vocab_size=about["vocab_size"],
            num_frames=about.get("num_frames", 1),
            num_views=about.get("num_views", 1),
        )
        _require_encoder(recipe, about["vision_signature"], file)
        labels = recipe.train.heads != "dimensions"
        classifier = Classifier(fusion, len(label_set), dimensions=about["dimensions"], labels=labels)
        classifier.encoder = encoder_of(recipe)
    return Trained(
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


def _require_encoder(recipe: Recipe, trained_with: str, file: Path) -> None:
    """WeightsError if the encoder that learned along began as another than is found now."""
    if not learns_pictures(recipe):
        return
    found = vision_of(recipe.features).signature
    if found != trained_with:
        raise WeightsError(
            f"{file} holds what the encoder {recipe.features.vision!r} has learned, and another one is found "
            f"now ({_short(found)}, not {_short(trained_with)})",
            hint="bring back the encoder of then, or train again",
        )


def write_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors and JSON values as one file, with a digest of both."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"schema": _SCHEMA, **about}, allow_nan=False)
    atomic_write_bytes(file, save(kept, metadata={_KEY: text, "digest": _digest(kept, text)}))


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote; DamagedError if it is not, RunError if it is of a newer schema."""
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = header[_KEY]
        about: dict[str, Any] = json.loads(text)
        if about["schema"] == _SCHEMA and header["digest"] != _digest(tensors, text):
            raise ValueError("its digest differs")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise DamagedError(
            f"{file} is damaged: {_first_line(error)}", hint="delete it and run mien train again"
        ) from error
    if about["schema"] != _SCHEMA:
        raise RunError(
            f"{file} has schema {about['schema']!r}, not {_SCHEMA}",
            hint="read it with the mien that wrote it",
        )
    return tensors, about


def _digest(tensors: Mapping[str, Tensor], text: str) -> str:
    sha = hashlib.sha256(text.encode())
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        sha.update(tensor.numpy().reshape(-1).data)
    return sha.hexdigest()


def _short(value: object) -> str:
    return repr(value.name) if isinstance(value, LabelSet) else str(value)[:12]


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
