"""The page of JSON schemas, and the schemas themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from scripts.docs.json_keys import text_of, type_words
from scripts.docs.schemas import COMMANDS, FILES, INTERNAL_FILES, RENAMED, TABLES, Schema, schema_name

from mien.predict.output.tables import NESTED, column_type

__all__ = ["schema_file", "schemas_page"]

_INTRO = """\
# JSON schemas

Each document that a command prints, and each file below, has a schema (JSON Schema 2020-12).
They are made from the types of the code that writes the documents, and tests validate what every command
prints and what is in every file of a run. [Keys of JSON documents](json-keys.md) explains each key.

Later versions of mien may add keys to any document, so ignore those that you do not know; the schemas
allow them. A later version that changes the meaning of a key, or removes one, increases the number in the
key `schema`. [Files of version 0.1.0](#files-of-version-010) differ. To check documents with the Python
package `jsonschema`:

```python
import json
import jsonschema

schema = json.load(open("mien-predict.schema.json"))
for line in open("people.jsonl"):  # mien predict photos/ --json > people.jsonl
    jsonschema.validate(json.loads(line), schema)
```

## Output of commands

With `--json`, a command prints one document to stdout, with its version in the key `schema`, when it has
ended. `mien predict` prints a document per person, each in a line of its own, as soon as the image is done,
and `mien serve` prints its document as soon as the service is ready.

Errors are not JSON: a command that fails prints two lines to stderr and ends with an [exit
code](errors.md#exit-codes). The document is printed as well if only some items failed (code 3), or if the
command looks for problems and finds some, such as `mien data verify`, `mien describe check` and `mien
doctor` (code 4). `mien --version` prints text.
"""
_ROWS = """\
## Rows of predictions

`mien predict --out FILE` writes a row per person. An image without people, or one that cannot be read,
has one row, in which the columns of people are null. If there are videos, `FILE.tracks` has a row per
person of a video. In CSV, null is an empty cell, and some columns have JSON in a cell. In Parquet,
`scores` has a field per label.
"""
_FILES = """\
## Files

[Files](files.md) says where they are. Files with the ending `.jsonl` have one document per line.
"""
_OLD_FILES = """\
### Files of version 0.1.0

mien reads files that version 0.1.0 wrote, but some of their keys have other names, though the number in
`schema` is the same. Rename these keys before you validate such a file:

| file | key in 0.1.0 | key now |
|---|---|---|
"""
_OLD_AUDIT = """\
`description_audit.json` was called `words.json`, and most of its keys had other names; `mien describe
audit` writes it again.
"""
_RECIPES = """\
## Recipes

An editor with a TOML language server completes and checks the keys of a recipe if the first line of the
recipe names a copy of the schema:

```toml
#:schema ./recipe.schema.json
```

## A service

Requests and answers of `mien serve` are in its OpenAPI document, `GET /openapi.json` ([serve a
model](../how-to/serve.md)). The explanation in an answer of `/v1/explain` is as in `explanation.json`,
without `source`.
"""


def schema_file(schema: Schema) -> str:
    """The text of a schema."""
    return json.dumps(schema.document(), indent=1) + "\n"


def schemas_page() -> str:
    """Schemas by command and by file, and the columns of predictions."""
    return "\n".join(
        [
            _INTRO,
            *_rows(
                "command", {f"`{name}`": (schema_name(name), schema) for name, schema in COMMANDS.items()}
            ),
            "",
            _ROWS,
            *(line for name, schema in TABLES.items() for line in _columns(name, schema)),
            _FILES,
            *_rows(
                "file",
                {_file_names(schema): (name, schema) for name, schema in FILES.items()},
            ),
            "",
            "These files are for mien alone and have no schema:\n",
            "| file | |",
            "|---|---|",
            *(f"| `{name}` | {reason} |" for name, reason in INTERNAL_FILES.items()),
            "",
            _OLD_FILES + "\n".join(_renamed_rows()),
            "",
            _OLD_AUDIT,
            _RECIPES,
        ]
    )


def _rows(what: str, schemas: Mapping[str, tuple[str, Schema]]) -> Iterator[str]:
    yield f"| {what} | schema | |"
    yield "|---|---|---|"
    for shown, (name, schema) in schemas.items():
        lines = "; one document per line" if schema.is_lines else ""
        yield f"| {shown} | [{name}](schemas/{name}.schema.json) | {schema.about}{lines} |"


def _renamed_rows() -> Iterator[str]:
    for name, keys in RENAMED.items():
        for old, new in keys.items():
            yield f"| {_file_names(FILES[name])} | `{old}` | `{new}` |"


def _file_names(schema: Schema) -> str:
    return ", ".join(f"`{file}`" for file in schema.files)


def _columns(name: str, schema: Schema) -> Iterator[str]:
    """A table of the columns of a file of rows."""
    yield f"### {schema.about[:1].upper()}{schema.about[1:]}\n"
    yield f"[{name}](schemas/{name}.schema.json) is the schema of a line of JSON Lines.\n"
    yield "| column | JSON | Parquet | CSV | |"
    yield "|---|---|---|---|---|"
    for column, value in schema.document()["properties"].items():
        arrow = str(column_type(column, ["LABEL"])).replace("<", "&lt;").replace(">", "&gt;")
        cell = "JSON" if column in NESTED else "plain"
        yield f"| `{column}` | {type_words(value)} | {arrow} | {cell} | {text_of(value)} |"
    yield ""
