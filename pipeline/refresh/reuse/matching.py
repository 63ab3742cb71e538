"""One part of a reuse table: today's documents beside the scores that their queries had yesterday.

What becomes of a document: ``reuse``, its score is known; ``rescore``, it was there for this query,
but there is no score that holds; ``new``, it was not there; ``unscorable``, a reason stands against
it; ``gone``, it was there and is no more. ``expired`` counts those of ``rescore`` and ``new`` whose
score is known, but too old. A list is ``reuse`` where all its documents that can be scored are,
else ``rescore`` or ``new`` as its query was there or not; ``unscorable`` where it has no such
document; ``gone`` where its query is no more. Rows of yesterday without an id count for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.content_keys import content_keys
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.reading import read_lists
from pipeline.candidates.reuse import PART_SCHEMA, known
from pipeline.refresh.reuse.ages import expired
from pipeline.refresh.reuse.table_folder import Counts
from pipeline.refresh.reuse.work import GONE_DOCUMENTS, GONE_LISTS, Record, Work
from pipeline.staging.lookup import key_hashes, key_text

#: What documents, and lists, are counted as.
DOCUMENTS: Final = ("reuse", "rescore", "new", "unscorable", "gone", "expired")
LISTS: Final = ("reuse", "rescore", "new", "unscorable", "gone")

Flags = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


def make_part(number: int, before: pa.Table, work: Work) -> Record:
    """Read a part of today's input, take what holds of its scores, and commit it.

    Args:
        number: of the part.
        before: rows of :data:`pipeline.refresh.reuse.work.ROUTED` that were routed to it, in any
            order.
        work: the table.

    Raises:
        InputContractError: the input cannot be read, or has changed.
    """
    part = work.parts[number]
    named = before.column(schema.QUERY_ID).is_valid()
    rest = before.filter(pc.invert(named))
    before = before.filter(named).combine_chunks()
    scores, young = _scores(before, work)
    seen = [
        _looked_up(read_lists(work.source, lower, upper, separator=work.separator), scores,
                   young, work)
        for lower, upper in pairwise(part.edges)
    ]  # fmt: skip
    kept = pa.chunked_array([one.kept for one in seen], schema.CONTENT_KEY_TYPE)
    rows = young.filter(pc.is_in(young.column(schema.CONTENT_KEY), value_set=kept))
    counts = _counted(seen, before)
    for name, column in (("documents", GONE_DOCUMENTS), ("lists", GONE_LISTS)):
        counts[name]["gone"] += pc.sum(rest.column(column)).as_py() or 0
    return work.folder.commit(number, start=part.start, stop=part.stop, rows=rows, counts=counts)


def _scores(before: pa.Table, work: Work) -> tuple[pa.Table, pa.Table]:
    """Yesterday's scores of any age, and those that are not too old: each content once.

    Of several scores of one content the youngest is taken, and of those the lowest, so that it does
    not depend on the order of rows.
    """
    known_at = (before.column(name).is_valid() for name in (schema.CONTENT_KEY, schema.SCORED_AT))
    scored = pc.fill_null(pc.is_finite(before.column(schema.SCORE)), False)
    usable = pc.and_(scored, pc.and_(*known_at))
    before = before.filter(usable)
    order = pc.sort_indices(
        before,
        sort_keys=[
            (schema.CONTENT_KEY, "ascending"),
            (schema.SCORED_AT, "descending"),
            (schema.SCORE, "ascending"),
        ],
    )
    before = before.take(order).combine_chunks()
    old = expired(
        key_hashes(key_text(before.column(schema.QUERY_ID))),
        before.column(schema.SCORED_AT).combine_chunks(),
        date=work.date,
        max_age_days=work.max_age_days,
    )
    rows = before.select(PART_SCHEMA.names)
    return _distinct(rows), _distinct(rows.filter(pa.array(~old)))


def _distinct(rows: pa.Table) -> pa.Table:
    """The first row of each content key, of rows in the order of keys."""
    keys = rows.column(schema.CONTENT_KEY).combine_chunks().dictionary_encode()
    codes = keys.indices.to_numpy(zero_copy_only=False)
    return rows.filter(pa.array(np.diff(codes, prepend=-1) != 0)).combine_chunks()


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What is known of a piece of today's input, with Q lists and N documents.

    Attributes:
        queries: large_string [Q], ids.
        of_document: int64 [N], list of each document.
        doc_ids: large_string [N].
        scorable: bool [N].
        taken: bool [N], the score is known.
        too_old: bool [N], it would be, if it were younger.
        kept: content keys that scores were found by.
    """

    queries: pa.Array
    of_document: Ints
    doc_ids: pa.Array
    scorable: Flags
    taken: Flags
    too_old: Flags
    kept: pa.Array


def _looked_up(lists: CandidateLists, scores: pa.Table, young: pa.Table, work: Work) -> _Seen:
    keys = content_keys(
        lists, pointwise=work.pointwise, fingerprint=work.fingerprint, images=work.images
    )

    def found(table: pa.Table) -> Flags:
        return np.isfinite(known(lists, keys, table, pointwise=work.pointwise)[0])

    taken = found(young)
    return _Seen(
        queries=_text(lists.queries.column(schema.QUERY_ID)),
        of_document=lists.query_of_document,
        doc_ids=_text(lists.documents.column(schema.DOC_ID)),
        scorable=pc.is_null(lists.documents.column(schema.REASON)).to_numpy(),
        taken=taken,
        too_old=found(scores) & ~taken,
        kept=keys.filter(pa.array(taken)),
    )


def _counted(seen: list[_Seen], before: pa.Table) -> Counts:
    """What becomes of today's documents and lists, and how many of yesterday are gone."""
    edges = np.cumsum([0, *(len(one.queries) for one in seen)])
    of_document = np.concatenate(
        [one.of_document + edge for one, edge in zip(seen, edges[:-1], strict=True)]
    )
    scorable = np.concatenate([one.scorable for one in seen])
    taken = np.concatenate([one.taken for one in seen])
    queries, queries_before = _codes(
        pa.concat_arrays([one.queries for one in seen]), before.column(schema.QUERY_ID)
    )
    doc_ids, doc_ids_before = _codes(
        pa.concat_arrays([one.doc_ids for one in seen]), before.column(schema.DOC_ID)
    )
    width = 1 + max(doc_ids.max(initial=0), doc_ids_before.max(initial=0))
    pairs = queries[of_document] * width + doc_ids
    # A null id, which is -1, stands against its candidate: such pairs are never looked for.
    pairs_before = queries_before * width + doc_ids_before
    there = np.isin(pairs, pairs_before)
    whole = np.bincount(of_document[scorable & ~taken], minlength=len(queries)) == 0
    able = np.bincount(of_document[scorable], minlength=len(queries)) > 0
    asked = np.isin(queries, queries_before)
    named = (queries >= 0)[of_document] & (doc_ids >= 0)
    return {
        "documents": {
            "reuse": _sum(taken),
            "rescore": _sum(scorable & ~taken & there),
            "new": _sum(scorable & ~taken & ~there),
            "unscorable": _sum(~scorable),
            "gone": _sum(~np.isin(pairs_before, pairs[named])),
            "expired": _sum(np.concatenate([one.too_old for one in seen])),
        },
        "lists": {
            "reuse": _sum(able & whole),
            "rescore": _sum(able & ~whole & asked),
            "new": _sum(able & ~whole & ~asked),
            "unscorable": _sum(~able),
            "gone": _sum(~np.isin(np.unique(queries_before), queries)),
        },
    }


def total(counts: list[Counts]) -> Counts:
    """Counts of all parts together."""
    return {
        what: {name: sum(one[what][name] for one in counts) for name in names}
        for what, names in (("documents", DOCUMENTS), ("lists", LISTS))
    }


def _codes(now: pa.Array, before: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Ids of both nights as numbers from 0 that are equal where the ids are; null is -1."""
    both = pa.concat_arrays([now, *before.chunks]).dictionary_encode()
    codes: Any = pc.fill_null(both.indices, -1).to_numpy(zero_copy_only=False)
    codes = codes.astype(np.int64)
    return codes[: len(now)], codes[len(now) :]


def _text(ids: pa.ChunkedArray) -> pa.Array:
    return key_text(ids).cast(pa.large_string())


def _sum(flags: Flags) -> int:
    return int(np.count_nonzero(flags))
