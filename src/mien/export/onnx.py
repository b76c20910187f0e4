"""Writes a trained model as ONNX files, which predict without torch.

`classifier.onnx` is stage 2: image tokens and token ids become the scores that `Predictor` gives, calibrated
if the run was evaluated. `encoder.onnx` makes image tokens of pixels. `tokenizer.json` pads and cuts texts,
and `config.json` says how images are prepared. Descriptions come from elsewhere.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from mien.errors import ConfigError, RunError, first_line
from mien.evaluate.calibration.calibrate import Calibration
from mien.features.trainable_encoder import TrainableEncoder
from mien.files import atomic_folder, atomic_write_json, require_new_folder
from mien.model.checkpoint import TrainedModel
from mien.predict.loading import LoadedModel
from mien.predict.saved.config import ModelConfig, model_config
from mien.recipe.data import lowest_dimension

__all__ = [
    "CLASSIFIER",
    "ENCODER",
    "TOKENIZER",
    "OnnxConfig",
    "OnnxExport",
    "ScoringModel",
    "example_inputs",
    "export_onnx",
    "token_model",
]

CLASSIFIER: Final = "classifier.onnx"
ENCODER: Final = "encoder.onnx"
TOKENIZER: Final = "tokenizer.json"
_CONFIG: Final = "config.json"
_OPSET: Final = 18
_TOLERANCE: Final = 1e-4
_INSTALL: Final = 'install them with: pip install "mien[onnx-export]"'
# Two samples of a text of this length show that neither is fixed in the graph.
_EXAMPLE_BATCH, _EXAMPLE_TOKENS = 2, 16


class OnnxGraph(TypedDict):
    """The names of tensors of an ONNX model.

    Attributes:
        inputs: The names of its inputs, in order.
        outputs: The names of its outputs, in order.
    """

    inputs: list[str]
    outputs: list[str]


class OnnxModels(TypedDict):
    """The ONNX models of a folder.

    Attributes:
        opset: The version of the ONNX operators.
        classifier: The model from image tokens and token ids to scores.
        encoder: The model from pixels to image tokens; missing if the classifier reads no image.
    """

    opset: int
    classifier: OnnxGraph
    encoder: NotRequired[OnnxGraph]


class OnnxConfig(ModelConfig):
    """What a model as ONNX takes and gives.

    Attributes:
        onnx: The ONNX models.
    """

    onnx: OnnxModels


@dataclass(frozen=True, slots=True, kw_only=True)
class OnnxExport:
    """What was written, and by how much the ONNX models differ from torch on random inputs."""

    path: Path
    files: tuple[str, ...]
    largest_difference: float


class ScoringModel(nn.Module):
    """Stage 2 as `Predictor` applies it: calibrated scores, and dimensions within their scale.

    Args:
        trained: The trained model.
        calibration: Of the run, or None.
    """

    def __init__(self, trained: TrainedModel, calibration: Calibration | None) -> None:
        super().__init__()
        self.classifier = trained.classifier
        self.exclusive = trained.label_set.exclusive
        # Features of a frozen encoder were cached as float16.
        self.rounds_image = trained.classifier.encoder is None
        self.lowest = lowest_dimension(trained.recipe.data.name)
        is_linear = calibration is not None and calibration.method != "none"
        lines = (calibration.slopes, calibration.offsets) if is_linear and calibration else ((1.0,), (0.0,))
        self.register_buffer("slopes", torch.tensor(lines[0], dtype=torch.float32))
        self.register_buffer("offsets", torch.tensor(lines[1], dtype=torch.float32))
        self.slopes: Tensor
        self.offsets: Tensor

    def forward(
        self,
        image: Float[Tensor, "batch patch image_dim"] | None = None,
        text_ids: Int[Tensor, "batch text"] | None = None,
        text_mask: Bool[Tensor, "batch text"] | None = None,
    ) -> tuple[Tensor, ...]:
        """(scores, dimensions), or what the model has of these."""
        if image is not None and self.rounds_image:
            image = image.half().float()
        output = self.classifier.classify(image, text_ids, text_mask)
        outputs: tuple[Tensor, ...] = ()
        if self.classifier.predicts_labels:
            logits = output.logits.log_softmax(dim=-1) if self.exclusive else output.logits
            logits = self.slopes * logits + self.offsets
            outputs = (logits.softmax(dim=-1) if self.exclusive else logits.sigmoid(),)
        if output.dimensions is not None:
            outputs = (*outputs, output.dimensions.clamp(self.lowest, 1.0))
        return outputs


def export_onnx(loaded: LoadedModel, folder: Path) -> OnnxExport:
    """Writes the classifier, the encoder, the tokenizer and their settings into a new folder.

    Both models are run with ONNX Runtime and compared with torch before the folder appears.

    Args:
        loaded: The model; its describing engine is not needed.
        folder: A new or empty folder.

    Raises:
        ConfigError: The libraries for the export are not installed.
        DataError: The folder is not empty, or cannot be written.
        RunError: The model cannot be expressed in ONNX, or the ONNX model gives other numbers.
    """
    _require_libraries()
    require_new_folder(folder)
    trained = loaded.trained
    with atomic_folder(folder) as target:
        model = ScoringModel(trained, loaded.calibration).eval()
        inputs = example_inputs(loaded)
        outputs = _output_names(trained)
        difference = _write(model, inputs, outputs, target / CLASSIFIER)
        onnx: OnnxModels = {
            "opset": _OPSET,
            "classifier": {"inputs": list(inputs), "outputs": list(outputs)},
        }
        if loaded.vision is not None:
            encoder = token_model(loaded)
            size = loaded.vision.preprocessing.size
            blank = {"pixels": _random_pixels(size)}
            difference = max(difference, _write(encoder, blank, ("tokens",), target / ENCODER))
            onnx["encoder"] = {"inputs": ["pixels"], "outputs": ["tokens"]}
        if loaded.tokenizer is not None:
            loaded.tokenizer.save_padded(target / TOKENIZER)
        config = model_config(
            trained, vision=loaded.vision, tokenizer=loaded.tokenizer, calibration=loaded.calibration
        )
        written: OnnxConfig = {**config, "onnx": onnx}
        atomic_write_json(target / _CONFIG, written)
        files = tuple(sorted(file.name for file in target.iterdir()))
    return OnnxExport(path=folder, files=files, largest_difference=difference)


def token_model(loaded: LoadedModel) -> nn.Module:
    """The encoder that was trained with the classifier, or the frozen one: pixels in, tokens out."""
    assert loaded.vision is not None
    encoder = loaded.trained.classifier.encoder
    vit = encoder.vit if isinstance(encoder, TrainableEncoder) else loaded.vision.build()
    return vit.eval()


def example_inputs(
    loaded: LoadedModel, batch: int = _EXAMPLE_BATCH, tokens: int = _EXAMPLE_TOKENS, seed: int = 0
) -> dict[str, Tensor]:
    """Random inputs of the classifier by name, in its order; the first subject has no description."""
    trained, fusion = loaded.trained, loaded.trained.classifier.fusion
    generator = torch.Generator().manual_seed(seed)
    found: dict[str, Tensor] = {}
    if loaded.vision is not None and fusion.uses_image:
        views = trained.num_frames * trained.num_views
        shape = (batch, views * loaded.vision.shape[0], loaded.vision.shape[1])
        found["image"] = torch.randn(shape, generator=generator)
    if loaded.tokenizer is not None and fusion.uses_text:
        size = (batch, min(tokens, loaded.tokenizer.max_tokens))
        found["text_ids"] = torch.randint(loaded.tokenizer.vocab_size, size, generator=generator)
        lengths = torch.randint(1, size[1] + 1, (batch, 1), generator=generator)
        lengths[0] = 0
        found["text_mask"] = torch.arange(size[1]) < lengths
    return found


def _random_pixels(size: int) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randint(256, (_EXAMPLE_BATCH, size, size, 3), generator=generator).to(torch.uint8)


def _output_names(trained: TrainedModel) -> tuple[str, ...]:
    scores = ("scores",) if trained.classifier.predicts_labels else ()
    return (*scores, "dimensions") if trained.classifier.dimensions is not None else scores


# --- One file ------------------------------------------------------------------------------------------


def _write(model: nn.Module, inputs: Mapping[str, Tensor], outputs: tuple[str, ...], file: Path) -> float:
    """Writes one model, and returns by how much it differs from torch."""
    with torch.inference_mode():
        expected = model(**inputs)
    try:
        with _quiet(), torch.no_grad():
            program = torch.onnx.export(
                model,
                (),
                kwargs=dict(inputs),
                dynamo=True,
                verbose=False,
                opset_version=_OPSET,
                input_names=list(inputs),
                output_names=list(outputs),
                dynamic_shapes=_dynamic_shapes(inputs),
            )
        assert program is not None
        program.save(file, external_data=False)
    except Exception as error:  # the exporter raises errors of many kinds
        raise RunError(
            f"the model cannot be written as ONNX: {first_line(error, with_type=True)}",
            hint="export models with the fusions of mien, and with a recent torch and onnxscript",
        ) from error
    found = _run(file, inputs)
    expected = expected if isinstance(expected, tuple) else (expected,)
    difference = max(float(np.abs(a - b.numpy()).max()) for a, b in zip(found, expected, strict=True))
    if not difference <= _TOLERANCE * max(1.0, *(float(value.abs().max()) for value in expected)):
        raise RunError(
            f"{file.name} differs from torch by {difference:.2g}",
            hint="use other versions of torch or onnxscript",
        )
    return difference


def _dynamic_shapes(inputs: Mapping[str, Tensor]) -> dict[str, dict[int, Any]]:
    """Any number of samples; texts of any length that is not shorter than the longest name of a label."""
    batch = torch.export.Dim("batch", min=1)
    text = torch.export.Dim("text", min=_EXAMPLE_TOKENS // 2, max=512)
    is_text = {name: name.startswith("text") for name in inputs}
    return {name: {0: batch, 1: text} if is_text[name] else {0: batch} for name in inputs}


def _run(file: Path, inputs: Mapping[str, Tensor]) -> list[np.ndarray]:
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = max(1, torch.get_num_threads())
    session = onnxruntime.InferenceSession(str(file), settings, providers=["CPUExecutionProvider"])
    found: list[np.ndarray] = session.run(None, {name: value.numpy() for name, value in inputs.items()})
    return found


def _require_libraries() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f"the export needs libraries for ONNX: {first_line(error)}", hint=_INSTALL
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keeps the exporter's progress, and its warnings about libraries that no model needs, off stderr."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
