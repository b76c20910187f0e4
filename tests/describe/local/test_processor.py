"""A processor's image size, read from its settings; its chat template; its special tokens."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.describe.engine import Request
from mien.describe.local.processor import decode_tokens, format_prompt, square_image_size
from mien.errors import WeightsError


@pytest.mark.parametrize(
    ("settings", "size"),
    [
        (
            {
                "do_center_crop": True,
                "crop_size": {"height": 336, "width": 336},
                "size": {"shortest_edge": 336},
            },
            336,
        ),
        ({"do_center_crop": True, "crop_size": 224}, 224),
        ({"size": {"height": 384, "width": 384}}, 384),
        ({"size": {"shortest_edge": 336}}, None),
        ({"size": {"height": 300, "width": 400}}, None),
        ({"do_center_crop": True, "crop_size": 336, "image_grid_pinpoints": [[336, 672]]}, None),
        ({"size": {"height": 448, "width": 448}, "crop_to_patches": True}, None),
        ({"size": {"height": 448, "width": 448}, "crop_to_patches": False}, 448),
        ({"min_pixels": 3136, "max_pixels": 12845056}, None),
    ],
    ids=["llava", "old", "siglip", "edge", "oblong", "llava-next", "internvl", "one tile", "qwen"],
)
def test_the_square_that_a_processor_makes_of_an_image(
    tmp_path: Path, settings: dict[str, Any], size: int | None
) -> None:
    assert square_image_size(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings))
    assert square_image_size(tmp_path) == size
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": {"size": 99}}))
    assert square_image_size(tmp_path) == 99


def test_settings_that_are_not_json_are_an_error(tmp_path: Path) -> None:
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(WeightsError, match="cannot be read"):
        square_image_size(tmp_path)


class _Thinking:
    """A processor whose chat template reasons by default, as Qwen's does."""

    chat_template = "..."

    def apply_chat_template(self, messages: Any, *, add_generation_prompt: bool, **variables: Any) -> str:
        opening = "<think>\n" if variables.get("enable_thinking", True) else "<think>\n\n</think>\n\n"
        return f"user: {messages[0]['content'][-1]['text']} assistant: {opening}"


@pytest.mark.parametrize(
    ("thinking", "end"), [(None, "<think>\n"), (True, "<think>\n"), (False, "</think>\n\n")]
)
def test_thinking_is_turned_off_in_the_chat_template(thinking: bool | None, end: str) -> None:
    request = Request(subject_id="s0", images=(), prompt="Who?")
    prompt = format_prompt(_Thinking(), request, thinking=thinking)
    assert prompt.endswith(end)
    assert "user: Who?" in prompt


class _Token:
    def __init__(self, content: str, *, special: bool) -> None:
        self.content, self.special = content, special


class _Tokenizer:
    """Decodes by position in its vocabulary; special tokens are dropped on request."""

    words = ("<eos>", "[THINK]", "[/THINK]", "Sad.", "Calm.")

    def __init__(self) -> None:
        self.added_tokens_decoder = {number: _Token(self.words[number], special=True) for number in range(3)}

    def batch_decode(self, sequences: Any, *, skip_special_tokens: bool) -> list[str]:
        first = 3 if skip_special_tokens else 0
        return ["".join(self.words[one] for one in tokens if one >= first) for tokens in sequences]


def test_special_tokens_that_mark_reasoning_are_kept() -> None:
    assert decode_tokens(_Tokenizer(), [[1, 3, 2, 4, 0], [4, 0]]) == ["[THINK]Sad.[/THINK]Calm.", "Calm."]
