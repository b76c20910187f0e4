"""The generated part of the reference: commands, recipe keys, the Python API, errors and JSON schemas.

Nothing of it is committed, so it cannot be out of date.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from html import escape
from typing import Any

import typer
from scripts.docs.json_keys import keys_page
from scripts.docs.option_tables import argument_texts, first_paragraph, key_table
from scripts.docs.schemas import SCHEMAS
from scripts.docs.schemas_page import schema_file, schemas_page

import mien
import mien.errors
from mien.ablation.grid import GridOptions, VariantOptions
from mien.cli.entry_point import app
from mien.errors import MienError
from mien.model.fusion import Fusion, FusionOptions
from mien.recipe import Options, Recipe
from mien.registry import TABLES, resolve

__all__ = ["generated_files", "generated_pages"]

_REFERENCE = "reference"

EXIT_CODES = {
    0: "success",
    1: "unexpected: a defect of mien, or an error without a class of its own",
    2: "usage: the command line or the recipe is wrong",
    3: "finished, but some items failed; they are listed, and the others are saved",
    4: "data are missing or invalid",
    5: "weights are not available, such as offline",
    6: "an engine, a device or a cluster failed",
    130: "interrupted (Ctrl-C); finished work is saved",
    141: "the reader of the output, such as `head`, has closed it",
    143: "terminated (SIGTERM); finished work is saved",
}


def generated_pages() -> dict[str, str]:
    """Markdown by path in the site."""
    pages = {
        "commands.md": commands_page(),
        "recipe.md": recipe_page(),
        "api.md": api_page(),
        "errors.md": errors_page(),
        "schemas.md": schemas_page(),
        "json-keys.md": keys_page(),
    }
    return {f"{_REFERENCE}/{name}": text for name, text in pages.items()}


def generated_files() -> dict[str, str]:
    """JSON schemas by path in the site."""
    return {
        f"{_REFERENCE}/schemas/{name}.schema.json": schema_file(schema) for name, schema in SCHEMAS.items()
    }


# --- Commands ---


def commands_page() -> str:
    """All commands with their arguments and options."""
    tree: Any = typer.main.get_command(app)
    intro = (
        "# Commands\n\n"
        "Data go to stdout, everything else to stderr. `--json` prints one JSON document with its version in "
        "`schema`; the [keys of JSON documents](json-keys.md) say what is in it. "
        "[Exit codes](errors.md#exit-codes) say how a command ended. This page is generated from the "
        "command line itself; `mien COMMAND --help` prints the same.\n\n"
        "`mien --install-completion` sets up completion for bash, zsh, fish or PowerShell; "
        "`mien --show-completion` prints the script instead.\n"
    )
    return intro + "\n".join(_command("mien", tree, parent=None))


def _command(name: str, command: Any, parent: Any) -> Iterator[str]:
    context = typer.Context(command, info_name=name.rsplit(maxsplit=1)[-1], parent=parent)
    if parent is not None:
        yield f"\n## {name}\n"
        yield f"{_plain(command.help or '')}\n"
        yield f"```text\n{command.get_usage(context)}\n```\n"
        records = [parameter.get_help_record(context) for parameter in command.get_params(context)]
        rows = [f"| {_code(left)} | {_cell(right)} |" for left, right in filter(None, records)]
        yield "\n".join(["| | |", "|---|---|", *rows, ""])
    for child, sub in getattr(command, "commands", {}).items():
        yield from _command(f"{name} {child}", sub, context)


def _plain(text: str) -> str:
    return "\n".join(line.strip() for line in text.replace("\b", "").splitlines())


def _code(text: str) -> str:
    """Code in a cell of a table, where Markdown has no escape for "|" within backticks."""
    return f"<code>{escape(text, quote=False).replace('|', '&#124;')}</code>" if "|" in text else f"`{text}`"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*")


# --- Recipe keys ---


def recipe_page() -> str:
    """All keys of a recipe, and the options of all components."""
    parts = [
        "# Recipe keys\n",
        "A recipe is TOML. Everything outside of `[run]` changes the results and is part of the recipe's "
        "digest; `[run]` changes only speed and place. Unknown keys are refused, with the nearest valid one. "
        "`--set section.key=value` overrides a key. The [JSON schema](schemas.md) of a recipe completes and "
        "checks keys in editors. This page is generated from the classes that parse recipes.\n",
        '```toml\nname = "my-recipe"   # required; the run directory is runs/NAME\n```\n',
    ]
    for section, field in Recipe.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Options):
            parts += [
                f"## [{section}]\n",
                f"{field.description}\n",
                key_table(field.annotation, prefix=section),
            ]
    parts += ["## Components and their options\n", _COMPONENTS]
    for kind, (title, section) in _SECTIONS.items():
        parts.append(f"### {title}\n")
        parts += [_component(kind, name, section) for name in TABLES[kind]]
    parts += [_FUSION_OPTIONS, key_table(FusionOptions, prefix=_SECTIONS["fusion"][1])]
    parts.append(
        "### Metrics\n\n`evaluate.metrics` takes: " + ", ".join(f"`{n}`" for n in TABLES["metric"]) + ".\n"
    )
    parts += [
        "## Grids of an ablation\n",
        "A grid is a file of its own ([run an ablation](../how-to/ablate.md)).\n",
        key_table(GridOptions),
        "### [variants.NAME]\n",
        key_table(VariantOptions, prefix="variants.NAME"),
    ]
    return "\n".join(parts)


# Where the options of a kind of component stand.
_SECTIONS = {
    "dataset": ("Datasets", "data.options"),
    "engine": ("Engines", "describe.options"),
    "loss": ("Losses", "train.loss_options"),
    "fusion": ("Fusions", "model.options"),
}
_COMPONENTS = (
    "Each dataset, engine, fusion and loss declares its own options. A class or function of yours, named as "
    "`package.module:name`, does the same.\n"
)
_FUSION_OPTIONS = "All fusions have these options:\n"


def _component(kind: str, name: str, section: str) -> str:
    component = resolve(kind, name)
    options = component_options(component)
    table = ""
    if options and options.model_fields:
        table = key_table(options, prefix=section, texts=argument_texts(component))
    return f"#### {kind} `{name}`\n\n{_cell(first_paragraph(component))}\n\n{table}"


def component_options(component: Any) -> type[Options] | None:
    """The class of a component's options, registered with it or next to it; None if all share one."""
    if registration := getattr(component, "registration", None):
        registered: type[Options] = registration.options
        return registered
    if isinstance(component, type) and issubclass(component, Fusion):
        return None
    module = sys.modules[component.__module__]
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Options) and value.__module__ == module.__name__
    ]
    return found[0] if found else None


# --- Python API ---


def api_page() -> str:
    """Everything that `mien.__all__` lists, for mkdocstrings."""
    parts = [
        "# API\n",
        "Everything that `import mien` gives, from the docstrings. [Python API](python-api.md) is the short "
        "form, with examples.\n",
    ]
    for name in mien.__all__:
        value = inspect.unwrap(getattr(mien, name))
        if name == "__version__":
            continue
        path = f"{value.__module__}.{value.__qualname__}"
        inherited = "true" if name in ("Predictor", "Results") else "false"
        parts.append(
            f"::: {path}\n    options:\n      toc_label: mien.{name}\n      inherited_members: {inherited}\n"
        )
    return "\n".join(parts)


# --- Errors ---


def errors_page() -> str:
    """The error tree and the exit codes."""
    parts = [
        "# Errors and exit codes\n",
        "A command that fails prints two lines, `error:` with what happened and `hint:` with what to do, and "
        "ends with the exit code of its error. In Python, `str(error)` is the message, `error.hint` the "
        "hint, and "
        "`error.retryable` says whether trying again may help. `MIEN_DEBUG=1` adds a traceback.\n",
        "## Exit codes\n",
        "| | |",
        "|---|---|",
        *(f"| {code} | {meaning} |" for code, meaning in EXIT_CODES.items()),
        "",
        "With `mien predict`, `mien explain` and other commands that take many items, one bad item never "
        "costs "
        "the others: it is reported in its place, and the command ends with 3.\n",
        "## Error classes\n",
        "All are in `mien.errors`; `mien.MienError` is the base.\n",
        "| class | base | exit code | |",
        "|---|---|---|---|",
        *_error_rows(MienError),
    ]
    return "\n".join(parts) + "\n"


def _error_rows(error: type[MienError]) -> Iterator[str]:
    base = error.__bases__[0].__name__
    retry = " Trying again may help." if error.retryable is True else ""
    yield f"| `{error.__name__}` | `{base}` | {error.exit_code} | {_cell(first_paragraph(error))}{retry} |"
    for child in sorted(error.__subclasses__(), key=lambda child: (child.exit_code, child.__name__)):
        if child.__module__ == mien.errors.__name__:
            yield from _error_rows(child)
