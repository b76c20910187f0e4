"""Models that are known to describe well: what each is, what it needs, what its licence allows.

Goes in: the name of a model. Comes out: a card, or nothing.
Knows nothing about: engines. Any other image-text-to-text model works too; this table only saves looking.

Licences and sizes are those of the models' own cards, to be read there before use.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

__all__ = ["MODELS", "ModelCard", "known_model", "listing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """`parameters` in billions; `dtype` is what it was trained in; `frames`: it takes several pictures.

    `extra`: an optional part of this package that its processor needs.
    """

    name: str
    parameters: float
    licence: str
    dtype: Literal["bfloat16", "float16", "float32"] = "bfloat16"
    frames: bool = True
    extra: str | None = None
    note: str = ""

    @property
    def memory(self) -> float:
        """Gigabytes that the weights take in `dtype`; a batch comes on top."""
        return self.parameters * (4 if self.dtype == "float32" else 2)


MODELS: Final = tuple(
    sorted(
        (
            ModelCard(
                name="playhouse",
                parameters=0.004,
                licence="Apache-2.0",
                dtype="float32",
                frames=False,
                note="embedded; knows only the drawn theatre",
            ),
            ModelCard(
                name="llava-hf/llava-1.5-13b-hf",
                parameters=13.4,
                licence="Llama 2 Community",
                dtype="float16",
                frames=False,
                note="the paper's",
            ),
            ModelCard(
                name="llava-hf/llava-1.5-7b-hf",
                parameters=7.1,
                licence="Llama 2 Community",
                dtype="float16",
                frames=False,
            ),
            ModelCard(
                name="llava-hf/llava-v1.6-mistral-7b-hf",
                parameters=7.6,
                licence="Apache-2.0",
                dtype="float16",
                frames=False,
                note="LLaVA-NeXT; cuts a picture into tiles",
            ),
            ModelCard(name="Qwen/Qwen2.5-VL-7B-Instruct", parameters=8.3, licence="Apache-2.0", extra="vlm"),
            ModelCard(name="Qwen/Qwen3-VL-8B-Instruct", parameters=8.8, licence="Apache-2.0", extra="vlm"),
            ModelCard(
                name="HuggingFaceTB/SmolVLM2-2.2B-Instruct",
                parameters=2.2,
                licence="Apache-2.0",
                extra="vlm",
                note="fits a laptop",
            ),
            ModelCard(
                name="OpenGVLab/InternVL3-8B-hf",
                parameters=7.9,
                licence="MIT, with parts under Apache-2.0",
                extra="vlm",
            ),
            ModelCard(
                name="google/gemma-3-4b-it",
                parameters=4.3,
                licence="Gemma Terms of Use",
                note="gated: accept the terms on its page",
            ),
        ),
        key=lambda card: card.parameters,
    )
)


def known_model(name: str) -> ModelCard | None:
    """The card of a model by its name; None for one that is not in the table."""
    return next((card for card in MODELS if card.name.casefold() == name.casefold()), None)


def listing() -> list[dict[str, Any]]:
    """The table as plain values, the smallest first."""
    return [{**asdict(card), "memory_gb": round(card.memory, 2)} for card in MODELS]
