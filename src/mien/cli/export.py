"""`mien export` and `mien push`: models for others, and descriptions and features for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.shared import AsJson, NewPlaces, make_console
from mien.files import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.predict.predictor import Predictor

__all__ = ["export", "push"]

export = typer.Typer(help="Save models, descriptions and features for others.", rich_markup_mode=None)

Model = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run directory of a trained model.", show_default=False),
]
Folder = Annotated[Path, typer.Option("--out", metavar="FOLDER", help="New folder.", show_default=False)]


def _open(run: Path, places: Sequence[str] | None) -> Predictor:
    from mien.predict.predictor import Predictor

    return Predictor.from_pretrained(run, device="cpu", overrides=places or ())


@export.command()
def hub(run: Model, out: Folder, places: NewPlaces = None, as_json: AsJson = False) -> None:
    """Save a model as one folder, as it is on the Hugging Face Hub.

    The folder has the weights, labels, thresholds, prompt, preprocessing, recipe, a model card, and a digest
    of each file. Load it with mien predict --run FOLDER, or with mien.Predictor.from_pretrained.
    """
    saved = _open(run, places).save_pretrained(out)
    table = {
        "folder": str(saved.path),
        "files": saved.num_files,
        "size": format_bytes(saved.num_bytes),
        "models": ", ".join(f"{model.name} ({model.kind})" for model in saved.models) or "none",
    }
    make_console(as_json).print_table(table)


def push(
    run: Model,
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Name on the Hub, such as you/emotic.", show_default=False)
    ],
    public: Annotated[
        bool, typer.Option("--public", help="Make a new repository public; by default it is private.")
    ] = False,
    message: Annotated[
        str | None, typer.Option("--message", help="Message of the commit.", show_default=False)
    ] = None,
    places: NewPlaces = None,
    as_json: AsJson = False,
) -> None:
    """Save a model and upload it to the Hugging Face Hub.

    Log in first with: hf auth login. The commit has the files of mien export hub.
    """
    address = _open(run, places).push_to_hub(name, private=not public, message=message)
    make_console(as_json).print_table({"name": name, "commit": address})
