"""Lets torchvision be imported next to a CPU build of torch, where its compiled part cannot be loaded.

A `.pth` file imports this at the start of every process. torchvision registers two operators without asking
whether they exist; here they get their schemas just before it is imported.
"""

import sys
from importlib.machinery import ModuleSpec
from typing import Any

ARGUMENTS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
kept_alive: list[Any] = []  # a library's definitions end with it


class BeforeTorchvision:
    """Finds no module, and defines the operators when torchvision is looked for."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            import torch

            library = torch.library.Library("torchvision", "DEF")
            for operator in ("nms", "qnms"):
                library.define(operator + ARGUMENTS)
            kept_alive.append(library)
        return None


sys.meta_path.insert(0, BeforeTorchvision())
