"""The section `[train]`: how the weights are learned."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, field_validator, model_validator

from mien.errors import nearest_hint
from mien.recipe.options import Options
from mien.recipe.split_names import fold_split
from mien.registry import registered_names

__all__ = ["EncoderTraining", "Heads", "LoraPart", "TrainOptions"]

EncoderTraining = Literal["frozen", "full", "lora"]
LoraPart = Literal["attention", "all"]
Heads = Literal["both", "labels", "dimensions"]


class TrainOptions(Options):
    """`[train]`: optimizer, loss, sampling, and which part of the model learns."""

    seed: int = Field(default=0, ge=0)
    """Seed of everything random."""

    epochs: int = Field(default=20, gt=0)
    """Largest number of epochs."""

    batch_size: int = Field(default=32, gt=0)
    """Samples per forward pass; a step sees `batch_size` x `accumulate` samples."""

    lr: float = Field(default=5e-4, gt=0)
    """Highest learning rate."""

    weight_decay: float = Field(default=0.05, ge=0)
    """Weight decay of AdamW."""

    warmup: float = Field(default=0.1, ge=0, le=1)
    """Share of all steps during which the learning rate rises."""

    clip: float = Field(default=1.0, gt=0)
    """Largest norm of the gradient."""

    patience: int = Field(default=5, gt=0)
    """Epochs without a better score after which training stops."""

    select_on: str = "val"
    """Split that stops training and chooses the best epoch; never `train` or `test`."""

    select_by: str = "auto"
    """Metric that chooses the best epoch. `auto`: accuracy, mAP or vad_mae, as labels and `heads` require."""

    loss: str = "auto"
    """Loss of the labels: see `mien.registry`, or your own as `package.module:name`.

    `auto`: `cross_entropy` if exactly one label holds per subject, else `bce`.
    """

    loss_options: dict[str, JsonValue] = Field(default_factory=dict)
    """Options of this loss, declared next to it."""

    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    """Label smoothing."""

    heads: Heads = "both"
    """What the model predicts. `both`: labels, and dimensions where they are annotated."""

    dimension_weight: float = Field(default=1.0, ge=0)
    """Weight of the loss of the dimensions."""

    sampler: Literal["shuffle", "balanced"] = "shuffle"
    """Order of the samples. `balanced` draws samples with rare labels more often."""

    accumulate: int = Field(default=1, gt=0)
    """Batches per step."""

    ema: float | None = Field(default=None, gt=0, lt=1)
    """Decay of an exponential moving average of the weights, which is then scored and kept."""

    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Data type of matrix products; weights are always float32. `auto`: as in `[describe]`."""

    lr_scale: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    """Factors of the learning rate per part, such as `queries`, `head`, `text_embeddings`; 0 freezes it."""

    layer_decay: float = Field(default=1.0, gt=0, le=1)
    """Factor of the learning rate from each layer to the one below."""

    divergence: float = Field(default=10.0, ge=0)
    """Multiple of the loss's running median at which training stops. 0: only if the loss is not finite."""

    description_dropout: float = Field(default=0.0, ge=0, le=1)
    """Share of descriptions that are left out of each step."""

    missing_descriptions: Literal["error", "image_only"] = "error"
    """What to do with subjects without a description: stop, or use the image alone."""

    encoder: EncoderTraining = "frozen"
    """What learns in the vision encoder: nothing (features are computed once), everything, or adapters."""

    encoder_lr: float = Field(default=1e-5, gt=0)
    """Learning rate of the encoder. Adapters take one about ten times as high."""

    lora_rank: int = Field(default=8, gt=0)
    """Rank of the adapters."""

    lora_alpha: float = Field(default=16.0, gt=0)
    """Scale of the adapters: their output is multiplied by `lora_alpha` / `lora_rank`."""

    lora_layers: LoraPart = "attention"
    """Linear layers that get an adapter: those of attention, or all."""

    @field_validator("loss")
    @classmethod
    def _is_known_loss(cls, name: str) -> str:
        known = ("auto", *registered_names("loss"))
        if name not in known and ":" not in name:
            raise ValueError(f"{nearest_hint(name, known)}, or 'package.module:name'")
        return name

    @model_validator(mode="after")
    def _never_select_on_test(self) -> Self:
        if fold_split(self.select_on) in ("train", "test"):
            raise ValueError(f"train.select_on {self.select_on!r} would choose the model by the wrong split")
        return self
