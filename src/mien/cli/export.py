"""`mien export` and `mien push`: models for others, and descriptions and features for themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from mien.cli.shared import (
    AsJson,
    NewPlaces,
    Overrides,
    RecipeFile,
    Splits,
    make_console,
    open_experiment,
)
from mien.errors import unknown_name
from mien.files import format_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.cli.documents.models import (
        ExportedFiles,
        ExportedOnnx,
        ExportedSubjects,
        PushedModel,
        SavedModel,
    )
    from mien.predict.predictor import Predictor

__all__ = ["export", "push"]

_Format = TypeVar("_Format", bound=str)

export = typer.Typer(help="Save models, descriptions and features for others.", rich_markup_mode=None)

Model = Annotated[
    Path,
    typer.Argument(metavar="RUN", help="Run directory of a trained model.", show_default=False),
]
Run = Annotated[
    Path | None,
    typer.Option("--run", help="Run directory with the store.", show_default="runs/NAME-OF-RECIPE"),
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
    document: SavedModel = {
        "folder": str(saved.path),
        "files": saved.num_files,
        "size": format_bytes(saved.num_bytes),
        "models": ", ".join(f"{model.name} ({model.kind})" for model in saved.models) or "none",
    }
    make_console(as_json).print_table(document)


@export.command()
def onnx(run: Model, out: Folder, places: NewPlaces = None, as_json: AsJson = False) -> None:
    """Save the classifier and the vision encoder of a model as ONNX.

    Needs pip install "mien[onnx-export]"; the files need only ONNX Runtime. Both are compared with torch.
    """
    from mien.export.onnx import export_onnx
    from mien.predict.loading import find_source, load_model

    loaded = load_model(find_source(run, places or ()), device="cpu", describes=False)
    found = export_onnx(loaded, out)
    document: ExportedOnnx = {
        "folder": str(found.path),
        "files": ", ".join(found.files),
        "difference": f"{found.largest_difference:.1e}",
    }
    make_console(as_json).print_table(document)


@export.command()
def descriptions(
    recipe: RecipeFile,
    out: Folder,
    format: Annotated[
        str, typer.Option("--format", metavar="parquet|webdataset|sharegpt", help="What to write.")
    ] = "parquet",
    run: Run = None,
    splits: Splits = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Export descriptions with their images and prompts.

    Images have the person marked, as the describing model got them; sharegpt is for fine-tuning. For all
    texts of a store without images, see mien describe export.
    """
    from mien.export.descriptions import DESCRIPTION_FORMATS, export_descriptions

    kind = _format(format, DESCRIPTION_FORMATS)
    found = export_descriptions(open_experiment(recipe, overrides, run), out, format=kind, splits=splits)
    document: ExportedFiles = {
        "folder": str(found.path),
        "descriptions": found.written,
        "left_out": found.left_out,
    }
    make_console(as_json).print_table(document)


@export.command()
def features(
    recipe: RecipeFile,
    out: Folder,
    format: Annotated[
        str, typer.Option("--format", metavar="parquet|webdataset", help="What to write.")
    ] = "parquet",
    run: Run = None,
    splits: Splits = None,
    overrides: Overrides = None,
    as_json: AsJson = False,
) -> None:
    """Export the image features that a training reads, as float16.

    Features that the cache lacks are encoded first.
    """
    from mien.export.features import FEATURE_FORMATS, export_features

    kind = _format(format, FEATURE_FORMATS)
    found = export_features(open_experiment(recipe, overrides, run), out, format=kind, splits=splits)
    document: ExportedSubjects = {"folder": str(found.path), "subjects": found.written}
    make_console(as_json).print_table(document)


def _format(name: str, known: Sequence[_Format]) -> _Format:
    found = next((one for one in known if one == name), None)
    if found is None:
        raise unknown_name("format", name, known)
    return found


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
    document: PushedModel = {"name": name, "commit": address}
    make_console(as_json).print_table(document)
