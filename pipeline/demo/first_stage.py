"""The demo's first stage: BM25 over the corpus, by the bm25s library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.demo.corpus import Document
from pipeline.errors import ConfigurationError
from pipeline.extras import library

_SCHEMA = pa.schema(
    [
        (schema.QUERY_ID, pa.string()),
        (schema.QUERY, pa.string()),
        (schema.DOC_ID, pa.string()),
        (schema.TITLE, pa.string()),
        (schema.TEXT, pa.string()),
        (schema.FIRST_STAGE_SCORE, pa.float64()),
        (schema.FIRST_STAGE_RANK, pa.int32()),
    ]
)


def bm25_candidates(
    documents: Sequence[Document], queries: Mapping[str, str], *, top_k: int = 100
) -> pa.Table:
    """The best ``top_k`` documents of every query by title and text, best first.

    Lucene's BM25 with the library's k1 = 1.5 and b = 0.75, lower-cased words, English stop words
    removed, no stemming: identifiers such as ``urlopen`` are words here. Equal scores are ordered
    by ``doc_id``, and documents that share no word with the query are left out.

    Args:
        documents: the corpus, in any order.
        queries: query_id to query text.
        top_k: candidates per query at most.

    Returns:
        A long candidate table: query_id, query, doc_id, title, text, first_stage_score,
        first_stage_rank (1 = best).

    Raises:
        ConfigurationError: there are no documents, or ``top_k`` is not positive.
    """
    if top_k < 1 or not documents:
        raise ConfigurationError(
            f"the first stage needs documents and a positive top_k; got {len(documents)} "
            f"documents and top_k = {top_k}"
        )
    ordered = sorted(documents, key=lambda document: document.doc_id)
    index = _index(ordered)
    rows = [
        (query_id, query, found.doc_id, found.title, found.text, score, rank)
        for query_id, query in queries.items()
        for rank, (found, score) in enumerate(_best(ordered, _scores(index, query), top_k), start=1)
    ]
    columns = zip(*rows, strict=True) if rows else ([] for _ in _SCHEMA)
    arrays = [
        pa.array(list(column), field.type) for column, field in zip(columns, _SCHEMA, strict=True)
    ]
    return pa.Table.from_arrays(arrays, schema=_SCHEMA)


def _index(documents: Sequence[Document]) -> Any:
    bm25s = library("bm25s", extra="demo", needed_by="the demo")
    index = bm25s.BM25(method="lucene")
    words = _words([f"{document.title}\n{document.text}" for document in documents])
    index.index(words, show_progress=False)
    return index


def _words(texts: list[str]) -> list[list[str]]:
    bm25s = library("bm25s", extra="demo", needed_by="the demo")
    tokens: list[list[str]] = bm25s.tokenize(
        texts, stopwords="en", return_ids=False, show_progress=False
    )
    return tokens


def _scores(index: Any, query: str) -> npt.NDArray[np.float64]:
    """One score per document, 0 where it shares no word with the query; none for no words."""
    words = _words([query])[0]
    return np.asarray(index.get_scores(words) if words else [], dtype=np.float64)


def _best(
    documents: Sequence[Document], scores: npt.NDArray[np.float64], top_k: int
) -> list[tuple[Document, float]]:
    """Best first; the documents are in order of ``doc_id``, so a stable sort breaks ties by it."""
    places = np.argsort(-scores, kind="stable")[:top_k]
    return [(documents[place], float(scores[place])) for place in places if scores[place] > 0]
