"""Predicts how people in images appear to feel, with the model of a run.

The run determines everything: the marking, the describing engine and its prompt, the encoder and the
tokenizer. None of it is an argument, so none of it can differ from the training. If the run was evaluated,
scores are calibrated and come with thresholds.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8

from mien.batches.batch import TextInputs
from mien.batches.builder import view_markings
from mien.describe.engine import Engine, Request
from mien.describe.prompts import resolve_prompt
from mien.describe.requests import DescriptionRequest, RequestBuilder
from mien.errors import DataError, MienError, RunError
from mien.evaluate.calibration.calibrate import Calibration
from mien.features.device import resolve_device
from mien.features.image_reader import load_pixels
from mien.features.text import TextTokenizer
from mien.features.vision_encoder import VisionEncoderSpec
from mien.labels import LabelSet
from mien.media.images import Marking
from mien.media.memory import image_bytes
from mien.media.views import OpenedPhoto
from mien.model.checkpoint import TrainedModel
from mien.model.classifier import ClassifierOutput, scores_from_logits
from mien.predict.base import SubjectPredictor, describe_prepared, load_batches
from mien.predict.detect.open import resolve_detector
from mien.predict.loading import LoadedModel, ModelSource, find_source, load_model, require_same
from mien.recipe.data import lowest_dimension
from mien.recipe.describe import MarkStyle
from mien.recipe.zero_shot import Answer, ZeroShotMethod
from mien.types import DIMENSIONS, Description, Prediction, Subject

if TYPE_CHECKING:
    from mien.predict.detect.detector import Detector
    from mien.predict.saved.save import SavedModel
    from mien.predict.zero_shot.open import Labels
    from mien.predict.zero_shot.predictor import ZeroShotPredictor

__all__ = ["Predictor", "TextStage"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class TextStage:
    """Describes subjects and tokenizes the descriptions."""

    engine: Engine
    tokenizer: TextTokenizer
    request_builder: RequestBuilder


@dataclass(frozen=True, slots=True, kw_only=True)
class _Inputs:
    """The inputs for one subject; None for inputs that the fusion does not use."""

    subject: Subject
    pixels: UInt8[np.ndarray, "image row column channel"] | None = None
    request: DescriptionRequest | None = None
    prepared: Request | None = None
    description: Description | None = None

    @property
    def num_bytes(self) -> int:
        """The memory of the images that the describing engine gets."""
        images = self.prepared.images if self.prepared else ()
        return sum(image_bytes(image.mode, *image.size) for image in images)


class Predictor(SubjectPredictor):
    """Predicts how people in images appear to feel, with a trained run.

    Attributes:
        trained: The model.
        vision: The encoder; None if the fusion uses no images.
        text_stage: Describes people; None if the fusion uses no text.
        calibration: Makes scores probabilities; None if the run was not evaluated.

    Example:
        >>> import mien
        >>> predictor = mien.Predictor.from_pretrained("runs/playhouse")  # doctest: +SKIP
        >>> results = predictor("photo.jpg", boxes=[(40, 30, 210, 380)])  # doctest: +SKIP
        >>> results[0].top(3)  # doctest: +SKIP
        (('Happiness', 0.93), ('Excitement', 0.79), ('Esteem', 0.44))
    """

    has_trained_model = True

    def __init__(
        self,
        trained: TrainedModel,
        *,
        engine: Engine | None,
        tokenizer: TextTokenizer | None,
        vision: VisionEncoderSpec | None,
        calibration: Calibration | None = None,
    ) -> None:
        self.trained = trained
        self._has_warned = False
        self.calibration = calibration
        self._recipe = trained.recipe
        self._classifier = trained.classifier.eval()
        self._device = next(self._classifier.parameters()).device
        features = self._recipe.features
        require_same("encoder", features.vision, vision, trained.vision_signature)
        require_same("tokenizer", features.tokenizer, tokenizer, trained.tokenizer_signature)
        assert tokenizer is None or engine is not None, "a tokenizer needs an engine"
        self.vision = vision
        self._source: tuple[ModelSource, LoadedModel] | None = None
        self.text_stage: TextStage | None = None
        if engine is not None and tokenizer is not None:
            self.text_stage = self._open_text_stage(engine, tokenizer)

    def __repr__(self) -> str:
        recipe = self._recipe
        return (
            f"Predictor({recipe.name!r}, fusion={recipe.model.fusion!r}, "
            f"labels={self.trained.label_set.name!r}, device={str(self._device)!r})"
        )

    @classmethod
    def from_pretrained(
        cls,
        run: str | os.PathLike[str],
        *,
        device: str = "auto",
        engine: Engine | None = None,
        detector: str | os.PathLike[str] | Detector | None = None,
        overrides: Sequence[str] = (),
    ) -> Predictor:
        """Loads a trained model, with its encoder, tokenizer and describing engine.

        Args:
            run: The run directory of a trained model, a folder that `save_pretrained` wrote, or a name on the
                Hugging Face Hub, also as NAME@REVISION.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest that is available.
            engine: Replaces the describing engine that the recipe names.
            detector: Finds the people where no boxes are given: a name or path as in `open_detector`, such as
                "transformers", or an opened detector. None takes the whole image as the subject.
            overrides: New places of models that have moved, such as "features.vision=/models/clip".

        Raises:
            RunError: The run is not trained, its encoder or tokenizer has changed since, or a saved folder
                has files that loading must not read.
            DamagedError: A file of a saved folder is missing or has changed.
            WeightsError: Weights that the run needs are not available.
            EngineError: The device is not available.
        """
        device = resolve_device(device)
        source = find_source(run, overrides)
        loaded = load_model(source, device=device, engine=engine)
        predictor = cls(
            loaded.trained,
            engine=loaded.engine,
            tokenizer=loaded.tokenizer,
            vision=loaded.vision,
            calibration=loaded.calibration,
        )
        predictor._source = (source, loaded)
        predictor.detector = resolve_detector(detector, device=device)
        return predictor

    def save_pretrained(self, folder: str | os.PathLike[str]) -> SavedModel:
        """Saves the model as one folder, which `from_pretrained` loads on any machine.

        It has the weights, the labels with their thresholds, the prompt, the preprocessing, the recipe, a
        model card, and a digest of each file. Models from the Hub are named with their commits; those in
        local folders are copied.

        Args:
            folder: A new or empty folder.

        Returns:
            What was saved: the folder, its size, and the models of others that it uses.

        Raises:
            DataError: The folder is not empty, or cannot be written.
            RunError: The recipe names code of its own.
            WeightsError: A model that it uses is not available.
        """
        from mien.predict.saved.save import save_model

        return save_model(*self._require_source(), Path(folder))

    def push_to_hub(self, name: str, *, private: bool = True, message: str | None = None) -> str:
        """Saves the model and uploads it to the Hugging Face Hub, with one commit.

        Args:
            name: The id, such as "you/emotic". The repository is created unless it exists.
            private: Whether a new repository is private.
            message: The message of the commit.

        Returns:
            The address of the commit.

        Raises:
            RunError: As in `save_pretrained`.
            WeightsError: As in `save_pretrained`; or the Hub refuses the upload, or cannot be reached.
        """
        from mien.predict.saved.push import push_model

        return push_model(*self._require_source(), name, private=private, message=message)

    def _require_source(self) -> tuple[ModelSource, LoadedModel]:
        if self._source is None:
            raise RunError(
                "this predictor was not loaded from a run", hint="open it with mien.Predictor.from_pretrained"
            )
        return self._source

    @staticmethod
    def zero_shot(
        model: str | None = None,
        labels: Labels = "emotic",
        *,
        method: ZeroShotMethod = "likelihood",
        exclusive: bool | None = None,
        device: str = "auto",
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto",
        engine: Engine | None = None,
        answer: Answer = "yes_no",
        question: str | None = None,
        prompt: str = "paper",
        encoder: str | None = "sentence-transformers/all-MiniLM-L6-v2",
        image_prompts: Sequence[str] | None = None,
        marking: MarkStyle = "red_box",
        detector: str | os.PathLike[str] | Detector | None = None,
        calibration: Calibration | str | os.PathLike[str] | None = None,
    ) -> ZeroShotPredictor:
        """A predictor that needs no training, for known labels or your own.

        Its scores say which label fits a person better than another, or the same label which person; their
        status is "uncalibrated", because they are not probabilities of what annotators would say.

        Args:
            model: A vision-language model (a CLIP or SigLIP for method "similarity"): a Hugging Face id, a
                folder, or "playhouse" for the embedded one. By default HuggingFaceTB/SmolVLM-500M-Instruct,
                or google/siglip-base-patch16-224.
            labels: "emotic", "bold", "caers", a list of names, or a mapping from names to definitions.
            method: "likelihood": how likely the model's answer is. "words": what its description says.
                "similarity": how alike image and label are.
            exclusive: Whether exactly one of your own labels holds; the scores then sum to 1.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto" for the fastest that is available.
            dtype: Data type of a vision-language model's weights; "auto" takes a fast one.
            engine: Runs the vision-language model, such as a server's; instead of `model`.
            answer: For "likelihood": "yes_no" asks about each label, "label" for the label's name.
            question: For "likelihood": another wording, with `<label>` and `<definition>` where they are to
                stand. Call the subject "the person in the red box".
            prompt: For "words": the id of the prompt for descriptions.
            encoder: For "words": the sentence encoder; None to score only by the names in the description.
            image_prompts: For "similarity": other prompts, with {} where the label is to stand.
            marking: How the person is marked in the image.
            detector: Finds the people where no boxes are given, as in `from_pretrained`.
            calibration: Turns scores into probabilities, fitted to scores of this very predictor: a
                `Calibration`, or the file or the run that `mien calibrate` has written.

        Raises:
            WeightsError: Weights are not available.
            ConfigError: Options contradict each other.
            DataError: The labels are empty or not distinct.
            EngineError: The device is not available, or no server answers.

        Example:
            >>> predictor = mien.Predictor.zero_shot(labels=["calm", "afraid"])  # doctest: +SKIP
            >>> predictor("photo.jpg", boxes=[(40, 30, 210, 380)])[0].top(1)  # doctest: +SKIP
            (('calm', 0.71),)
        """
        from mien.predict.zero_shot.open import open_zero_shot

        predictor = open_zero_shot(
            model,
            labels,
            method=method,
            exclusive=exclusive,
            device=device,
            dtype=dtype,
            engine=engine,
            answer=answer,
            question=question,
            prompt=prompt,
            encoder=encoder,
            image_prompts=image_prompts,
            marking=marking,
            calibration=calibration,
        )
        predictor.detector = resolve_detector(detector, device=device)
        return predictor

    def each(
        self, subjects: Iterable[Subject], *, batch_size: int | None = None
    ) -> Iterator[Prediction | MienError]:
        """The prediction or the error of each subject, in order, with constant memory.

        An image that cannot be read, a box outside of it, and a failed description are errors of one
        subject. Missing weights concern all subjects and are raised.

        Args:
            subjects: Subjects, from any iterable.
            batch_size: Subjects per batch; by default that of the run's recipe.
        """
        default = batch_size or self._recipe.run.fixed_batch_size
        choose = None if batch_size else self._choose_batch_size
        for batch in load_batches(subjects, self._load_inputs, batch_size=default, choose_batch_size=choose):
            inputs = self._describe(batch)
            found = iter(self._predict_batch([item for item in inputs if isinstance(item, _Inputs)]))
            for item in inputs:
                yield next(found) if isinstance(item, _Inputs) else item

    def _open_text_stage(self, engine: Engine, tokenizer: TextTokenizer) -> TextStage:
        options = self._recipe.describe
        request_builder = RequestBuilder(
            engine=engine,
            prompt=resolve_prompt(options),
            label_set=self.trained.label_set,
            marking=Marking(style=options.marking),
            clip=options.clip,
        )
        return TextStage(engine=engine, tokenizer=tokenizer, request_builder=request_builder)

    @property
    def markings(self) -> tuple[Marking, ...]:
        """How the subject is marked in each view that the encoder reads."""
        return view_markings(self._recipe.features, Marking(style=self._recipe.feature_marking))

    def scores(self, output: ClassifierOutput) -> Float[np.ndarray, "batch label"]:
        """Scores from 0 to 1 of what the classifier says; calibrated if the run was evaluated."""
        return self._calibrate(_uncalibrated(output, self.trained.label_set))

    def _calibrate(self, scores: Float[np.ndarray, "batch label"]) -> Float[np.ndarray, "batch label"]:
        if self.calibration is not None:
            scores = self.calibration.apply(scores)
        bounded: np.ndarray = np.minimum(scores, 1.0)  # rounding may lift a softmax above 1; NaN stays
        return bounded

    # --- Load, describe, classify ---

    def _choose_batch_size(self, inputs: _Inputs) -> int:
        """The batch size of the recipe, or the one that the describing engine chooses."""
        run, chosen = self._recipe.run, None
        if run.batch_size == "auto" and self.text_stage is not None and inputs.prepared is not None:
            chosen = self.text_stage.engine.best_batch_size(inputs.prepared)
        return chosen or run.fixed_batch_size

    def _load_inputs(self, subject: Subject, photo: OpenedPhoto) -> _Inputs | DataError:
        """The images for both stages, or the error of this subject."""
        inputs = _Inputs(subject=subject)
        try:
            if self.text_stage is not None:
                request = self.text_stage.request_builder.build(subject)
                prepared = self.text_stage.request_builder.prepare(request, photo)
                inputs = replace(inputs, request=request, prepared=prepared)
            if self.vision is not None:
                inputs = replace(inputs, pixels=self._load_pixels(subject, self.vision, photo))
        except DataError as error:
            return error
        return inputs

    def _load_pixels(
        self, subject: Subject, vision: VisionEncoderSpec, photo: OpenedPhoto
    ) -> UInt8[np.ndarray, "image row column channel"]:
        """The frames of each view in turn, as the encoder takes them."""
        num_frames = self.trained.num_frames
        if len(subject.images) != num_frames:
            raise DataError(
                f"subject {subject.id!r} has {len(subject.images)} frames, and the run was trained on "
                f"{num_frames}",
                hint=f"give {num_frames} frames per subject",
            )
        return load_pixels(subject, self.markings, vision.square, photo=photo)

    def _describe(self, inputs: Sequence[_Inputs | DataError]) -> list[_Inputs | MienError]:
        """Adds a description to each item, or returns its error in its place."""
        text_stage = self.text_stage
        if text_stage is None:
            return list(inputs)
        requests = [
            (item.request, item.prepared)
            for item in inputs
            if isinstance(item, _Inputs) and item.request is not None and item.prepared is not None
        ]
        described = iter(describe_prepared(text_stage.request_builder, requests))
        found = [
            _add_description(item, next(described)) if isinstance(item, _Inputs) else item for item in inputs
        ]
        if self._recipe.train.missing_descriptions == "error":
            return found
        # As in training, subjects without a description are classified by the image alone.
        return [
            before if isinstance(before, _Inputs) and isinstance(after, MienError) else after
            for before, after in zip(inputs, found, strict=True)
        ]

    def _predict_batch(self, inputs: Sequence[_Inputs]) -> list[Prediction | MienError]:
        if not inputs:
            return []
        output = self._classify(inputs)
        label_set, calibration = self.trained.label_set, self.calibration
        own_scores = _uncalibrated(output, label_set)
        scores = self._calibrate(own_scores)
        sets = None if calibration is None else calibration.name_sets(own_scores)
        has_labels = self._recipe.train.heads != "dimensions"
        dimensions = None if output.dimensions is None else output.dimensions.float().cpu().numpy()
        found: list[Prediction | MienError] = []
        for row, item in enumerate(inputs):
            values = None if dimensions is None else dimensions[row]
            if not (np.isfinite(scores[row]).all() and (values is None or np.isfinite(values).all())):
                found.append(_not_finite(item.subject))
                continue
            inside, bounded = (None, ()) if values is None else self._bound(values, item.subject)
            found.append(
                Prediction(
                    subject_id=item.subject.id,
                    label_set=label_set.name,
                    scores=label_set.decode(scores[row].tolist()) if has_labels else {},
                    dimensions=inside,
                    bounded=bounded,
                    description=item.description,
                    status="no description" if self.text_stage and item.description is None else "ok",
                    thresholds=None if calibration is None else calibration.by_label(),
                    min_confidence=None if calibration is None else calibration.min_confidence,
                    prediction_set=None if sets is None else sets[row],
                    coverage=None if calibration is None else calibration.coverage,
                )
            )
        return found

    def _bound(
        self, values: Float[np.ndarray, " dimension"], subject: Subject
    ) -> tuple[dict[str, float], tuple[str, ...]]:
        """Valence, arousal and dominance within the scale, and which were outside; the first is logged."""
        lowest = lowest_dimension(self._recipe.data.name)
        named = dict(zip(DIMENSIONS, values.tolist(), strict=True))
        inside = {name: min(1.0, max(lowest, value)) for name, value in named.items()}
        bounded = tuple(name for name in named if inside[name] != named[name])
        if bounded and not self._has_warned:
            self._has_warned = True
            log.warning(
                "the model's %s of %a is %.1f/10; values outside of the scale of %.0f to 10 are bounded, "
                "here and later",
                bounded[0],
                subject.id,
                10 * named[bounded[0]],
                10 * lowest,
            )
        return inside, bounded

    @torch.inference_mode()
    def _classify(self, inputs: Sequence[_Inputs]) -> ClassifierOutput:
        image = ids = mask = None
        if self.vision is not None:
            pixels = np.stack([item.pixels for item in inputs if item.pixels is not None])
            if self._classifier.encoder is not None:
                image = torch.from_numpy(pixels).to(self._device)
            else:
                # Through float16, because the model was trained on features that were cached as float16.
                image = self.vision.encoder.encode(pixels).half().float().to(self._device)
        if self.text_stage is not None:
            descriptions = [None if item.description is None else item.description.text for item in inputs]
            texts = TextInputs.encode(descriptions, self.text_stage.tokenizer)
            ids, mask = texts.ids.to(self._device), texts.mask.to(self._device)
        output: ClassifierOutput = self._classifier(image, ids, mask)
        return output


def _uncalibrated(output: ClassifierOutput, label_set: LabelSet) -> Float[np.ndarray, "batch label"]:
    return scores_from_logits(output.logits, exclusive=label_set.exclusive).float().cpu().numpy()


def _not_finite(subject: Subject) -> RunError:
    return RunError(
        f"the model's scores of {subject.id!r} are not finite",
        hint="the weights contain NaN or infinite numbers; train again",
    )


def _add_description(item: _Inputs, found: Description | MienError) -> _Inputs | MienError:
    return found if isinstance(found, MienError) else replace(item, description=found)
