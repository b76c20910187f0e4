"""Documents of `mien describe`."""

from __future__ import annotations

from typing import NotRequired, TypedDict

from mien.describe.local.known_models import ModelCardDict
from mien.describe.prompts import ListedPrompt
from mien.describe.store.lookup import StoreStatus

__all__ = [
    "CheckedStore",
    "CountedTokens",
    "DescribeRun",
    "DescribeStatus",
    "DifferingDescription",
    "ExportedDescriptions",
    "ImportedDescriptions",
    "KnownModels",
    "KnownPrompts",
    "ListedFailure",
    "ListedRow",
    "MergedStore",
]


class ListedFailure(TypedDict):
    """A subject that has no description.

    Attributes:
        id: The id of the subject.
        error: Why it has no description.
    """

    id: str
    error: str


class CountedTokens(TypedDict):
    """The tokens of all replies whose engine counts them.

    Attributes:
        replies: How many replies these are.
        prompt: Tokens that the model read, images included.
        completion: Tokens that the model wrote, reasoning included.
    """

    replies: int
    prompt: int
    completion: int


class DescribeRun(TypedDict):
    """What a run of describing has done.

    Attributes:
        described: Subjects described in this run.
        already_described: Subjects that were described before.
        failed: Subjects without a description, failed now or in an earlier run.
        seconds: Duration of the run.
        per_second: Subjects described per second.
        batch_size: Requests of the last call of the engine.
        tokens: The tokens of the replies; None if the engine does not count them.
        store: The file of the store.
        stopped_by: The signal that ended the run early; missing if none did.
        failures: The subjects that failed; empty if the run was stopped.
    """

    described: int
    already_described: int
    failed: int
    seconds: float
    per_second: float
    batch_size: int
    tokens: CountedTokens | None
    store: str
    stopped_by: NotRequired[str]
    failures: list[ListedFailure]


class DescribeStatus(TypedDict):
    """How many subjects are described.

    Attributes:
        store: The file of the store.
        bytes: The size of the store in bytes; 0 if there is none yet.
        engine: The engine that describes, with a digest of its settings.
        prompt: Name of the prompt.
        to_describe: Subjects that were not described yet.
        to_retry: Subjects that failed.
        damaged: Subjects whose description is damaged, to be described again; missing if there are none.
        splits: How many people are described, by split.
    """

    store: str
    bytes: int
    engine: str
    prompt: str
    to_describe: int
    to_retry: int
    damaged: NotRequired[int]
    splits: dict[str, StoreStatus]


class ListedRow(TypedDict):
    """A damaged row of a store. Its key and id are as they are read, and may be wrong.

    Attributes:
        key: The key of the description.
        id: The id of the subject.
        reason: What is wrong.
    """

    key: str
    id: str
    reason: str


class CheckedStore(TypedDict):
    """What is in a store, and what is wrong with it.

    Attributes:
        descriptions: Unchanged descriptions, as far as they can be read.
        failures: Unchanged failures, as far as they can be read.
        damaged: How many rows differ from what was written.
        without_digest: How many rows have no digest, such as those of version 0.1.0, and cannot be checked.
        file: "ok", or what is wrong with the file beyond single rows.
        store: The file of the store.
        problems: All that is wrong with the file beyond single rows.
        listed: The first damaged rows.
        repair: The command that repairs the store; empty if it is not damaged.
    """

    descriptions: int
    failures: int
    damaged: int
    without_digest: int
    file: str
    store: str
    problems: list[str]
    listed: list[ListedRow]
    repair: str


class ExportedDescriptions(TypedDict):
    """The descriptions of a store in one file.

    Attributes:
        descriptions: How many descriptions were written.
        store: The file of the store.
        file: The file that was written.
        damaged: How many rows are damaged and were left out; missing if none is.
        left_out: The first damaged rows that were left out.
    """

    descriptions: int
    store: str
    file: str
    damaged: NotRequired[int]
    left_out: list[ListedRow]


class ImportedDescriptions(TypedDict):
    """Descriptions that were made elsewhere.

    Attributes:
        imported: How many descriptions are new to the store.
        existing: How many descriptions the store had before.
        subjects_without: How many subjects of the dataset have no description.
        unmatched: How many ids of the file belong to no subject.
        store: The file of the store.
        without: The first ids of subjects without a description.
        unknown: The first ids that belong to no subject.
    """

    imported: int
    existing: int
    subjects_without: int
    unmatched: int
    store: str
    without: list[str]
    unknown: list[str]


class DifferingDescription(TypedDict):
    """A description that differs between two stores.

    Attributes:
        key: The key of the description.
        id: The id of the subject.
        stores: The two stores.
    """

    key: str
    id: str
    stores: list[str]


class MergedStore(TypedDict):
    """Several stores as one.

    Attributes:
        descriptions: How many descriptions the merged store has; 0 if nothing was written.
        failures: How many failures the merged store has; 0 if nothing was written.
        conflicts: How many descriptions differ between stores.
        store: The merged store.
        damaged: How many rows are damaged and were left out; missing if none is.
        recovered: How many descriptions were found in stores that are damaged beyond single rows; missing if
            there are none.
        written: Whether the stores were merged.
        listed: The first descriptions that differ.
        left_out: The first damaged rows, by store.
        recovered_from: How many descriptions were found, by store that is damaged beyond single rows.
    """

    descriptions: int
    failures: int
    conflicts: int
    store: str
    damaged: NotRequired[int]
    recovered: NotRequired[int]
    written: bool
    listed: list[DifferingDescription]
    left_out: dict[str, list[ListedRow]]
    recovered_from: dict[str, int]


class KnownModels(TypedDict):
    """Models that describe well.

    Attributes:
        models: The models, the smallest first.
    """

    models: list[ModelCardDict]


class KnownPrompts(TypedDict):
    """The prompts that a recipe can use.

    Attributes:
        prompts: The built-in prompts.
    """

    prompts: list[ListedPrompt]
