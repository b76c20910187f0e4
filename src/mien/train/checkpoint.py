"""Trained weights on disk: one safetensors file that says what it is, whole or not there.

Goes in: a classifier and what it was trained with. Comes out: the same, checked against its digest.
Knows nothing about: how weights are learned.

`model.safetensors` holds the best weights of a finished training. All that is needed to use them (recipe,
label set, signatures, sizes) stands as JSON in its header, so that weights and words cannot part.
`resume.safetensors` holds an unfinished training between two steps.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from mien.errors import MienError, RunError
from mien.features.device import open_device
from mien.labels import LabelSet
from mien.model.classifier import Classifier
from mien.model.fusion import build_fusion
from mien.recipe import Recipe
from mien.runs import atomic_write_bytes
from mien.train.batch import SplitData

__all__ = [
    "MODEL_FILE",
    "RESUME_FILE",
    "TrainResult",
    "Trained",
    "load_trained",
    "read_tensors",
    "save_trained",
    "write_tensors",
]

MODEL_FILE: Final = "model.safetensors"
RESUME_FILE: Final = "resume.safetensors"
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
    result: TrainResult

    def check(self, data: SplitData) -> None:
        """RunError unless the data are such as the classifier was trained on, so far as it uses them."""
        given = {
            "label set": (data.label_set, self.label_set),
            "image features": (data.images and data.images.signature, self.vision_signature),
            "tokenizer": (data.texts and data.texts.signature, self.tokenizer_signature),
        }
        for what, (got, needed) in given.items():
            if needed is not None and got != needed:
                has = f"no {what}" if got is None else f"the {what} {_short(got)}"
                raise RunError(
                    f"split {data.split!r} has {has}, and the model was trained with {_short(needed)}",
                    hint="evaluate with the recipe that trained the model, or train again",
                )


def save_trained(folder: Path, trained: Trained) -> None:
    """Writes `model.safetensors` into the folder."""
    about = {
        "recipe": trained.recipe.to_json(),
        "label_set": asdict(trained.label_set),
        "dimensions": trained.classifier.dimensions is not None,
        "image_dim": trained.image_dim,
        "vocab_size": trained.vocab_size,
        "vision_signature": trained.vision_signature,
        "tokenizer_signature": trained.tokenizer_signature,
        "data": trained.data,
        "result": asdict(trained.result),
    }
    write_tensors(folder / MODEL_FILE, trained.classifier.state_dict(), about)


def load_trained(folder: Path, device: str = "cpu") -> Trained:
    """The model of a finished training, in evaluation mode; RunError if there is none, or it is damaged."""
    file = folder / MODEL_FILE
    if not file.exists():
        unfinished = (folder / RESUME_FILE).exists()
        raise RunError(
            f"{folder} holds {'an unfinished training' if unfinished else 'no trained model'}",
            hint="run mien train" + (" again: it continues" if unfinished else " first"),
        )
    place = open_device(device)
    weights, about = read_tensors(file)
    try:
        trained = _restore(about, file)
        trained.classifier.load_state_dict(dict(weights))
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
        fusion = build_fusion(recipe.model, image_dim=about["image_dim"], vocab_size=about["vocab_size"])
        classifier = Classifier(fusion, len(label_set), dimensions=about["dimensions"])
    return Trained(
        classifier=classifier,
        recipe=recipe,
        label_set=label_set,
        image_dim=about["image_dim"],
        vocab_size=about["vocab_size"],
        vision_signature=about["vision_signature"],
        tokenizer_signature=about["tokenizer_signature"],
        data=about["data"],
        result=TrainResult(**about["result"]),
    )


def write_tensors(file: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> None:
    """Writes tensors and JSON values as one file, with a digest of both."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps({"schema": _SCHEMA, **about}, allow_nan=False)
    atomic_write_bytes(file, save(kept, metadata={_KEY: text, "digest": _digest(kept, text)}))


def read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote; RunError if it is damaged or of a newer schema."""
    try:
        with safe_open(file, framework="pt") as opened:
            header = opened.metadata() or {}
            tensors = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        text = header[_KEY]
        about: dict[str, Any] = json.loads(text)
        if about["schema"] == _SCHEMA and header["digest"] != _digest(tensors, text):
            raise ValueError("its digest differs")
    except (SafetensorError, OSError, KeyError, ValueError, TypeError) as error:
        raise RunError(
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
