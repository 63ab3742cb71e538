"""A reuse table while it is made.

::

    <output.path>/_reuse/<table id>/
        part-00000.parquet   see pipeline.candidates.reuse
        part-00000.json      its digest, and what was counted for it; written after it
        manifest.json        every part; written last, so that a table with it is whole

Every file is created in one step and has one content, whoever makes it: two drivers at once are
harmless, and what a killed one has left is gone on with.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import pyarrow as pa

from pipeline import failpoints
from pipeline.candidates.reuse import MANIFEST, ReusePart, ReuseTable, write_part
from pipeline.errors import DamagedRunError, NotFoundError
from pipeline.storage.files import FILE
from pipeline.storage.sealed_files import read_or_remove
from pipeline.storage.seals import sealed_json
from pipeline.storage.store import (
    create_if_absent,
    delete,
    join,
    list_entries,
    write_whole,
)

logger = logging.getLogger("pipeline")

_MOST_BYTES: Final = 8 << 30

Counts = dict[str, dict[str, int]]


@dataclass(frozen=True)
class TableFolder:
    """Paths and files of one table."""

    path: str

    @property
    def table_id(self) -> str:
        """What the table is made of, as 16 hex digits."""
        return self.path.rpartition("/")[2]

    def table(self) -> ReuseTable | None:
        """The table; None where it is not whole. What is damaged of it is removed."""
        try:
            found = ReuseTable.open(self.path)
        except NotFoundError:
            return None
        except DamagedRunError as error:
            logger.warning("%s; it is made anew", error)
            delete(join(self.path, MANIFEST))
            return None
        sizes = self._sizes()
        lacking = [part for part in found.parts if sizes.get(part.key) != part.bytes]
        if not lacking:
            return found
        logger.warning(
            "%s: gone, or not what was written there; %d part(s) of the reuse table are made anew",
            join(self.path, lacking[0].key), len(lacking),
        )  # fmt: skip
        delete(join(self.path, MANIFEST))
        for part in lacking:
            delete(self._record(part.key))
            delete(join(self.path, part.key))
        return None

    def commit(
        self, number: int, *, start: int, stop: int, rows: pa.Table, counts: Counts
    ) -> dict[str, Any]:
        """Put a part and its record; returns the record.

        Args:
            number: of the part, from 0.
            start: first row of its range of the input.
            stop: row after the last.
            rows: of :data:`pipeline.candidates.reuse.PART_SCHEMA`.
            counts: of documents and lists, by what becomes of them.
        """
        failpoints.reached("reuse.part_ready")
        part = write_part(self.path, number, start=start, stop=stop, rows=rows)
        failpoints.reached("reuse.part_written")
        record = {"number": number, "part": asdict(part), "counts": counts}
        path, data = self._record(part.key), sealed_json(record)
        if not create_if_absent(path, data):
            write_whole(path, data)
        failpoints.reached("reuse.part_recorded")
        return record

    def records(self, parts: int) -> dict[int, dict[str, Any]]:
        """What is known of the parts that are there with the size that they should have."""
        sizes = self._sizes()
        found = {}
        for number in range(parts):
            name = f"part-{number:05d}.parquet"
            if name not in sizes or self._record(name).rpartition("/")[2] not in sizes:
                continue
            record = self._read(self._record(name))
            if record is not None and sizes[name] == record["part"]["bytes"]:
                found[number] = record
        return found

    def finish(self, table: ReuseTable) -> None:
        """Write the manifest of a table whose parts are all there."""
        table.finish()
        failpoints.reached("reuse.finished")

    def _sizes(self) -> dict[str, int]:
        return {entry.name: entry.size for entry in list_entries(self.path) if entry.kind == FILE}

    def _record(self, key: str) -> str:
        return join(self.path, f"{key.removesuffix('.parquet')}.json")

    def _read(self, path: str) -> dict[str, Any] | None:
        return read_or_remove(path, most_bytes=_MOST_BYTES)


def parts_of_records(records: Sequence[dict[str, Any]]) -> tuple[ReusePart, ...]:
    """The parts of a table, as its manifest lists them; records of counts alone have none."""
    return tuple(ReusePart(**record["part"]) for record in records if "part" in record)
