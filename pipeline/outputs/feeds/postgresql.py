"""PostgreSQL: a table of rows, brought from one generation to the next in one transaction.

Three tables in one schema, for ``table: rankings``: ``rankings`` with the rows, its primary key
(query_id, doc_id); ``rankings_generation`` with one row, which says what ``rankings`` holds; and
``rankings_staging``, into which parts are copied before.

Reading: [serving.md](serving.md#postgresql).
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, Final, NamedTuple

import pyarrow as pa
from pydantic import Field

from pipeline.config import Settings
from pipeline.errors import FeedError
from pipeline.extras import library
from pipeline.outputs.feeds.support.addresses import VariableName, address_in
from pipeline.outputs.feeds.support.base import CHANGE, GONE, ChangePart, Delivery, Feed
from pipeline.outputs.feeds.support.postgresql_types import tuples, type_name
from pipeline.outputs.feeds.support.row_table import (
    KEYS,
    all_rows,
    expect_base,
    lost_parts,
    reshaped,
    row_schema,
)

_STATE: Final = """
CREATE TABLE IF NOT EXISTS {state} (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    generation bigint, run_id text, date date, switched_at timestamptz,
    staged bigint, staged_base bigint, staged_parts integer[] NOT NULL DEFAULT '{{}}')
"""
_SWITCHED: Final = """
UPDATE {state} SET generation = %s, run_id = %s, date = %s, switched_at = now(),
    staged = NULL, staged_base = NULL, staged_parts = DEFAULT
"""
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped
"""
_SAME: Final = "t.query_id = s.query_id AND t.doc_id = s.doc_id"
#: Columns that only the staging table has, beside those of any name.
_PART: Final = '"staged part"'
_GONE: Final = '"staged as gone"'
_NAME: Final = r"^[A-Za-z_][A-Za-z0-9_ $-]*$"


class PostgresqlSettings(Settings):
    """Where rankings lie in PostgreSQL."""

    # PostgreSQL cuts names at 63 bytes; those of the two other tables are longer.
    table: str = Field(
        min_length=1,
        max_length=50,
        pattern=_NAME,
        description="Table of the rows; made where it is missing. TABLE_generation and "
        "TABLE_staging lie beside it.",
    )
    schema_name: str = Field(
        "public", min_length=1, max_length=63, pattern=_NAME, description="Its schema."
    )
    url_env: VariableName | None = Field(
        None,
        description="Environment variable with the address, postgresql://USER:PASSWORD@HOST/DB; "
        "null: libpq's own (PGSERVICE, PGHOST, PGUSER, PGPASSWORD, ~/.pgpass).",
    )


class _State(NamedTuple):
    """The row of ``TABLE_generation``."""

    generation: int | None
    staged: int | None
    staged_base: int | None
    staged_parts: list[int]


class PostgresqlFeed(Feed):
    """Parts go into a staging table; one transaction applies them and sets the generation."""

    Settings = PostgresqlSettings

    def __init__(self, settings: PostgresqlSettings, *, name: str) -> None:
        super().__init__(settings, name=name)
        self._connected: Any = None

    def held(self) -> int | None:
        """What ``TABLE_generation`` says, where the table is there."""
        state = self._state()
        return state.generation if self._columns(self._table) else None

    def keeps(self, delivery: Delivery) -> bool:
        """Whether the staging table is of this delivery."""
        state = self._state()
        return (state.staged, state.staged_base) == (delivery.generation, delivery.base)

    def begin(self, delivery: Delivery) -> None:
        """Make the staging table, empty unless the delivery goes on."""
        columns = row_schema(delivery)
        with self._connection.transaction():
            if not self._columns(self._state_table) and self._columns(self._table):
                raise FeedError(
                    f"feed '{self.name}': there is a table {self._table} that no feed made; its "
                    f"rows would be replaced. Drop it, or let feeds.{self.name}.table name another"
                )
            self._do(_STATE.format(state=self._state_table))
            self._do(f"INSERT INTO {self._state_table} DEFAULT VALUES ON CONFLICT DO NOTHING")
            self._expected(delivery)
            if not delivery.resumed:
                self._do(f"DROP TABLE IF EXISTS {self._staging}")
                own = f"{_PART} integer, {_GONE} boolean"
                self._do(f"CREATE TABLE {self._staging} ({own}, {self._typed(columns)})")
                self._do(
                    f"UPDATE {self._state_table} "
                    "SET staged = %s, staged_base = %s, staged_parts = DEFAULT",
                    delivery.generation,
                    delivery.base,
                )

    def put(self, number: int, part: ChangePart, delivery: Delivery) -> None:
        """Copy a part into the staging table, in place of what is there of it."""
        rows = part.rows()
        table = all_rows(rows, delivery)
        with self._connection.transaction():
            state = self._state(lock=True)
            if (state.staged, state.staged_base) != (delivery.generation, delivery.base):
                raise FeedError(
                    f"feed '{self.name}': {self._staging} is of another delivery by now; only one "
                    "job may feed a table. Feed again"
                )
            if number in state.staged_parts:
                self._do(f"DELETE FROM {self._staging} WHERE {_PART} = %s", number)
            names = ", ".join(map(self._quoted, table.column_names))
            into = f"COPY {self._staging} ({_PART}, {_GONE}, {names}) FROM STDIN"
            with self._connection.cursor() as cursor, cursor.copy(into) as copy:
                for change, row in zip(rows[CHANGE].to_pylist(), tuples(table), strict=True):
                    copy.write_row((number, change == GONE, *row))
            self._do(
                f"UPDATE {self._state_table} "
                "SET staged_parts = array_append(array_remove(staged_parts, %s), %s)",
                number,
                number,
            )

    def switch(self, delivery: Delivery) -> None:
        """Apply deletes and upserts, and set the generation, in one transaction."""
        columns = row_schema(delivery)
        with self._connection.transaction():
            state = self._expected(delivery, lock=True)
            if state.generation == delivery.generation and state.staged is None:
                return
            whole = self.keeps(delivery) and len(state.staged_parts) == delivery.parts
            if not whole:  # the next attempt begins anew
                self._do(f"UPDATE {self._state_table} SET staged = NULL")
        if not whole:
            raise lost_parts(self.name, self._staging)
        with self._connection.transaction():
            self._expected(delivery, lock=True)
            self._do(f"ANALYZE {self._staging}")  # the plans below depend on its size
            self._conform(columns, delivery)
            self._apply(columns, delivery)
            self._do(
                _SWITCHED.format(state=self._state_table),
                delivery.generation,
                delivery.run_id,
                delivery.date,
            )
            self._do(f"DROP TABLE {self._staging}")

    def close(self) -> None:
        """Close the connection."""
        if self._connected is not None:
            self._connected.close()
            self._connected = None

    def _apply(self, columns: pa.Schema, delivery: Delivery) -> None:
        """Delete and upsert; rows that are as before are not written again."""
        if delivery.full:
            self._do(
                f"DELETE FROM {self._table} t WHERE NOT EXISTS (SELECT FROM {self._staging} s "
                f"WHERE {_SAME} AND NOT s.{_GONE})"
                if delivery.parts
                else f"DELETE FROM {self._table}"
            )
        if not delivery.parts:
            return
        self._do(f"DELETE FROM {self._table} t USING {self._staging} s WHERE {_SAME} AND s.{_GONE}")
        names = [self._quoted(name) for name in columns.names]
        others = [self._quoted(name) for name in columns.names if name not in KEYS]
        sets = ", ".join(f"{name} = EXCLUDED.{name}" for name in others)
        old = ", ".join(f"t.{name}" for name in others)
        new = ", ".join(f"EXCLUDED.{name}" for name in others)
        self._do(
            f"INSERT INTO {self._table} AS t ({', '.join(names)}) SELECT {', '.join(names)} "
            f"FROM {self._staging} s WHERE NOT s.{_GONE} "
            f"ON CONFLICT (query_id, doc_id) DO UPDATE SET {sets} "
            f"WHERE ({old}) IS DISTINCT FROM ({new})"
        )

    def _conform(self, columns: pa.Schema, delivery: Delivery) -> None:
        """Give the table the columns of the generation.

        Where they change, every row is among the changes, so that new columns are filled.

        Raises:
            FeedError: ids have another type than before.
        """
        there = self._columns(self._table)
        wanted = {field.name: type_name(field.name, field.type) for field in columns}
        if not there:
            key = ", ".join(KEYS)
            self._do(f"CREATE TABLE {self._table} ({self._typed(columns)}, PRIMARY KEY ({key}))")
            return
        if reshaped(there, wanted, delivery, feed=self.name, target=self._table):
            for name, _ in sorted(there.items() - wanted.items()):
                self._do(f"ALTER TABLE {self._table} DROP COLUMN {self._quoted(name)}")
            for name, kind in sorted(wanted.items() - there.items()):
                self._do(f"ALTER TABLE {self._table} ADD COLUMN {self._quoted(name)} {kind}")

    def _expected(self, delivery: Delivery, *, lock: bool = False) -> _State:
        state = self._state(lock=lock)
        found = state.generation if self._columns(self._table) else None
        expect_base(found, delivery, feed=self.name, target=self._table)
        return state

    def _state(self, *, lock: bool = False) -> _State:
        if not self._columns(self._state_table):
            return _State(None, None, None, [])
        rows = self._do(
            f"SELECT generation, staged, staged_base, staged_parts FROM {self._state_table}"
            + (" FOR UPDATE" if lock else "")
        ).fetchall()
        return _State(*rows[0]) if rows else _State(None, None, None, [])

    def _columns(self, table: str) -> dict[str, str]:
        """Names and types of a table's columns; empty where it is not there."""
        return dict(self._connection.execute(_COLUMNS, (table,)).fetchall())

    @property
    def _connection(self) -> Any:
        if self._connected is None:
            psycopg = library("psycopg", extra="postgresql", needed_by=f"feed '{self.name}'")
            variable = self.settings.url_env
            example = "postgresql://localhost/search"
            url = address_in(variable, feed=self.name, example=example) if variable else ""
            self._connected = psycopg.connect(url, autocommit=True, client_encoding="utf8")
        return self._connected

    def _do(self, statement: str, *values: Any) -> Any:
        """Run a statement; without values, a % in it is nothing special."""
        return self._connection.execute(statement, values or None)

    @cached_property
    def _table(self) -> str:
        return self._quoted(self.settings.schema_name, self.settings.table)

    @cached_property
    def _state_table(self) -> str:
        return self._quoted(self.settings.schema_name, f"{self.settings.table}_generation")

    @cached_property
    def _staging(self) -> str:
        return self._quoted(self.settings.schema_name, f"{self.settings.table}_staging")

    def _typed(self, columns: pa.Schema) -> str:
        """Columns as a new table's definition lists them."""
        return ", ".join(
            f"{self._quoted(field.name)} {type_name(field.name, field.type)}" for field in columns
        )

    def _quoted(self, *names: str) -> str:
        sql = library("psycopg.sql", extra="postgresql", needed_by=f"feed '{self.name}'")
        quoted: str = sql.Identifier(*names).as_string()
        return quoted
