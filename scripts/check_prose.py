"""Lists words and names that the project no longer uses, each with its replacement.

    python scripts/check_prose.py [PATH ...]

Reads .py files (docstrings, comments, string literals, identifiers) and .md, .toml and .html files. Prints
`path:line: word -> suggestion` and exits with 1 if it finds any.

To accept a word in one place, add a line with a reason to `ALLOWED`.
"""

from __future__ import annotations

import argparse
import io
import re
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Final

DEFAULT_PATHS: Final = (
    "src", "docs", "README.md", "CHANGELOG.md", "CONTRIBUTING.md", "recipes", "scripts", "benchmarks",
    "tests", "pyproject.toml", "Makefile",
)  # fmt: skip
SUFFIXES: Final = frozenset({".py", ".md", ".toml", ".html"})

# Regular expressions, matched without regard to case at word boundaries. A space also matches a line break.
PHRASES: Final = {
    # Dialect
    "nobody": "no one",
    "somebody": "someone, or name the actor",
    "everybody": "everyone",
    "whoever": "name the actor (a user, a caller)",
    "whatever": "any, regardless of",
    "mend(?:s|ed|ing)?": "fix",
    r"(?<!there )(?<!so there )is no(?! longer| more\b| one\b)": "is not a",
    r"(?<!there )are no(?! longer| more\b)": "are not",
    r"(?:tell|tells|telling) off": "hold out, reserve",
    r"tells? (?!it |us |me |you |them )\S+(?: \S+)? off": "hold out, reserve",
    "told off": "held out",
    "told apart": "distinguished",
    r"tells? [^.;:]{0,30}\bapart": "distinguish",
    r"(?:break|breaks|breaking|broke|broken) off": "stop, interrupt",
    r"(?:see|sees|seen) to (?!it that)(?:the|a|an|its|their|that|this|them|it)\b": "check, make sure, handle",
    "what is there": "existing",
    "as (?:it|they) (?:was|were)": "unchanged",
    "of which each": "each of which",
    "by lot": "at random, randomly chosen",
    "such as (?:it is|they are)": "unchanged",
    "to the last": "every, exactly",
    r"as (?:\w+ ){1,4}has it": "according to, as in",
    "(?:is|are) (?:told|asked)(?! for)": "say what it is given, or what it does",
    "beside": "next to, in addition to",
    r"lets? be": "leave unchanged",
    "Goes in": "delete, or say what a reader cannot guess",
    "Comes out": "delete, or say what a reader cannot guess",
    r"(?<![\w.])(?-i:In|Out): ": "delete, or say what a reader cannot guess",
    "Knows nothing about": "delete, or 'must not know'",
    r"rooms|Room \d|(?:the|this|that|each|one|its|own|a|another|every) room": "package",
    "theat(?:re|er)s?": "drawn world, Playhouse",
    r"one (?:row|line|token|column|file|folder|page|score|image|sample|frame|person|label|weight|vector|"
    r"number|value|seed|entry|key|call|request|text|description|process|worker|thread|run|batch|step|point|"
    r"bar|cell)s? an? (?!time\b)\w+": "one ... per ...",
    r"(?:a row|a line|a token|a column|a value|a number|a score) (?:a|an) (?!time\b)\w+": "one ... per ...",
    r"how (?:people|a person|they|someone) feels?": "how people appear to feel (apparent emotion)",
    # One word for one thing
    "pictures?": "image",
    "data sets?": "dataset",
    # American spelling
    "colou(?:r(?:s|ed|ing|ful)?)": "color",
    "behaviou(?:r\\w*)": "behavior",
    r"neighbour\w*": "neighbor",
    r"favour\w*": "favor",
    r"honour\w*": "honor",
    r"licences?|licenced": "license",
    r"(?:optim|summar|normal|initial|serial|deserial|token|organ|recogn|minim|maxim|general|visual|special|standard|"
    r"categor|util|parallel|quant|random|regular|local|penal|raster|synchron|harmon|material|equal|memor|canonical|"
    r"binar|vector|factor|apolog|character|crystall|custom|emphas|final|formal|item|modern|moderni|stabil|symbol)"
    r"is(?:e|ed|es|er|ers|ing|ation|ations|able)": "-ize, -ization",
    r"analys(?:e|ed|ing)": "analyze",
    r"gr(?:ey)\w*": "gray",
    r"artefacts?": "artifact",
    r"(?:model|label|channel|signal|travel|cancel|total|level|tunnel)l(?:ed|ing)": "one l: labeled",
    r"cent(?:re|res|red|ring)": "center",
    r"(?:fib|met|lit)res?": "-er: fiber, meter, liter",
    r"catalogues?": "catalog",
    r"judgements?": "judgment",
    r"defence|offence": "-ense",
    r"programmes?": "program",
}  # fmt: skip

# Identifiers of version 0.1.0 that were replaced. Case matters; whole identifiers only.
NAMES: Final = {
    "Asked": "MetricInput",
    "Crew": "WorkerPool",
    "Drained": "say what the signal handler does",
    "Flaw": "ImageProblem",
    "Host": "WorkerBackend",
    "Look": "SplitAccess, ImageInfo",
    "Naming": "label agreement",
    "Places": "FrameEmbedding",
    "Questioner": "RequestBuilder",
    "Resplit": "wrap the dataset",
    "_Part": "wrap the experiment",
    "_Post": "_Slot",
    "_anchored": "_absolute_paths",
    "_hire": "_start",
    "_lot": "say what is computed",
    "_seen": "say what is computed",
    "_settle": "say what is computed",
    "_told": "say what is computed",
    "_wanted": "say what is computed",
    "asking": "request_builder",
    "emotic_apart": "mat_subprocess",
    "emotic_votes": "targets",
    "foreman": "supervisor",
    "gravity": "severity",
    "greet": "handshake",
    "looks_at": "feature_views",
    "made_ahead": "prefetch",
    "reopen": "load_experiment",
    "settled": "resolved_recipe",
    "suffer": "record_loss",
    "take_stock": "check_inputs",
    "text_looks": "text_cross_attention",
    "took_down": "as_engine_error",
    "wordless_rows": "dropped_descriptions",
}

# Module names of version 0.1.0: `mien.<...>.NAME`, or `NAME.py` in prose.
MODULES: Final = {
    "ahead": "prefetch",
    "asked": "metric_inputs",
    "audit_labels": "report.audit.label_charts",
    "audit_lines": "report.audit.lines",
    "crew": "describe.ray.worker_pool",
    "dedup": "data.audit.near_duplicate_splits",
    "drain": "cli.signals",
    "emotic_apart": "data.emotic.mat_subprocess",
    "emotic_votes": "data.emotic.targets",
    "exchange": "describe.remote.protocol",
    "foreign": "describe.store.imported",
    "fresh": "model.build",
    "gold": "evaluate.descriptions.label_agreement",
    "inventories": "cli.render_data",
    "kinds": "report.audit.problem_kinds",
    "looks": "evaluate.results.split_accesses, features.feature_views",
    "naming": "evaluate.descriptions.label_naming",
    "optimise": "train.optimizer",
    "packets": "media.frame_index",
    "pictures": "features.image_reader, report.embedded_images",
    "pipeline": "workflow.steps",
    "prose": "evaluate.descriptions.text_statistics",
    "questions": "describe.requests",
    "ranked": "evaluate.metrics.rank_kernel",
    "rooms": "cli",
    "sameness": "evaluate.descriptions.near_duplicate_texts",
    "shows": "cli.render_runs",
    "standing": "workflow.compare",
    "stock": "train.readiness",
    "twins": "report.audit.near_duplicates",
    "verdict": "evaluate.descriptions.findings",
    "words": "playhouse.text, evaluate.descriptions.description_audit",
    "worst": "report.audit.suspicious_boxes",
}


@dataclass(frozen=True)
class Allowed:
    """A word that is right in some files: `word` is a regular expression for the text found."""

    path: str
    word: str
    reason: str


ALLOWED: Final = (
    Allowed("scripts/check_prose.py", ".*", "lists the words"),
    Allowed("tests/checks/test_prose.py", ".*", "shows the words to the check"),
    Allowed("src/mien/evaluate/descriptions/description_audit.py", "nobody", "a key that 0.1.0 stored"),
    Allowed("tests/evaluate/descriptions/test_description_audit.py", "nobody", "a key that 0.1.0 stored"),
    Allowed("src/mien/data/manifest/dataset.py", "pictures", "the cache folder's name since 0.1.0"),
    Allowed("src/mien/describe/vllm.py", "CancelledError", "the name of a class of Python"),
    Allowed("src/mien/serve/app.py", "CancelledError", "the name of a class of Python"),
    Allowed("src/mien/describe/prompts.py", "picture", "a prompt's wording, from which keys are computed"),
    Allowed("src/mien/features/image_reader.py", "pictures", "part of the fingerprints that 0.1.0 stored"),
    Allowed("src/mien/playhouse/text.py", "nobody", "what the embedded model has learned to write"),
)


@dataclass(frozen=True, order=True)
class Finding:
    """A word at a line of a file, with what to write instead."""

    path: str
    line: int
    word: str
    suggestion: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word} -> {self.suggestion}"


_SPACE: Final = r"(?:[^\S\n]+|[^\S\n]*\n[^\S\n]*)"  # at most one line break: paragraphs are separate
_BETWEEN: Final = "\x01"  # stands for code, so that no phrase is found across it
_NAME: Final = re.compile(r"[^\W\d]\w*")


def _phrase_pattern(phrase: str) -> re.Pattern[str]:
    # Lookarounds need a fixed width, so that the space inside them stays one space.
    parts = re.split(r"(\(\?<?[!=][^()]*\))", phrase)
    loose = "".join(part if part.startswith("(?") else part.replace(" ", _SPACE) for part in parts)
    end = "" if phrase.endswith((" ", r"\b")) else r"\b(?!\()"
    return re.compile(rf"\b(?:{loose}){end}", re.IGNORECASE)


_PHRASES: Final = [(_phrase_pattern(phrase), suggestion) for phrase, suggestion in PHRASES.items()]
_ANY_MODULE: Final = "|".join(MODULES)
_MODULE_PATTERN: Final = re.compile(rf"\bmien(?:\.\w+)*?\.({_ANY_MODULE})\b|\b({_ANY_MODULE})\.py\b")


def find_in_text(text: str) -> Iterator[tuple[int, str, str]]:
    """Phrases and old module names in prose: (offset, word, suggestion)."""
    for pattern, suggestion in _PHRASES:
        for match in pattern.finditer(text):
            yield match.start(), " ".join(match.group().split()), suggestion
    for match in _MODULE_PATTERN.finditer(text):
        yield match.start(), match.group(), MODULES[match.group(1) or match.group(2)]


def find_in_code_spans(text: str) -> Iterator[tuple[int, str, str]]:
    """Old names in `code spans` of prose."""
    for span in re.finditer(r"`[^`\n]+`", text):
        for match in _NAME.finditer(span.group()):
            if match.group() in NAMES:
                yield span.start() + match.start(), match.group(), NAMES[match.group()]


@cache
def find_in_identifier(name: str) -> str | None:
    """What to write instead of an old name, or of one with a phrase in it: `_picture_path`, `ColourSpace`."""
    if name in NAMES:
        return NAMES[name]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|_", " ", name)
    return next((suggestion for pattern, suggestion in _PHRASES if pattern.search(words)), None)


def prose_of_python(source: str, tokens: Sequence[tokenize.TokenInfo]) -> str:
    """The same text with code blanked out: only comments and string literals are left, in their places."""
    lines = [re.sub(r"\S", _BETWEEN, line) for line in source.splitlines(keepends=True)]

    def show(row: int, begin: int, text: str) -> None:
        lines[row - 1] = lines[row - 1][:begin] + text + lines[row - 1][begin + len(text) :]

    for token in tokens:
        row, column = token.start
        if token.type == tokenize.COMMENT:
            show(row, column, token.string.replace("#", " ", 1))
        elif token.type == tokenize.STRING or tokenize.tok_name[token.type] == "FSTRING_MIDDLE":
            text = token.string
            if token.type == tokenize.STRING:
                quoted = re.match(r"\w*(\"\"\"|'''|\"|')", text)
                assert quoted is not None
                text = (
                    " " * quoted.end()
                    + text[quoted.end() : -len(quoted.group(1))]
                    + " " * len(quoted.group(1))
                )
            for number, part in enumerate(text.split("\n")):
                show(row + number, column if number == 0 else 0, part)
    return "".join(lines)


def find_in_python(source: str) -> Iterator[tuple[int, str, str]]:
    """Findings in a module, as (line, word, suggestion)."""
    tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
    prose = prose_of_python(source, tokens)
    for finder in (find_in_text, find_in_code_spans):
        for offset, word, suggestion in finder(prose):
            yield prose.count("\n", 0, offset) + 1, word, suggestion
    for token in tokens:
        if token.type == tokenize.NAME and (replacement := find_in_identifier(token.string)):
            yield token.start[0], token.string, replacement
    for match in re.finditer(r"^\s*(?:from|import) +(mien[\w.]*)", source, re.MULTILINE):
        for word in match.group(1).split("."):
            if word in MODULES:
                yield source.count("\n", 0, match.start(1)) + 1, match.group(1), MODULES[word]


def find_in_file(path: Path, root: Path) -> list[Finding]:
    """All findings in one file, in order, without those in `ALLOWED`."""
    source = path.read_text(encoding="utf-8")
    name = path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()
    if path.suffix == ".py":
        found = set(find_in_python(source))
    else:
        found = {
            (source.count("\n", 0, offset) + 1, word, suggestion)
            for finder in (find_in_text, find_in_code_spans)
            for offset, word, suggestion in finder(source)
        }
    return sorted(Finding(name, *item) for item in found if not is_allowed(name, item[1]))


def is_allowed(path: str, word: str) -> bool:
    """Whether a line of `ALLOWED` accepts this word in this file."""
    return any(Path(path).match(entry.path) and re.fullmatch(entry.word, word, re.I) for entry in ALLOWED)


def collect_files(paths: Sequence[str], root: Path) -> list[Path]:
    """The files to read below these paths, in order."""
    files: set[Path] = set()
    for name in paths:
        path = root / name
        if not path.exists():
            raise SystemExit(f"no file or folder at {name}")
        if path.is_dir():
            files.update(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
        else:
            files.add(path)
    return sorted(files)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the findings; 1 if there are any, else 0."""
    parser = argparse.ArgumentParser(description="List words and names that the project no longer uses.")
    parser.add_argument("paths", nargs="*", default=DEFAULT_PATHS, help="files or folders")
    options = parser.parse_args(arguments)
    findings = [
        found for file in collect_files(options.paths, Path.cwd()) for found in find_in_file(file, Path.cwd())
    ]
    for finding in findings:
        print(finding)
    print(f"{len(findings)} findings" if findings else "no findings", file=sys.stderr)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
