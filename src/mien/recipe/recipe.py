"""What a recipe may say: one frozen section for each room, with its defaults.

Goes in: values. Comes out: a `Recipe`, and the digest of all that changes its answer.
Knows nothing about: TOML, files, overrides (see `config`), or the classes that the names stand for.

There are two tables of knobs. Everything outside `[run]` changes the answer and is part of the digest;
`[run]` changes only speed and place. Options of a single data set, engine or fusion are declared next
to its class and checked there; here they pass through as the table `options`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, NonNegativeFloat, field_validator, model_validator

from mien.digests import digest
from mien.recipe.options import Options
from mien.registry import names
from mien.types import (
    AugmentKind,
    ClipView,
    EncoderTraining,
    FitMode,
    Heads,
    LoraPart,
    MarkStyle,
    TokenChoice,
    TruncateMode,
    ViewKind,
)

__all__ = [
    "DataOptions",
    "DescribeOptions",
    "EvaluateOptions",
    "FeatureOptions",
    "ModelOptions",
    "Recipe",
    "RunOptions",
    "TrainOptions",
]


class DataOptions(Options):
    """[data]: who is in which picture. `root` is hashed: another folder may hold other pictures.

    `split_file`: who belongs to which split, as `mien data dedup` writes it, instead of the data set's own.
    `skip_broken`: rows that cannot be used are left out; without it they are an error.
    """

    name: str = "playhouse"
    root: Path | None = None
    label_set: str = "emotic"
    split_file: Path | None = None
    skip_broken: bool = False
    options: dict[str, JsonValue] = Field(default_factory=dict)


class DescribeOptions(Options):
    """[describe]: the engine and model by name or path, and what they are shown and asked.

    `prompt` is the id of a shipped prompt, or "own:NAME" with the wording as `prompt_text`; what is asked
    of pictures that show no box is `prompt_text_no_box`.
    """

    engine: str = "local"
    model: str = "playhouse"
    prompt: str = "paper"
    prompt_text: str | None = None
    prompt_text_no_box: str | None = None
    marking: MarkStyle = "red_box"
    clip: ClipView = "middle_frame"  # how a clip is shown; "frames" needs a model of several pictures
    max_new_tokens: int = Field(default=160, gt=0)
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    options: dict[str, JsonValue] = Field(default_factory=dict)


class FeatureOptions(Options):
    """[features]: encoder and tokenizer by name or path; `layer` None is the encoder's last one.

    `views`: what is looked at, one after another. `augment`: how the pictures that are learned from vary;
    `augment_views` of each are kept, the first as it is, and every epoch takes one of them by chance.
    """

    vision: str = "playhouse"
    layer: int | None = None
    tokens: TokenChoice = "all"  # all: as the model gives them; patches: no class or register tokens
    fit: FitMode = "letterbox"
    marking: MarkStyle | None = None  # None: as in [describe], so that both stages see the same image
    tokenizer: str = "playhouse"
    max_text_tokens: int = Field(default=128, gt=0, le=512)  # BERT-style positions end at 512
    views: tuple[ViewKind, ...] = Field(default=("marked",), min_length=1)
    augment: tuple[AugmentKind, ...] = ()
    augment_views: int = Field(default=4, gt=1)
    truncate: TruncateMode = "head"  # head_tail: of a longer text the first and last halves


class ModelOptions(Options):
    """[model]: how tokens are fused. `cross_every`: every which layer looks at the image. `init`: whose
    weights the Q-Former starts from: "random", or a BERT, BLIP-2 or InstructBLIP by name or path."""

    fusion: str = "qformer"
    init: str = "random"
    width: int = Field(default=128, gt=0)
    layers: int = Field(default=2, gt=0)
    heads: int = Field(default=4, gt=0)
    num_queries: int = Field(default=8, gt=0)
    cross_every: int = Field(default=2, gt=0)
    dropout: float = Field(default=0.1, ge=0, lt=1)
    options: dict[str, JsonValue] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _heads_divide_width(self) -> Self:
        if self.width % self.heads:
            raise ValueError(f"model.width {self.width} must be a multiple of model.heads {self.heads}")
        return self


class TrainOptions(Options):
    """[train]: `warmup` is a share of all steps; `patience` counts epochs without a better val score.

    A step sees `batch_size` x `accumulate` samples. `loss`: a name that `mien.registry` lists, or
    "package.module:name"; `loss_options` are declared next to each loss, in `mien.train.losses`.
    `sampler` "balanced" shows the samples of rare labels more often. `ema`:
    decay of a running mean of the weights, which is then what is scored and kept. `lr_scale`: factors of
    the learning rate by part, such as `queries`, `head`, `text_embeddings`; 0 freezes. `layer_decay`: the
    factor from each layer to the one below. `divergence`: training stops where the loss exceeds this many
    times its running median (0: only where it is not finite). `description_dropout`: the share of
    descriptions that a step leaves out. `missing_descriptions`: what to do with subjects that have none.
    `encoder`: what of the vision encoder learns, at `encoder_lr`: nothing, so that its features are made
    once; everything; or adapters of `lora_rank` in its `lora_layers`, which take a rate ten times as high.
    """

    seed: int = Field(default=0, ge=0)
    epochs: int = Field(default=20, gt=0)
    batch_size: int = Field(default=32, gt=0)
    lr: float = Field(default=5e-4, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.1, ge=0, le=1)
    clip: float = Field(default=1.0, gt=0)
    patience: int = Field(default=5, gt=0)
    select_on: str = "val"  # the split by which training stops and the best epoch is chosen; never "test"
    select_by: str = "auto"  # the metric; auto: accuracy, mAP, or vad_mae, as the labels and heads ask
    loss: str = "auto"  # auto: cross_entropy if exactly one label holds, else bce
    loss_options: dict[str, JsonValue] = Field(default_factory=dict)
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    heads: Heads = "both"  # both: dimensions where they are annotated
    dimension_weight: float = Field(default=1.0, ge=0)
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    accumulate: int = Field(default=1, gt=0)
    ema: float | None = Field(default=None, gt=0, lt=1)
    precision: Literal["float32", "bfloat16", "float16"] = "float32"  # of the products; weights are float32
    lr_scale: dict[str, Annotated[float, Field(ge=0)]] = Field(default_factory=dict)
    layer_decay: float = Field(default=1.0, gt=0, le=1)
    divergence: float = Field(default=10.0, ge=0)
    description_dropout: float = Field(default=0.0, ge=0, le=1)
    missing_descriptions: Literal["error", "image_only"] = "error"
    encoder: EncoderTraining = "frozen"
    encoder_lr: float = Field(default=1e-5, gt=0)
    lora_rank: int = Field(default=8, gt=0)
    lora_alpha: float = Field(default=16.0, gt=0)
    lora_layers: LoraPart = "attention"

    @field_validator("loss")
    @classmethod
    def _is_known_loss(cls, name: str) -> str:
        known = ("auto", *names("loss"))
        if name not in known and ":" not in name:
            raise ValueError(f"choose from {', '.join(known)}, or write 'package.module:name'")
        return name

    @model_validator(mode="after")
    def _never_select_on_test(self) -> Self:
        if self.select_on in ("train", "test"):
            raise ValueError(f"train.select_on {self.select_on!r} would choose the model by the wrong split")
        return self


class EvaluateOptions(Options):
    """[evaluate]: which splits, which metrics ("auto": as the label set asks), how many resamples.

    `calibration` and `thresholds` say what is fitted on the split that stops training: how scores become
    probabilities, and by which rule a label's threshold is chosen. `cost`: of a missed label, in false
    alarms.
    """

    splits: tuple[str, ...] = ("test",)
    metrics: Literal["auto"] | tuple[str, ...] = "auto"
    bootstrap: int = Field(default=1000, gt=0)
    calibration: Literal["temperature", "platt", "none"] = "temperature"
    thresholds: Literal["f1", "precision_recall", "cost"] = "f1"
    cost: float = Field(default=1.0, gt=0)


class RunOptions(Options):
    """[run]: speed and place only; never part of the digest. Paths None: inside the run directory.

    Of engine "remote": base addresses of the servers, requests in flight over all of them, seconds for one
    answer, and how often one that failed is asked for again. `price_per_million_tokens`: in and out, in any
    currency, for the estimate before a run.
    `checkpoint_activations`: compute them twice rather than keep them. `compile`: by torch.compile, which
    pays on GPUs. `log_to`: besides events.jsonl. `keep_last`: the last weights beside the best ones.
    """

    device: str = "cpu"
    workers: int = Field(default=0, ge=0)
    threads: int | None = Field(default=None, gt=0)
    batch_size: int = Field(default=8, gt=0)  # of describing and encoding; [train] has its own
    endpoints: tuple[str, ...] = ()
    concurrency: int = Field(default=16, gt=0)
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=5, ge=0)
    cluster: str | None = Field(default=None, min_length=1)
    actors: int | None = Field(default=None, gt=0)
    cpus_per_actor: float = Field(default=1.0, ge=0)
    gpus_per_actor: float = Field(default=0.0, ge=0)
    cluster_timeout: float = Field(default=600.0, gt=0)
    price_per_million_tokens: tuple[NonNegativeFloat, NonNegativeFloat] | None = None
    checkpoint_activations: bool = False
    compile: bool = False
    log_to: tuple[Literal["tensorboard", "wandb"], ...] = ()
    keep_last: bool = False
    out: Path | None = None
    store: Path | None = None
    cache: Path | None = None


class Recipe(Options):
    """A whole experiment."""

    name: str = Field(min_length=1)
    data: DataOptions = DataOptions()
    describe: DescribeOptions = DescribeOptions()
    features: FeatureOptions = FeatureOptions()
    model: ModelOptions = ModelOptions()
    train: TrainOptions = TrainOptions()
    evaluate: EvaluateOptions = EvaluateOptions()
    run: RunOptions = RunOptions()

    @property
    def feature_marking(self) -> MarkStyle:
        """How the subject is marked for the second stage: as for the first unless told otherwise."""
        return self.features.marking or self.describe.marking

    def to_json(self) -> dict[str, JsonValue]:
        """The resolved recipe as plain JSON values, `[run]` included."""
        return self.model_dump(mode="json")

    def digest(self) -> str:
        """The name of the answer: a digest of everything outside `[run]`."""
        return digest(self.model_dump(mode="json", exclude={"run"}))
