"""A question as a model was taught to be asked: its chat template filled in, with a place for each picture.

Goes in: a processor, a request. Comes out: text.
Knows nothing about: models, tensors.
"""

from __future__ import annotations

from typing import Any

from mien.describe.engine import Request

__all__ = ["chat_text"]


def chat_text(processor: Any, request: Request) -> str:
    """The whole text that goes to the tokenizer. Without a template it is put as LLaVA-1.5 was taught."""
    if processor.chat_template is None:
        places = f"{getattr(processor, 'image_token', '<image>')}\n" * len(request.images)
        return f"USER: {places}{request.prompt} ASSISTANT:"
    content = [{"type": "image"} for _ in request.images] + [{"type": "text", "text": request.prompt}]
    text: str = processor.apply_chat_template(
        [{"role": "user", "content": content}], add_generation_prompt=True
    )
    return text
