"""The store of descriptions: one SQLite file that many processes may read while one writes.

Guarantees: a group that `put` has returned from survives `kill -9` and a power cut. A group is written as a
whole or not at all. A description is never replaced. A row whose bits have changed since is never returned:
it counts as missing, and is in `damaged_rows`.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from mien.describe.store.known_keys import KnownKeys
from mien.describe.store.layout import (
    COUNTED_TABLES,
    DIGESTS,
    INDEX_OF_KEYS,
    INSERT,
    KEY_INDEX,
    rebuild_table,
    steps_taken,
    transaction,
)
from mien.describe.store.opening import (
    StructureCheck,
    acquire_lock,
    check_structure,
    open_for_reading,
    open_for_writing,
    release_lock,
)
from mien.describe.store.rows import (
    NUM_COLUMNS,
    SELECT,
    DamagedRow,
    are_as_written,
    check_columns,
    check_digest,
    description_row,
    failure_row,
    parse_description,
    parse_failure,
)
from mien.describe.store.store_errors import damaged_store, sqlite_errors
from mien.errors import DamagedStoreError
from mien.types import Description, Failure

__all__ = ["Store"]

_log = logging.getLogger(__name__)
_Row = Sequence[Any]

_INSERT_DESCRIPTION: Final = f"{INSERT['descriptions']} on conflict (key) do nothing"
_DELETE_FAILURE: Final = "delete from failures where key = ?"
_IF_NOT_DESCRIBED: Final = (
    "select ?, ?, ?, ?, ?, ? where not exists (select 1 from descriptions where key = ?)"
)
_INSERT_FAILURE: Final = INSERT["failures"].replace("values (?, ?, ?, ?, ?, ?)", _IF_NOT_DESCRIBED)
_COUNT: Final = "update row_counts set num_rows = num_rows + ? where name = ?"
_KEYS_PER_QUERY: Final = 500  # SQLite's oldest limit on parameters is 999
_AS_WRITTEN: Final[dict[str, Callable[[_Row], _Row]]] = {
    "descriptions": lambda row: description_row(parse_description(row)),
    "failures": lambda row: failure_row(parse_failure(row)),
}
_ROWS_AT_ONCE: Final = 256  # that are checked together
_KEY_SHOWN: Final = 12  # characters of a key
_MISSING: Final = "it counts as missing"
_REMOVED: Final = "it is removed and counts as missing"
_MAX_NAMED: Final = 5  # damaged rows that are named one by one; all are counted


class Store:
    """An open store; also a context manager.

    Args:
        path: The SQLite file. A lock file, and SQLite's journal while it is written, lie next to it.
        writable: Whether to lock the store and to create the file where there is none. A store that is
            opened for reading must exist. A writer checks all rows and removes damaged ones.

    Attributes:
        has_digests: Whether rows are verified. A store of version 0.1.0 is not until it is written again.

    Raises:
        StoreError: The file is missing, not a store, or written by a newer mien.
        DamagedStoreError: The file is damaged beyond single rows.
        StoreLockedError: Another process has the store open for writing.
    """

    def __init__(self, path: Path, *, writable: bool = True) -> None:
        self.path = path
        # By table, key and number, because the keys of some rows may have become equal.
        self._damaged: dict[tuple[str, str, int], DamagedRow] = {}
        self.has_digests = True
        self._num_met = 0  # damaged rows, each time that one is met
        self._known_keys: KnownKeys | None = None  # once all descriptions were read
        self._intact_keys: frozenset[bytes] | None = None  # if others are damaged
        self._structure_check: StructureCheck | None = None  # a writer's, until it has ended
        self._lock = acquire_lock(path) if writable else None
        try:
            if writable:
                self._connection, self._structure_check = open_for_writing(path)
            else:
                self._connection = open_for_reading(path)
            try:
                self._read_layout()
                if writable:
                    self._remove_damaged_rows()
            except BaseException:
                self._connection.close()
                raise
        except BaseException:
            self._release_lock()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file and releases the lock; a second call does nothing."""
        try:
            self._connection.close()
        finally:
            self._release_lock()

    def put(
        self,
        descriptions: Iterable[Description] = (),
        failures: Iterable[Failure] = (),
        *,
        resolved: Iterable[str] = (),
    ) -> None:
        """Writes a group of rows; they are on disk when this returns.

        A description removes the failure under its key. A key that is described already stays unchanged.

        Args:
            descriptions: Rows to add.
            failures: Rows to add, or to replace. They are ignored for keys that have a description.
            resolved: Keys of other failures to remove.
        """
        description_rows = [description_row(item) for item in descriptions]
        # The last one of each key.
        failure_rows = list({item.key: failure_row(item) for item in failures}.values())
        outdated = [(key,) for key in resolved] + [(row[0],) for row in (*description_rows, *failure_rows)]
        with sqlite_errors(self.path), transaction(self._connection):
            num_added = self._execute_many(_INSERT_DESCRIPTION, description_rows)
            num_removed = self._execute_many(_DELETE_FAILURE, outdated)
            num_failures = self._execute_many(_INSERT_FAILURE, [(*row, row[0]) for row in failure_rows])
            changes = [(num_added, "descriptions"), (num_failures - num_removed, "failures")]
            self._execute_many(_COUNT, [change for change in changes if change[0]])

    def get(self, key: str) -> Description | None:
        """The description under a key, or None."""
        return self.descriptions([key]).get(key)

    def keys(self) -> Iterator[str]:
        """The keys of all descriptions, in alphabetical order."""
        return map(bytes.decode, chain.from_iterable(self._all_keys("descriptions")))

    def described_keys(self, keys: Iterable[str]) -> set[str]:
        """The subset of the keys that have a description; texts are read at most once per store."""
        wanted = set(keys)
        known = self._verified_keys().find(wanted)
        if len(known) == len(wanted):
            return known
        # Of the others, some may have been written since.
        remaining, found = iter(wanted - known), set[bytes]()
        while group := tuple(islice(remaining, _KEYS_PER_QUERY)):
            query = f"{self._select_keys} where key in ({_placeholders(group)})"
            with sqlite_errors(self.path):
                found.update(key for (key,) in self._connection.execute(query, group).fetchall())
        new = found if self._intact_keys is None else found & self._intact_keys
        return known | {key.decode() for key in new}

    def descriptions(self, keys: Iterable[str]) -> dict[str, Description]:
        """The descriptions under these keys, by key; keys without one are left out."""
        items = map(parse_description, self._select("descriptions", keys))
        return {item.key: item for item in items}

    def failures(self, keys: Iterable[str] | None = None) -> list[Failure]:
        """The failures under these keys, or all failures, in the order of keys."""
        if keys is None:
            return list(self.iterate_failures())
        # A store mostly has none, and a resumed run asks for every subject.
        if not next(self._rows("select exists (select 1 from failures)"))[0]:
            return []
        return sorted(map(parse_failure, self._select("failures", keys)), key=lambda item: item.key)

    def iterate_failures(self) -> Iterator[Failure]:
        """All failures in the order of keys, read one at a time; DamagedStoreError if some are lost."""
        return map(parse_failure, self._all_rows("failures"))

    def __len__(self) -> int:
        """The number of descriptions, damaged ones included."""
        return int(next(self._rows("select count(*) from descriptions"))[0])

    def __bool__(self) -> bool:
        """Always true: an empty store is a store, and counting descriptions takes a while."""
        return True

    def __iter__(self) -> Iterator[Description]:
        """All descriptions in the order of keys, read one at a time; DamagedStoreError if some are lost."""
        return map(parse_description, self._all_rows("descriptions"))

    def __reversed__(self) -> Iterator[Description]:
        """All descriptions in the opposite order; rows that are lost are not noticed."""
        rows = self._rows(f"{SELECT['descriptions']}, {self._digest} from descriptions order by key desc")
        return map(parse_description, self._intact("descriptions", rows))

    @property
    def damaged_rows(self) -> tuple[DamagedRow, ...]:
        """The rows that were met so far and are not what was written."""
        return tuple(self._damaged.values())

    def find_damaged(self, key: str) -> DamagedRow | None:
        """The damaged row with this key, if one was met."""
        return next((row for table in COUNTED_TABLES if (row := self._damaged.get((table, key, 1)))), None)

    def structure_problems(self) -> list[str]:
        """What SQLite finds wrong with the file."""
        with sqlite_errors(self.path):
            return check_structure(self._connection)

    # --- Reading ---

    def _read_layout(self) -> None:
        with sqlite_errors(self.path):
            steps = steps_taken(self._connection, self.path)
        self.has_digests = DIGESTS in steps
        # SQLite does not choose the index by itself: it would walk the tree that carries the texts.
        index = f" indexed by {KEY_INDEX}" if INDEX_OF_KEYS in steps else ""
        self._select_keys = f"select key from descriptions{index}"  # noqa: S608  our own name
        self._digest = "digest" if self.has_digests else "null"
        self._checks: dict[str, Callable[[_Row], DamagedRow | None]] = (
            {table: partial(check_digest, number) for table, number in NUM_COLUMNS.items()}
            if self.has_digests
            else {
                "descriptions": partial(check_columns, parse_description),
                "failures": partial(check_columns, parse_failure),
            }
        )

    def _verified_keys(self) -> KnownKeys:
        """The keys of all descriptions, which are read for it once: the index does not know of damage."""
        if self._known_keys is None:
            num_met = self._num_met
            known = KnownKeys(self._all_keys("descriptions"))
            if self._num_met > num_met:
                self._intact_keys = frozenset(chain.from_iterable(self._all_keys("descriptions")))
            self._known_keys = known
        return self._known_keys

    def _all_rows(
        self, table: str, *, source: str | None = None, consequence: str = _MISSING
    ) -> Iterator[_Row]:
        """All intact rows in the order of keys; DamagedStoreError if there are fewer than were written."""
        groups = self._all_groups(table, source=source, consequence=consequence)
        return chain.from_iterable(rows for _, rows in groups)

    def _all_keys(self, table: str, *, consequence: str = _MISSING) -> Iterator[list[bytes]]:
        """The keys of `_all_rows`, in groups."""
        return (keys for keys, _ in self._all_groups(table, consequence=consequence))

    def _all_groups(
        self, table: str, *, source: str | None = None, consequence: str = _MISSING
    ) -> Iterator[tuple[list[bytes], list[_Row]]]:
        """The keys and rows of `_all_rows`, in groups.

        Intact rows in strict order, as many as were written, are all that were written, because a description
        never changes.
        """
        check, source = self._checks[table], source or table
        num_written, num_read, last = self._num_written(table), 0, b""
        num_damaged: Counter[str] = Counter()  # by key
        query = f"{SELECT[table]}, {self._digest} from {source} order by key"
        with sqlite_errors(self.path):
            for rows in _grouped(self._connection.execute(query)):
                keys = [row[0] for row in rows]
                if self.has_digests and are_as_written(NUM_COLUMNS[table], rows, [last, *keys]):
                    num_read += len(rows)
                    last = keys[-1]
                    yield keys, rows
                    continue
                for row in rows:
                    num_read += 1
                    if damage := check(row):
                        num_damaged[damage.key] += 1
                        name = (table, damage.key, num_damaged[damage.key])
                        self._record_damaged(name, damage, consequence)
                        continue
                    if row[0] <= last and num_read > 1:
                        raise damaged_store(self.path, f"its {table} are out of order")
                    last = row[0]
                    yield [last], [row]
        if num_read < num_written and self._is_short(table, source):
            raise damaged_store(self.path, f"{num_read} of {num_written} {table} are left")

    def _num_written(self, table: str) -> int:
        """How many rows a table must have; 0 where version 0.1.0 did not record it."""
        if not self.has_digests:
            return 0
        found = list(self._rows("select num_rows from row_counts where name = ?", (table,)))
        if len(found) != 1 or not isinstance(found[0][0], int):
            raise damaged_store(self.path, f"its number of {table} is lost")
        return found[0][0]

    def _is_short(self, table: str, source: str) -> bool:
        """Whether rows are lost, at one moment: a writer may remove failures while they are read."""
        num_rows = "select num_rows from row_counts where name = ?"
        query = f"select count(subject_id) < ({num_rows}) from {source}"  # noqa: S608  our own names
        return bool(next(self._rows(query, (table,)))[0])

    def _intact(self, table: str, rows: Iterable[_Row]) -> Iterator[_Row]:
        """The rows without damaged ones, which are recorded."""
        check = self._checks[table]
        for row in rows:
            if damage := check(row):
                self._record_damaged((table, damage.key, 1), damage, _MISSING)
            else:
                yield row

    def _record_damaged(self, name: tuple[str, str, int], row: DamagedRow, consequence: str) -> None:
        self._finish_structure_check()
        self._num_met += 1
        if name in self._damaged:
            return
        self._damaged[name] = row
        if len(self._damaged) <= _MAX_NAMED:
            _log.warning(
                "store %s: the row of %r (key %s) is damaged (%s); %s",
                self.path,
                row.subject_id,
                row.key[:_KEY_SHOWN],
                row.reason,
                consequence,
            )
        elif len(self._damaged) == _MAX_NAMED + 1:
            _log.warning(
                "store %s: more rows are damaged; list them with: mien describe check %s",
                self.path,
                self.path,
            )

    def _select(self, table: str, keys: Iterable[str]) -> Iterator[_Row]:
        remaining = iter(keys)
        query = f"{SELECT[table]}, {self._digest} from {table} where key in"
        while group := tuple(islice(remaining, _KEYS_PER_QUERY)):
            yield from self._intact(table, self._rows(f"{query} ({_placeholders(group)})", group))

    def _rows(self, query: str, values: Sequence[str] = ()) -> Iterator[_Row]:
        with sqlite_errors(self.path):
            # "yield from" would close the cursor, which fails once the store is closed.
            for row in self._connection.execute(query, values):  # noqa: UP028
                yield row

    # --- Writing ---

    def _remove_damaged_rows(self) -> None:
        """Removes the rows that are not what was written, so that they can be written again."""
        for table in COUNTED_TABLES:
            num_met = self._num_met
            try:
                known = KnownKeys(self._all_keys(table, consequence=_REMOVED))
            except DamagedStoreError:
                self._finish_structure_check()  # SQLite says what is damaged, if it finds it too
                raise
            self._finish_structure_check()
            if self._num_met > num_met or known.num_keys != self._num_written(table):
                with sqlite_errors(self.path), transaction(self._connection):
                    rows = map(_AS_WRITTEN[table], self._all_rows(table, source=f"damaged_{table}"))
                    rebuild_table(self._connection, table, rows)
            if table == "descriptions":
                self._known_keys = known

    def _finish_structure_check(self) -> None:
        """Waits for SQLite's check of the file; DamagedStoreError if more than single rows is damaged."""
        if self._structure_check is not None:
            check, self._structure_check = self._structure_check, None
            check.finish()

    def _execute_many(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> int:
        """Executes a statement for each row; returns how many rows it changed."""
        before = self._connection.total_changes
        self._connection.executemany(statement, rows)
        return self._connection.total_changes - before

    def _release_lock(self) -> None:
        if self._lock is not None:
            release_lock(self.path, self._lock)
            self._lock = None


def _grouped(rows: Iterator[_Row]) -> Iterator[list[_Row]]:
    """The rows in groups; those before an error are yielded before it is raised."""
    while True:
        group: list[_Row] = []
        try:
            group.extend(islice(rows, _ROWS_AT_ONCE))
        except BaseException:
            if group:
                yield group
            raise
        if not group:
            return
        yield group


def _placeholders(values: Sequence[str]) -> str:
    return ", ".join("?" * len(values))
