"""mien: how people in images *appear* to feel, in words and in labels.

    import mien

    predictor = mien.Predictor.from_pretrained("runs/playhouse")
    results = predictor("photo.jpg", boxes=[(40, 30, 210, 380)])

What `mien.__all__` lists is the public API; everything else may change. Importing `mien` loads no other
library: each name is imported when it is first used.
"""

from __future__ import annotations

from mien.version import __version__

TYPE_CHECKING = False  # as in typing, whose import would take longer than all else here

if TYPE_CHECKING:
    from mien.ablation.api import ablate
    from mien.ablation.study import Ablation
    from mien.data.dataset import Dataset
    from mien.errors import MienError
    from mien.predict.predictor import Predictor
    from mien.predict.results import Person, Results
    from mien.recipe import Recipe, load_recipe
    from mien.serve.client import Client
    from mien.types import Box
    from mien.workflow.api import TrainedRun, calibrate, compare, describe, evaluate, load_dataset, train

__all__ = [
    "Ablation",
    "Box",
    "Client",
    "Dataset",
    "MienError",
    "Person",
    "Predictor",
    "Recipe",
    "Results",
    "TrainedRun",
    "__version__",
    "ablate",
    "calibrate",
    "compare",
    "describe",
    "evaluate",
    "load_dataset",
    "load_recipe",
    "train",
]

# Where each name is defined. `describe`, `evaluate` and `train` are also packages, which can be called: see
# `mien.callable_package`.
_MODULES = {
    "Ablation": "mien.ablation.study",
    "Box": "mien.types",
    "Client": "mien.serve.client",
    "Dataset": "mien.data.dataset",
    "MienError": "mien.errors",
    "Person": "mien.predict.results",
    "Predictor": "mien.predict.predictor",
    "Recipe": "mien.recipe",
    "Results": "mien.predict.results",
    "TrainedRun": "mien.workflow.api",
    "ablate": "mien.ablation.api",
    "calibrate": "mien.workflow.api",
    "compare": "mien.workflow.api",
    "load_dataset": "mien.workflow.api",
    "load_recipe": "mien.recipe",
}
_CALLABLE_PACKAGES = ("describe", "evaluate", "train")


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name in _CALLABLE_PACKAGES:
        return import_module(f"mien.{name}")
    if name not in _MODULES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    value: object = getattr(import_module(_MODULES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
