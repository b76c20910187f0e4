"""Opens the model of a replica, with what finds the people."""

from __future__ import annotations

from pathlib import Path

from mien.predict.loading import find_source
from mien.predict.opening import open_trained, open_untrained
from mien.serve.inference import ServedModel
from mien.serve.ray.arguments import Arguments

__all__ = ["open_model"]


def open_model(arguments: Arguments, *, max_pixels: int) -> ServedModel:
    """The model that an application serves.

    Raises:
        RunError: The run is not trained.
        WeightsError: Weights are not available on this node.
        EngineError: The device is not available.
    """
    if arguments.run is not None:
        opened = open_trained(find_source(arguments.run), detector=arguments.detector)
    else:
        opened = open_untrained(
            arguments.zero_shot,
            method=arguments.method,
            labels=arguments.labels,
            calibration=None if arguments.calibration is None else Path(arguments.calibration),
            detector=arguments.detector,
        )
    return ServedModel(
        opened.predictor,
        name=arguments.name or opened.name,
        max_pixels=max_pixels,
        is_embedded=opened.is_embedded,
    )
