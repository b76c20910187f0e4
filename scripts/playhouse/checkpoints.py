"""Checkpoints of the trainings here: what a killed training needs to go on as if nothing had happened."""

import random
from pathlib import Path
from typing import Any

import torch


def save_checkpoint(path: Path, step: int, rng: random.Random, **modules: Any) -> None:
    """Saves the state of each module or optimizer; a kill leaves the old file or the new one."""
    state = {name: module.state_dict() for name, module in modules.items()}
    unfinished = path.with_suffix(".unfinished")
    torch.save({"step": step, "random": rng.getstate(), "torch": torch.get_rng_state()} | state, unfinished)
    unfinished.replace(path)


def load_checkpoint(path: Path, rng: random.Random, **modules: Any) -> int:
    """Restores the modules and returns the number of finished steps; 0 if there is no checkpoint."""
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=False)
    for name, module in modules.items():
        module.load_state_dict(state[name])
    rng.setstate(state["random"])
    torch.set_rng_state(state["torch"])
    return int(state["step"])
