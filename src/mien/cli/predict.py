"""`mien predict`."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from mien.cli.opening import (
    DetectorName,
    ZeroShotArguments,
    ZeroShotLabelNames,
    open_predictor,
    parse_box_option,
)
from mien.cli.shared import (
    CalibrationPlace,
    Method,
    NewPlaces,
    ZeroShotModel,
    make_console,
    zero_shot_method,
)
from mien.errors import UsageError
from mien.types import Box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mien.cli.render.console import Console
    from mien.predict.opening import OpenedPredictor
    from mien.predict.output.write import Outcome
    from mien.predict.results import Results
    from mien.predict.sources.open import SourceOptions

__all__ = ["predict"]

_MAX_WRITTEN: Final = 10  # copies that are named one by one


def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Photos, videos, folders, patterns, lists of paths (.txt), manifests (.jsonl, .csv, "
            ".parquet, .json), or - for paths from stdin.",
            show_default=False,
        ),
    ],
    run: Annotated[
        Path | None,
        typer.Option(
            "--run",
            metavar="RUN|FOLDER|NAME",
            help="Run directory of a trained model, a saved folder, or a name on the Hugging Face Hub.",
            show_default=False,
        ),
    ] = None,
    zero_shot: ZeroShotModel = None,
    method: Method = None,
    calibration: CalibrationPlace = None,
    labels: ZeroShotLabelNames = None,
    detector: DetectorName = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            "--box", metavar="L,T,R,B", help="Box of a person, in pixels; for a single source; repeatable."
        ),
    ] = None,
    places: NewPlaces = None,
    fps: Annotated[
        float | None,
        typer.Option("--fps", help="Frames per second to take of videos.", show_default="5"),
    ] = None,
    every: Annotated[
        int | None, typer.Option("--every", metavar="N", help="Take each N-th frame of videos instead.")
    ] = None,
    describe_every: Annotated[
        float,
        typer.Option(
            "--describe-every", metavar="S", help="Seconds between two readings of a person in a video."
        ),
    ] = 2.0,
    recursive: Annotated[
        bool, typer.Option("--recursive", help="Search folders with all folders in them.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FILE",
            help="Write a row per person to a .jsonl, .csv or .parquet file. If the command is killed, start "
            "it again to go on.",
        ),
    ] = None,
    annotate: Annotated[
        Path | None,
        typer.Option("--annotate", metavar="DIR", help="Write copies with the people marked to this folder."),
    ] = None,
    top: Annotated[int, typer.Option("--top", min=1, help="Number of labels to print.")] = 5,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON Lines to stdout: one object per person.")
    ] = False,
) -> None:
    """Find people in photos and videos, and predict their apparent emotion.

    Without --run and --zero-shot, labels are scored without training, by a small model.
    """
    from mien.predict.annotated_folder import AnnotatedFolder
    from mien.predict.output.journal import Journal
    from mien.predict.output.tables import require_format
    from mien.predict.output.write import Outcome, write_results
    from mien.predict.sources.open import SourceOptions, open_sources, require_source
    from mien.predict.track.tracker import TrackOptions

    boxes = [parse_box_option(text) for text in box or ()]
    if boxes and len(sources) > 1:
        raise UsageError(f"one box for {len(sources)} images", hint="give --box with a single image")
    options = SourceOptions(recursive=recursive, fps=fps, every=every)
    tracking = TrackOptions(describe_every=describe_every)
    if out is not None:
        require_format(out)
    if run is None and len(sources) == 1:
        require_source(sources[0])  # before a model is downloaded
    console = make_console(as_json)
    opened = open_predictor(
        console,
        run=run,
        zero_shot=ZeroShotArguments(
            model=zero_shot, method=zero_shot_method(method), labels=labels, calibration=calibration
        ),
        places=places or (),
        detector=detector,
        boxes=boxes,
    )
    predictor = opened.predictor
    predictor.tracking = tracking
    items = [(sources[0], boxes)] if boxes else sources
    outcome, marked = Outcome(), list[Path]()
    with ExitStack() as stack:
        journal = None
        if out is not None:
            request = _digest(sources, boxes, options, tracking.describe_every, opened)
            journal = stack.enter_context(Journal(out, request=request, command=_command()))
        if journal is not None and journal.is_finished:
            outcome = Outcome(**journal.outcome)
            console.note(f"{out} was written by this very command before; remove it to write it again")
        else:
            folder = None if annotate is None else AnnotatedFolder(annotate)
            found = write_results(
                predictor, open_sources(items, options), outcome, journal=journal, annotate=folder
            )
            _print_results(console, found, top, as_json=as_json, quiet=out is not None)
            marked = [] if folder is None else folder.files
    if out is not None and not as_json:
        console.print_result({}, _summary(outcome))
    if marked and not as_json:
        console.print_result({}, _written(marked, after_results=out is None))
    if outcome.error is not None:
        raise outcome.error


def _digest(
    sources: Sequence[str],
    boxes: Sequence[Box],
    options: SourceOptions,
    describe_every: float,
    opened: OpenedPredictor,
) -> str:
    """Identifies everything that determines the results, except the content of the sources."""
    from mien.digests import digest

    return digest(
        {
            "sources": list(sources),
            "boxes": [list(box.as_tuple()) for box in boxes],
            "recursive": options.recursive,
            "fps": options.fps,
            "every": options.every,
            "describe_every": describe_every,
            **opened.identity(),
        }
    )


def _command() -> str:
    import shlex

    return shlex.join(["mien", *sys.argv[1:]])


# --- Printing ------------------------------------------------------------------------------------------


def _print_results(
    console: Console, found: Iterator[Results], top: int, *, as_json: bool, quiet: bool
) -> None:
    """Prints results as they come; `quiet` prints nothing but JSON."""
    from mien.cli.render.results import render_predictions, render_track
    from mien.predict.track.summary import TrackSummaries

    tracks, is_first = TrackSummaries(), True

    def show(text: str) -> None:
        nonlocal is_first
        console.print_result({}, text if is_first else f"\n{text}")
        is_first = False

    for results in found:
        if as_json:
            for row in results.rows():
                console.print_line(row)
        elif not quiet:
            for track in tracks.add(results):
                show(render_track(track, top))
            if results.frame is None or results.error is not None:
                show(render_predictions(results, top))
    if not as_json and not quiet:
        for track in tracks.end():
            show(render_track(track, top))


def _written(marked: Sequence[Path], *, after_results: bool) -> str:
    """The marked copies, in the words of `mien explain`; their folder alone if there are many."""
    from mien.cli.render.text import join_lines

    if len(marked) > _MAX_WRITTEN:
        lines = [f"written: {len(marked)} files in {marked[0].parent}"]
    else:
        lines = [f"written: {path}" for path in marked]
    return ("\n" if after_results else "") + join_lines(lines)


def _summary(outcome: Outcome) -> str:
    people = "1 person" if outcome.num_people == 1 else f"{outcome.num_people} people"
    images = "1 image" if outcome.num_results == 1 else f"{outcome.num_results} images"
    return f"{people} in {images}: {', '.join(outcome.files)}"
