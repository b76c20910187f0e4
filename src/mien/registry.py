"""Names to classes and functions: one table per kind of component.

To add a component, write one file and one line here.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from types import MappingProxyType, ModuleType
from typing import Final

from mien.errors import ConfigError, unknown_name

__all__ = ["TABLES", "registered_names", "resolve"]

TABLES: Final[Mapping[str, Mapping[str, str]]] = MappingProxyType(
    {
        "dataset": {
            "bold": "mien.data.bold.dataset:Bold",
            "caers": "mien.data.caers.dataset:Caers",
            "emotic": "mien.data.emotic.dataset:Emotic",
            "manifest": "mien.data.manifest.dataset:Manifest",
            "playhouse": "mien.data.playhouse:Playhouse",
        },
        "detector": {
            "onnx": "mien.predict.detect.onnx:OnnxDetector",
            "transformers": "mien.predict.detect.transformers:TransformersDetector",
            "whole": "mien.predict.detect.whole:WholeImage",
        },
        "engine": {
            "cues": "mien.describe.cues.engine:CuesEngine",
            "fake": "mien.describe.fake:FakeEngine",
            "imported": "mien.describe.store.imported:ImportedEngine",
            "local": "mien.describe.local.engine:LocalEngine",
            "remote": "mien.describe.remote.engine:RemoteEngine",
            "vllm": "mien.describe.vllm:VllmEngine",
        },
        "fusion": {
            "concat": "mien.model.late_fusion:ConcatFusion",
            "cross_attention": "mien.model.fusion:CrossAttentionFusion",
            "gated": "mien.model.late_fusion:GatedFusion",
            "image_only": "mien.model.fusion:ImageOnlyFusion",
            "qformer": "mien.model.fusion:QFormerFusion",
            "text_only": "mien.model.fusion:TextOnlyFusion",
        },
        "loss": {
            "asl": "mien.train.losses:asymmetric_loss",
            "bce": "mien.train.losses:binary_cross_entropy",
            "class_balanced": "mien.train.losses:class_balanced_loss",
            "cross_entropy": "mien.train.losses:cross_entropy",
            "focal": "mien.train.losses:focal_loss",
        },
        "metric": {
            "Brier": "mien.evaluate.metrics.reliability:BRIER",
            "ECE": "mien.evaluate.metrics.reliability:EXPECTED_CALIBRATION_ERROR",
            "ERS": "mien.evaluate.metrics.dimensions:EMOTION_RECOGNITION_SCORE",
            "accuracy": "mien.evaluate.metrics.classification:ACCURACY",
            "mAP": "mien.evaluate.metrics.ranking:MAP",
            "mAP_emotic": "mien.evaluate.metrics.ranking:MAP_EMOTIC",
            "mAP_tail": "mien.evaluate.metrics.ranking:MAP_TAIL",
            "mR2": "mien.evaluate.metrics.dimensions:MEAN_R2",
            "mRA": "mien.evaluate.metrics.ranking:MEAN_ROC_AUC",
            "macro_f1": "mien.evaluate.metrics.classification:MACRO_F1",
            "vad_mae": "mien.evaluate.metrics.dimensions:VAD_MAE",
        },
    }
)

# Names of version 0.1.0 that still work; they are not shown.
_ALIASES: Final[Mapping[tuple[str, str], str]] = MappingProxyType({("engine", "foreign"): "imported"})


def registered_names(kind: str) -> tuple[str, ...]:
    """The registered names of this kind, in alphabetical order."""
    return tuple(sorted(_table(kind)))


def resolve(kind: str, name: str) -> object:
    """Imports the component of this kind and name, or your own named as "package.module:Class".

    Raises:
        UnknownNameError: The name is not registered, or the module has no such attribute.
        ConfigError: The name is not of that form, or the module is not installed.
    """
    table, name = _table(kind), _ALIASES.get((kind, name), name)
    if ":" not in name and name not in table:
        raise unknown_name(kind, name, sorted(table))
    module_name, _, attribute = table.get(name, name).partition(":")
    if not all(part.isidentifier() for part in (*module_name.split("."), attribute)):
        raise ConfigError(
            f"{kind} {name!r} is not a module and a name in it", hint="write it as package.module:Class"
        )
    module = _import(module_name, component=f"{kind} {name!r}")
    if not hasattr(module, attribute):
        raise unknown_name(f"{kind} in module {module_name}:", attribute, _public_names(module))
    component: object = getattr(module, attribute)
    return component


def _table(kind: str) -> Mapping[str, str]:
    if kind not in TABLES:
        raise unknown_name("kind of component", kind, sorted(TABLES))
    return TABLES[kind]


def _import(module_name: str, *, component: str) -> ModuleType:
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        missing = getattr(error, "name", None) or module_name
        raise ConfigError(
            f"{component} needs the module {missing!r}, which is not installed",
            hint="install it in this environment, or use a registered name or 'package.module:Class'",
        ) from error


def _public_names(module: ModuleType) -> list[str]:
    return sorted(name for name in vars(module) if not name.startswith("_"))
