"""A reuse table: scores of an earlier run that hold for today's documents of the same content.

::

    <output.path>/_reuse/<table id>/
        part-00000.parquet   content_key, score, scored_at: of the queries that begin in one range
                             of rows of the input
        manifest.json        every part with its range and digest; written last, and sealed

The table says what may be reused; whether a document is the one that was scored is seen where its
score is taken, for a score is found by the document's own content key.
"""

from __future__ import annotations

import datetime
import hashlib
import math
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline import schema
from pipeline.candidates.content_keys import content_keys
from pipeline.candidates.lists import CandidateLists
from pipeline.errors import DamagedRunError, InputContractError, NotFoundError
from pipeline.storage.parquet import table_of, to_bytes
from pipeline.storage.seals import NotWholeError, sealed_json, unsealed_json
from pipeline.storage.store import create_if_absent, join, read_versioned, write_whole

#: Folder of reuse tables, beside the runs.
REUSE: Final = "_reuse"

MANIFEST: Final = "manifest.json"

#: Rows of a part. A key may stand there more than once; the first row counts.
PART_SCHEMA: Final = pa.schema(
    [
        pa.field(schema.CONTENT_KEY, schema.CONTENT_KEY_TYPE, nullable=False),
        pa.field(schema.SCORE, pa.float32(), nullable=False),
        pa.field(schema.SCORED_AT, pa.date32(), nullable=False),
    ]
)

_KIND: Final = "reuse"
_MOST_BYTES: Final = 8 << 30

#: Parts that a worker keeps: the ones that a unit lies in, while it works on the units of those.
_KEPT_PARTS: Final = 2


@dataclass(frozen=True, kw_only=True)
class ReusePart:
    """One file of a table.

    Attributes:
        start: first row of the input in its range; it is of the queries that begin in the range.
        stop: row after the last.
        key: the file's name.
        bytes: its size.
        sha256: of its content.
        rows: scores in it.
    """

    start: int
    stop: int
    key: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class ReuseTable:
    """A table that is whole; small, so that each worker gets it.

    Attributes:
        path: its folder.
        table_id: 16 hex digits of what it was made of.
        date: the night that it is for, which is when what it does not know is scored.
        previous: run_id, manifest_sha256 and sequence of the publication that the scores are of;
            None where there is none.
        score_fingerprint: of the model that gives, and gave, the scores.
        why: a sentence that says why nothing can be reused; None where something may be.
        parts: in the order of their ranges.
        counts: of ``documents`` and of ``lists``, how many are reuse, rescore, new, gone ....
    """

    path: str
    table_id: str
    date: datetime.date
    previous: dict[str, Any] | None
    score_fingerprint: str
    why: str | None
    parts: tuple[ReusePart, ...]
    counts: dict[str, dict[str, int]]

    @classmethod
    def open(cls, path: str) -> ReuseTable:
        """The table in a folder.

        Raises:
            NotFoundError: it has no manifest, so it is not whole.
            DamagedRunError: its manifest is not as it was written, or of another table.
        """
        manifest = join(path, MANIFEST)
        found = read_versioned(manifest, most_bytes=_MOST_BYTES)
        if found is None:
            raise NotFoundError(
                f"{path}: no whole reuse table (no {MANIFEST}); `rerank refresh` makes it"
            )
        try:
            content = _Manifest.model_validate(unsealed_json(found[0]))
        except NotWholeError as error:
            raise _damaged(manifest, str(error)) from None
        except ValidationError as error:
            [first, *_] = error.errors()
            place = ".".join(str(step) for step in first["loc"])
            raise _damaged(manifest, f"'{place}': {first['msg']}") from None
        if content.table_id != path.rpartition("/")[2]:
            raise _damaged(manifest, f"it is of table {content.table_id}")
        return cls(
            path=path,
            table_id=content.table_id,
            date=datetime.date.fromisoformat(content.date),
            previous=content.previous,
            score_fingerprint=content.score_fingerprint,
            why=content.why,
            parts=tuple(ReusePart(**part.model_dump()) for part in content.parts),
            counts=content.counts,
        )

    def finish(self) -> None:
        """Write the manifest of a table whose parts are all there; the same bytes whoever does."""
        content = asdict(self) | {"kind": _KIND, "date": self.date.isoformat()}
        del content["path"]
        path, data = join(self.path, MANIFEST), sealed_json(content)
        if not create_if_absent(path, data):
            found = read_versioned(path, most_bytes=_MOST_BYTES)
            if found is None or found[0] != data:  # damaged, for its name says what it is of
                write_whole(path, data)

    def scores(self, start: int, stop: int) -> pa.Table:
        """What is known of the queries that begin in rows ``[start, stop)``, perhaps of others too.

        Returns:
            Rows of :data:`PART_SCHEMA`.

        Raises:
            DamagedRunError: a part is gone, or its content is another than the manifest says.
        """
        found = [
            _part(join(self.path, part.key), part.sha256)
            for part in self.parts
            if part.start < stop and start < part.stop and part.rows
        ]
        return pa.concat_tables([PART_SCHEMA.empty_table(), *found])

    def described(self) -> dict[str, Any]:
        """What ``run.json`` says of the table."""
        return {
            "folder": self.path,
            "table_id": self.table_id,
            "date": self.date.isoformat(),
            "previous": self.previous,
        }


def write_part(folder: str, number: int, *, start: int, stop: int, rows: pa.Table) -> ReusePart:
    """Write a part of a table, unless it is there; the same rows give the same bytes.

    Args:
        folder: the table's.
        number: of the part, from 0.
        start: first row of its range of the input.
        stop: row after the last.
        rows: of :data:`PART_SCHEMA`.
    """
    data = to_bytes(rows.cast(PART_SCHEMA).replace_schema_metadata().combine_chunks())
    key = f"part-{number:05d}.parquet"
    path, digest = join(folder, key), hashlib.sha256(data).hexdigest()
    if not create_if_absent(path, data):
        found = read_versioned(path, most_bytes=_MOST_BYTES)
        if found is None or hashlib.sha256(found[0]).hexdigest() != digest:
            write_whole(path, data)
    return ReusePart(
        start=start, stop=stop, key=key, bytes=len(data), sha256=digest, rows=rows.num_rows
    )


def with_known(
    lists: CandidateLists,
    table: pa.Table,
    *,
    pointwise: bool,
    fingerprint: str,
    images: bool = True,
) -> CandidateLists:
    """The same lists with what is known of each document beside it.

    Args:
        lists: lists as they were read.
        table: rows of :data:`PART_SCHEMA`.
        pointwise: see :func:`pipeline.candidates.content_keys.content_keys`.
        fingerprint: likewise.
        images: likewise.

    Returns:
        Lists whose documents have the columns ``@reused_score``, NaN where none is known,
        ``content_key``, and ``scored_at``, null where no score is known.
    """
    keys = content_keys(lists, pointwise=pointwise, fingerprint=fingerprint, images=images)
    scores, scored_at = known(lists, keys, table, pointwise=pointwise)
    found = {
        schema.REUSED_SCORE: pa.array(scores),
        schema.CONTENT_KEY: keys,
        schema.SCORED_AT: scored_at,
    }
    documents = lists.documents
    for name, values in found.items():
        documents = documents.append_column(name, values)
    return replace(lists, documents=documents)


def known(
    lists: CandidateLists, keys: pa.Array, table: pa.Table, *, pointwise: bool
) -> tuple[npt.NDArray[np.float32], pa.Array]:
    """Look the scores of documents up.

    Args:
        lists: lists with N documents in all.
        keys: fixed_size_binary(16) [N], their content keys; null is never known.
        table: rows of :data:`PART_SCHEMA`.
        pointwise: whether documents are scored one by one. Otherwise a list is known only as a
            whole: where one of its keys is not, none is.

    Returns:
        float32 [N] scores, NaN where there is none; date32 [N] when a model gave them, or null.
    """
    found = pc.index_in(keys, value_set=table.column(schema.CONTENT_KEY).combine_chunks())
    places = pc.fill_null(found, -1).to_numpy(zero_copy_only=False)
    scores = np.full(len(keys), np.nan, dtype=np.float32)
    there = places >= 0
    scores[there] = table.column(schema.SCORE).to_numpy()[places[there]]
    there &= np.isfinite(scores)
    if not pointwise:
        of_document = lists.query_of_document
        lacking = of_document[keys.is_valid().to_numpy(zero_copy_only=False) & ~there]
        there &= ~np.isin(of_document, lacking)
    scores[~there] = np.nan
    taken = pa.array(places, mask=~there)
    return scores, table.column(schema.SCORED_AT).combine_chunks().take(taken)


class _ManifestPart(BaseModel):
    model_config = ConfigDict(strict=True)

    start: int = Field(ge=0)
    stop: int = Field(ge=0)
    key: str = Field(pattern=r"^part-\d{5,}\.parquet$")
    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    rows: int = Field(ge=0)


class _Manifest(BaseModel):
    """``manifest.json``. Further keys are left alone: a later version may add some."""

    model_config = ConfigDict(strict=True, extra="allow", protected_namespaces=())

    kind: str = Field(pattern=f"^{_KIND}$")
    table_id: str = Field(pattern=r"^[0-9a-f]{16}$")
    date: str = Field(pattern=r"^\d{4}-\d{2}-\d{2}$")
    previous: dict[str, Any] | None
    score_fingerprint: str
    why: str | None
    parts: list[_ManifestPart]
    counts: dict[str, dict[str, int]]


@lru_cache(maxsize=_KEPT_PARTS)
def _part(path: str, sha256: str) -> pa.Table:
    found = read_versioned(path, most_bytes=_MOST_BYTES)
    if found is None:
        raise _damaged(path, "it is missing")
    if hashlib.sha256(found[0]).hexdigest() != sha256:
        raise _damaged(path, f"its sha256 is not the one in {MANIFEST}")
    try:
        # Compared with a digest, so it is ours, and equal scores may unfold far.
        table = table_of(found[0], path, max_expansion=math.inf)
    except InputContractError as error:
        raise _damaged(path, str(error).removeprefix(f"{path}: ")) from None
    if table.schema.names != PART_SCHEMA.names:
        raise _damaged(path, f"its columns are {', '.join(table.schema.names)}")
    return table.select(PART_SCHEMA.names).cast(PART_SCHEMA)


def _damaged(path: str, why: str) -> DamagedRunError:
    return DamagedRunError(
        f"{path}: not as it was written: {why}. Put the file back from a copy, or remove the "
        "folder of this reuse table, and `rerank refresh` makes it anew"
    )
