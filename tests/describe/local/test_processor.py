"""The image size that a processor makes, read from its settings."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.describe.local.processor import square_image_size
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
