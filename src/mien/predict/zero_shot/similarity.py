"""Scores by how alike an image and words about a label are to a model such as CLIP or SigLIP.

The model sees the marked image and, where there is a box, what is inside of it; the similarities of both are
averaged. Each label stands for the mean of several prompts about its name and its definition. The scores are
what the model was trained to give: CLIP shares of all labels (softmax), SigLIP one probability per label
(sigmoid); where exactly one label holds, always shares.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, Final

import torch
from jaxtyping import Float
from pydantic import JsonValue
from torch import Tensor

from mien.describe.local.processor import load_processor, square_image_size
from mien.digests import digest
from mien.errors import ConfigError, EngineError, MienError, WeightsError, first_line
from mien.media.images import Marking
from mien.media.views import OpenedPhoto, prepare_image, select_frames
from mien.predict.zero_shot.labels import ZeroShotLabels, read_data, words_of
from mien.predict.zero_shot.pretrained import find_pretrained, load_pretrained
from mien.predict.zero_shot.scorer import LabelScores, ScorerInput, ZeroShotScorer
from mien.recipe.describe import MarkStyle
from mien.types import Subject
from mien.weights.model_folder import read_json

__all__ = ["DEFAULT_SIMILARITY_MODEL", "SimilarityScorer"]

DEFAULT_SIMILARITY_MODEL: Final = "google/siglip-base-patch16-224"

_VERSION: Final = 1  # raise it when the same model and prompts give other scores
_MODELS: Final = ("clip", "siglip")  # model types whose scores are known
_CROP: Final = Marking(style="crop")


class SimilarityScorer(ZeroShotScorer):
    """Scores labels by the similarity of image and text.

    Args:
        model: A CLIP or SigLIP: a folder, a Hugging Face id, or "playhouse" for the embedded CLIP.
        labels: What to score.
        device: Where it runs.
        prompts: Other prompts, with {} where the label's name is to stand.
        marking: How the person is marked in the whole image.

    Raises:
        ConfigError: A prompt has no {}.
        WeightsError: The model is not available, or of another type.
    """

    def __init__(
        self,
        model: str,
        labels: ZeroShotLabels,
        *,
        device: str = "cpu",
        prompts: Sequence[str] | None = None,
        marking: MarkStyle = "red_box",
    ) -> None:
        self.labels = labels
        self._folder = find_pretrained(model, embedded_as="clip")
        self._device = device
        self._marking = Marking(style=marking)
        own = None if prompts is None else {"label": list(prompts), "definition": []}
        self._prompts: Mapping[str, Sequence[str]] = own or read_data("image_prompts.json")
        lacking = next((one for one in self._prompts["label"] if "{}" not in one), None)
        if lacking is not None or not self._prompts["label"]:
            raise ConfigError(
                "the list of prompts is empty"
                if lacking is None
                else f"the prompt {lacking!r} does not name the label",
                hint='write {} where the label is to stand, as in "a photo of a person who feels {}"',
            )
        self._type = read_json(self._folder.path / "config.json").get("model_type")
        if self._type not in _MODELS:
            raise WeightsError(
                f"model {self._folder.name} is of type {self._type!r}, not one of {', '.join(_MODELS)}",
                hint='give a CLIP or SigLIP, or use method="likelihood" for a vision-language model',
            )

    @property
    def name(self) -> str:
        return f"similarity/{self._folder.name}"

    @property
    def signature(self) -> Mapping[str, JsonValue]:
        return {
            "scorer": "similarity",
            "version": _VERSION,
            **self._folder.identity(),
            "prompts": digest({name: list(prompts) for name, prompts in self._prompts.items()}),
            "marking": self._marking.digest(),
            "labels": self.labels.digest(),
        }

    def prepare(self, subject: Subject, photo: OpenedPhoto) -> ScorerInput:
        shown = select_frames(subject, "middle_frame")
        markings = [self._marking] if shown.boxes[0] is None else [self._marking, _CROP]
        images = tuple(
            prepare_image(subject, marking=marking, size=self._size, photo=photo) for marking in markings
        )
        return ScorerInput(subject=subject, images=images)

    def score(self, inputs: Sequence[ScorerInput]) -> list[LabelScores | MienError]:
        try:
            logits = iter(self._logits([image for item in inputs for image in item.images]))
        except EngineError as error:
            return [error] if len(inputs) == 1 else [self.score([item])[0] for item in inputs]
        found: list[LabelScores | MienError] = []
        for item in inputs:
            mean = torch.stack([next(logits) for _ in item.images]).mean(0).double()
            is_shared = self._type == "clip" or self.labels.label_set.exclusive
            scores = mean.softmax(-1) if is_shared else mean.sigmoid()
            if not scores.isfinite().all():
                found.append(
                    EngineError(
                        f"the model's scores of {item.subject.id!r} are not numbers", hint="copy it again"
                    )
                )
                continue
            found.append(LabelScores(scores=tuple(scores.clamp(0, 1).tolist())))
        return found

    @torch.inference_mode()
    def _logits(self, images: Sequence[Any]) -> Float[Tensor, "image label"]:
        inputs = self._processor.image_processor(images=list(images), return_tensors="pt")
        try:
            output = self._model.get_image_features(
                pixel_values=inputs["pixel_values"].to(self._model.device)
            )
        except RuntimeError as error:
            raise EngineError(
                f"model {self._folder.name} failed: {first_line(error)}", hint="use a smaller batch_size"
            ) from error
        vectors = torch.nn.functional.normalize(_features(output), dim=-1)
        logits = self._model.logit_scale.exp() * vectors @ self._label_vectors.T
        biased: Tensor = logits + getattr(self._model, "logit_bias", 0.0)
        return biased.float().cpu()

    @cached_property
    @torch.inference_mode()
    def _label_vectors(self) -> Float[Tensor, "label dim"]:
        """The mean of the vectors of a label's prompts, of length 1."""
        rows = [self._embed(self._texts(label)).mean(0) for label in self.labels.label_set.labels]
        return torch.nn.functional.normalize(torch.stack(rows), dim=-1)

    def _texts(self, label: str) -> list[str]:
        definition = self.labels.definitions.get(label)
        about = (
            []
            if definition is None
            else [one.replace("{}", definition) for one in self._prompts["definition"]]
        )
        return [one.replace("{}", words_of(label)) for one in self._prompts["label"]] + about

    def _embed(self, texts: list[str]) -> Float[Tensor, "text dim"]:
        length = self._model.config.text_config.max_position_embeddings
        # SigLIP was trained with texts of full length, and CLIP masks what is added.
        inputs = self._processor.tokenizer(
            texts, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        output = self._model.get_text_features(**inputs.to(self._model.device))
        return torch.nn.functional.normalize(_features(output), dim=-1)

    @cached_property
    def _size(self) -> int | None:
        return square_image_size(self._folder.path)

    @cached_property
    def _processor(self) -> Any:
        return load_processor(self._folder)

    @cached_property
    def _model(self) -> Any:
        return load_pretrained(self._folder, self._device)


def _features(output: Any) -> Tensor:
    """The vectors, which some versions of transformers wrap."""
    found: Tensor = output if isinstance(output, Tensor) else output.pooler_output
    return found
