"""Models that are known to describe well: their size, license and requirements.

Any other image-text-to-text model works too. Licenses and sizes come from the models' own cards; read those
before use.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal, TypedDict

__all__ = ["MODELS", "ModelCard", "ModelCardDict", "list_models"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """A vision-language model that is known to describe well.

    Attributes:
        name: Hugging Face id, or "playhouse".
        parameters: The number of parameters, in billions.
        license: The name of the license.
        dtype: The floating-point type that the model was trained in.
        frames: Whether it takes several images.
        extra: The optional extra of this package that its processor needs; None if it needs none.
        note: Anything else worth knowing.
    """

    name: str
    parameters: float
    license: str
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    frames: bool = True
    extra: str | None = None
    note: str = ""

    @property
    def memory(self) -> float:
        """Gigabytes that the weights take in `dtype`, without a batch."""
        return self.parameters * (4 if self.dtype == "float32" else 2)


class ModelCardDict(TypedDict):
    """A row as `mien describe models --json` prints it.

    Attributes:
        name: Hugging Face id, or "playhouse".
        memory_gb: Gigabytes that the weights take in `dtype`, without a batch.
    """

    name: str
    parameters: float
    license: str
    dtype: str
    frames: bool
    extra: str | None
    note: str
    memory_gb: float


MODELS: Final = tuple(
    sorted(
        (
            ModelCard(
                name="playhouse",
                parameters=0.004,
                license="Apache-2.0",
                dtype="float32",
                frames=False,
                note="embedded; describes only the drawn world of Playhouse",
            ),
            ModelCard(
                name="llava-hf/llava-1.5-13b-hf",
                parameters=13.4,
                license="Llama 2 Community",
                dtype="float16",
                frames=False,
                note="used in the paper",
            ),
            ModelCard(
                name="llava-hf/llava-1.5-7b-hf",
                parameters=7.1,
                license="Llama 2 Community",
                dtype="float16",
                frames=False,
            ),
            ModelCard(
                name="llava-hf/llava-v1.6-mistral-7b-hf",
                parameters=7.6,
                license="Apache-2.0",
                dtype="float16",
                frames=False,
                note="LLaVA-NeXT; splits an image into tiles",
            ),
            ModelCard(name="Qwen/Qwen2.5-VL-7B-Instruct", parameters=8.3, license="Apache-2.0"),
            ModelCard(name="Qwen/Qwen3-VL-8B-Instruct", parameters=8.8, license="Apache-2.0"),
            ModelCard(
                name="HuggingFaceTB/SmolVLM-500M-Instruct",
                parameters=0.5,
                license="Apache-2.0",
                note="the smallest; scores labels without training by default",
            ),
            ModelCard(
                name="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
                parameters=2.2,
                license="Apache-2.0",
                extra="vlm",
                note="fits a laptop",
            ),
            ModelCard(
                name="OpenGVLab/InternVL3-8B-hf",
                parameters=7.9,
                license="MIT, with parts under Apache-2.0",
            ),
            ModelCard(
                name="google/gemma-3-4b-it",
                parameters=4.3,
                license="Gemma Terms of Use",
                note="gated: accept the terms on its page",
            ),
        ),
        key=lambda card: card.parameters,
    )
)


def list_models() -> list[ModelCardDict]:
    """The table as JSON values, smallest model first; `memory_gb` is the memory of the weights."""
    return [
        {
            "name": card.name,
            "parameters": card.parameters,
            "license": card.license,
            "dtype": card.dtype,
            "frames": card.frames,
            "extra": card.extra,
            "note": card.note,
            "memory_gb": round(card.memory, 2),
        }
        for card in MODELS
    ]
