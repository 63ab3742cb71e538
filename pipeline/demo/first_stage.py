"""The demo's first stage: BM25 over the corpus, by the bm25s library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.demo.corpus import Document


def bm25_candidates(
    documents: Sequence[Document], queries: Mapping[str, str], *, top_k: int = 100
) -> pa.Table:
    """The best ``top_k`` documents of every query by title and text, best first.

    Lucene's BM25 with its defaults (k1 = 1.5, b = 0.75 in bm25s), lower-cased words, English stop
    words removed, no stemming: identifiers such as ``urlopen`` are words here. Equal scores are
    ordered by ``doc_id``, and documents that share no word with the query are left out.

    Args:
        documents: the corpus.
        queries: query_id to query text.
        top_k: candidates per query at most.

    Returns:
        A long candidate table: query_id, query, doc_id, title, text, first_stage_score,
        first_stage_rank (1 = best).
    """
    import bm25s

    index = bm25s.BM25(method="lucene")
    texts = [f"{document.title}\n{document.text}" for document in documents]
    index.index(bm25s.tokenize(texts, stopwords="en", show_progress=False), show_progress=False)
    rows: list[dict[str, object]] = []
    for query_id, query in queries.items():
        tokens = bm25s.tokenize(query, stopwords="en", show_progress=False, return_ids=False)
        scores = np.asarray(index.get_scores(tokens[0]), dtype=np.float64)
        found = sorted(
            np.flatnonzero(scores > 0).tolist(), key=lambda i: (-scores[i], documents[i].doc_id)
        )
        for rank, place in enumerate(found[:top_k], start=1):
            document = documents[place]
            rows.append(
                {
                    schema.QUERY_ID: query_id,
                    schema.QUERY: query,
                    schema.DOC_ID: document.doc_id,
                    schema.TITLE: document.title,
                    schema.TEXT: document.text,
                    schema.FIRST_STAGE_SCORE: float(scores[place]),
                    schema.FIRST_STAGE_RANK: rank,
                }
            )
    return pa.Table.from_pylist(rows, schema=_SCHEMA)


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
