"""Texts and images of a unit's ranked rows, from the input that they were scored from."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.distillation.rules import canonical
from pipeline.distillation.rules.rows import split_images
from pipeline.distillation.rules.teachers import looked_up
from pipeline.distillation.unit_scores import UnitScores

Ints = npt.NDArray[np.int64]


def queries_of(unit_scores: UnitScores, lists: CandidateLists) -> pa.Table:
    """query_id, query and query_image [Q] in the order of the ranked rows."""
    ids = lists.queries[schema.QUERY_ID].combine_chunks().cast(pa.string())
    nothing = pa.array([""] * len(ids)), pa.array([""] * len(unit_scores.query_ids))
    places = pa.array(_or_null(looked_up(unit_scores.query_ids, nothing[1], ids, nothing[0])))
    count = len(unit_scores.query_ids)
    images = None
    if schema.IMAGE in lists.queries.column_names:
        images = lists.queries[schema.IMAGE].combine_chunks().take(places)
    data, uris = split_images(images, count)
    missing = (data.is_null().to_numpy(zero_copy_only=False)) & (
        uris.is_null().to_numpy(zero_copy_only=False)
    )
    image = pa.StructArray.from_arrays(
        [data, uris], fields=list(canonical.QUERY_IMAGE_TYPE), mask=pa.array(missing)
    )
    return pa.table(
        {
            schema.QUERY_ID: unit_scores.query_ids,
            schema.QUERY: lists.queries[schema.QUERY].combine_chunks().take(places),
            schema.QUERY_IMAGE: image,
        }
    )


def contents_of(
    unit_scores: UnitScores, lists: CandidateLists
) -> tuple[pa.Array, pa.Array, pa.Array]:
    """Text, image bytes and image place [N] of every ranked row."""
    ids = lists.queries[schema.QUERY_ID].combine_chunks().cast(pa.string())
    documents = lists.documents.combine_chunks()
    doc_ids = documents[schema.DOC_ID].combine_chunks().cast(pa.string())
    theirs = ids.take(pa.array(lists.query_of_document))
    places = pa.array(
        _or_null(looked_up(unit_scores.row_queries, unit_scores.doc_ids, theirs, doc_ids))
    )
    images = None
    if schema.IMAGE in documents.column_names:
        images = documents[schema.IMAGE].combine_chunks().take(places)
    texts = documents[schema.TEXT].combine_chunks().take(places)
    return (texts, *split_images(images, len(texts)))


def _or_null(places: Ints) -> pa.Array:
    return pa.array(places, mask=places < 0)
