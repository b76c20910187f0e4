"""`mien explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mien.cli.opening import DetectorName, open_run, parse_box_option
from mien.cli.shared import AsJson, NewPlaces, make_console
from mien.errors import ItemsFailedError, MienError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mien.cli.documents.models import ExplainedPhoto
    from mien.cli.render.console import Console
    from mien.predict.explain.explanation import Explanation
    from mien.predict.results import Person, Results

__all__ = ["explain"]


def explain(
    source: Annotated[str, typer.Argument(metavar="SOURCE", help="A photo.", show_default=False)],
    run: Annotated[
        Path,
        typer.Option(
            "--run",
            metavar="RUN|FOLDER|NAME",
            help="Run directory of a trained model, a saved folder, or a name on the Hugging Face Hub.",
            show_default=False,
        ),
    ],
    label: Annotated[
        list[str] | None, typer.Option("--label", help="A label to explain; repeatable.", show_default=False)
    ] = None,
    top: Annotated[
        int, typer.Option("--top", min=1, help="Without --label: how many of the highest labels.")
    ] = 3,
    box: Annotated[
        list[str] | None,
        typer.Option("--box", metavar="L,T,R,B", help="Box of a person, in pixels; repeatable."),
    ] = None,
    person: Annotated[
        int | None,
        typer.Option("--person", min=0, metavar="N", help="Explain only this person of those in the photo."),
    ] = None,
    face: Annotated[
        str | None,
        typer.Option(
            "--face", metavar="L,T,R,B", help="The person's face, in pixels.", show_default="a guess"
        ),
    ] = None,
    description: Annotated[
        list[str] | None,
        typer.Option("--description", metavar="TEXT", help="Another description to try; repeatable."),
    ] = None,
    detector: DetectorName = None,
    counterfactuals: Annotated[
        bool,
        typer.Option(
            "--counterfactuals/--no-counterfactuals",
            help="Score the person with one thing different; some are described anew.",
        ),
    ] = True,
    random_orders: Annotated[
        int,
        typer.Option(
            "--random-orders", min=0, metavar="N", help="Measure faithfulness against so many; 0 does not."
        ),
    ] = 8,
    cells: Annotated[
        int, typer.Option("--cells", min=2, help="Regions along the longer side of the photo.")
    ] = 8,
    places: NewPlaces = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="DIR", help="Write JSON, a page and images to this folder."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Explain the scores of people in a photo: words, regions, and what if."""
    from mien.predict.explain.counterfactuals import COUNTERFACTUAL_KINDS
    from mien.predict.explain.explainer import ExplainOptions
    from mien.predict.sources.image import open_source

    boxes = [parse_box_option(text) for text in box or ()]
    options = ExplainOptions(
        labels=tuple(label or ()),
        top=top,
        cells=cells,
        counterfactuals=COUNTERFACTUAL_KINDS if counterfactuals else (),
        descriptions=tuple(description or ()),
        face=None if face is None else parse_box_option(face),
        random_orders=random_orders,
    )
    if out is not None and out.exists() and not out.is_dir():
        raise UsageError(f"{out} is a file", hint="name a folder for the explanation")
    console = make_console(as_json)
    predictor = open_run(console, run, places or (), detector, boxes).predictor
    ((_, results, _),) = predictor.run([open_source(source, boxes)])
    people = _chosen(results, person)
    if options.face is not None and len(people) > 1:
        raise UsageError(f"one face for {len(people)} people", hint="say whose it is with --person")
    explained: list[Explanation] = []
    failures: list[MienError] = []
    for item in people:
        try:
            explained.append(_explain(item, options))
        except MienError as error:
            if len(people) == 1 or isinstance(error, UsageError):
                raise
            failures.append(error)
            console.note(f"person {item.id} failed: {error}")
    files = _save(explained, out, has_several=len(people) > 1)
    _print(console, results, explained, files)
    failures += [error for item in explained for error in item.errors]
    if failures:
        count = "1 answer" if len(failures) == 1 else f"{len(failures)} answers"
        raise ItemsFailedError(
            f"{count} failed, for example {failures[0]}",
            hint=failures[0].hint,
        )


def _chosen(results: Results, person: int | None) -> Sequence[Person]:
    """The people to explain; the error of a photo that cannot be read."""
    if results.error is not None:
        raise results.error
    if person is None:
        return results.people
    if person >= len(results):
        raise UsageError(
            f"no person {person} among {len(results)} in the photo", hint="people are numbered from 0"
        )
    return results.people[person : person + 1]


def _explain(person: Person, options: Any) -> Explanation:
    if person.error is not None:
        raise person.error
    return person.explain(options=options)


def _save(explained: Sequence[Explanation], out: Path | None, *, has_several: bool) -> list[Path]:
    """The files of each person, in a folder of their own if there are several."""
    if out is None:
        return []
    return [
        path
        for item in explained
        for path in item.save(out / f"person-{item.person}" if has_several else out)
    ]


def _print(
    console: Console, results: Results, explained: Sequence[Explanation], files: Sequence[Path]
) -> None:
    from mien.cli.render.explanation import render_explanation
    from mien.cli.render.text import join_lines

    parts = [render_explanation(item) for item in explained]
    if not results.people:
        parts.append(join_lines([f"{results.source}: {results.status}"]))
    if files:
        parts.append(join_lines([f"written: {path}" for path in files]))
    document: ExplainedPhoto = {
        "source": results.source,
        "status": results.status,
        "people": [item.to_dict() for item in explained],
        "files": [str(path) for path in files],
    }
    console.print_result(document, "\n\n".join(parts))
