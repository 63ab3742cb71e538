"""Column names and Arrow schemas: the one contract between reader, rerankers, writer and readers.

Every column that the product reads or writes is named here and nowhere else. Names are the field's
standard terms; what other tools call them is in :data:`ALIASES`, used when reading only.
"""

from __future__ import annotations

from typing import Final

import pyarrow as pa

QUERY_ID: Final = "query_id"
QUERY: Final = "query"
DOC_ID: Final = "doc_id"
TITLE: Final = "title"
TEXT: Final = "text"
IMAGE: Final = "image"
QUERY_IMAGE: Final = "query_image"
CANDIDATES: Final = "candidates"
FIRST_STAGE_SCORE: Final = "first_stage_score"
FIRST_STAGE_RANK: Final = "first_stage_rank"
RANK: Final = "rank"
SCORE: Final = "score"
REASON: Final = "reason"
MESSAGE: Final = "message"
UNIT: Final = "unit"
N_TOKENS: Final = "n_tokens"
TRUNCATED: Final = "truncated"
CONTENT_KEY: Final = "content_key"
SCORED_AT: Final = "scored_at"
FUSED_SCORE: Final = "fused_score"
FUSED_RANK: Final = "fused_rank"
CALIBRATED_SCORE: Final = "calibrated_score"
CHANGE: Final = "change"
PREVIOUS_RANK: Final = "previous_rank"
PREVIOUS_SCORE: Final = "previous_score"
DOC_IDS: Final = "doc_ids"
SCORES: Final = "scores"

#: The score that a document has from an earlier run, NaN where it has none, as workers pass it on;
#: never read and never written. No column of an input can be called so in ``output.columns``.
REUSED_SCORE: Final = "@reused_score"

#: What ``input.columns.doc_id`` is mapped to where candidates of nested lists have no ids, to name
#: them by their place in the list, from 0. Ids of that kind mean nothing outside their list, so
#: that nobody gets them unasked: two lists' "0" are not one document.
POSITION: Final = "@position"

#: Other tools' names for our columns, accepted when reading (BEIR, MTEB, Pyserini, rank_llm,
#: FlagEmbedding, Tevatron, MS MARCO TSV headers). The first alias present in a file is taken.
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    QUERY_ID: ("query_id", "qid", "query-id", "topic", "topic_id"),
    QUERY: ("query", "query_text", "question"),
    DOC_ID: (
        "doc_id",
        "docid",
        "docno",
        "pid",
        "corpus-id",
        "corpus_id",
        "passage_id",
        "document_id",
    ),
    TITLE: ("title",),
    TEXT: ("text", "passage", "contents", "content", "document", "body", "passage_text"),
    IMAGE: ("image", "image_uri", "image_path"),
    QUERY_IMAGE: ("query_image", "query_image_uri"),
    FIRST_STAGE_SCORE: ("first_stage_score", "retrieval_score", "score"),
    FIRST_STAGE_RANK: ("first_stage_rank", "retrieval_rank", "rank"),
    CANDIDATES: ("candidates", "documents", "passages", "hits"),
}

#: Columns of the ranked output in order, before pass-through columns. Ids keep the input's type.
RANKED_COLUMNS: Final = (
    QUERY_ID,
    DOC_ID,
    RANK,
    SCORE,
    FIRST_STAGE_RANK,
    FIRST_STAGE_SCORE,
    REASON,
)

#: Columns that describe the cost of one candidate, written with ``output.token_counts``.
TOKEN_COLUMNS: Final = (N_TOKENS, TRUNCATED)

#: Columns that ``output.fusion`` and ``output.calibration`` add.
FUSION_COLUMNS: Final = (FUSED_SCORE, FUSED_RANK)
ADDED_COLUMNS: Final = (*FUSION_COLUMNS, CALIBRATED_SCORE)

#: A content key, see :mod:`pipeline.candidates.content_keys`.
CONTENT_KEY_BYTES: Final = 16
CONTENT_KEY_TYPE: Final = pa.binary(CONTENT_KEY_BYTES)

#: Columns that the next run takes scores by, in runs with a reuse table: what was scored, and on
#: which day a model gave the score; null without a score.
REUSE_COLUMNS: Final = (CONTENT_KEY, SCORED_AT)

#: One row per candidate that was not scored. Never holds document text.
QUARANTINE_SCHEMA: Final = pa.schema(
    [
        pa.field(UNIT, pa.string(), nullable=False),
        pa.field(QUERY_ID, pa.string()),
        pa.field(DOC_ID, pa.string()),
        pa.field(REASON, pa.string(), nullable=False),
        pa.field(MESSAGE, pa.string(), nullable=False),
    ]
)

#: What each column of a run's files holds, for the documentation.
MEANINGS: Final[dict[str, str]] = {
    UNIT: "the unit that the row is of",
    QUERY_ID: "as in the input",
    DOC_ID: "as in the input; in `quarantine/` null for a query without candidates",
    RANK: "1 is best; every candidate has one",
    SCORE: "the model's raw output, on the scale `score_scale` of the file's metadata; null with a "
    "`reason`",
    FIRST_STAGE_RANK: "of the input, or the candidate's place in its list",
    FIRST_STAGE_SCORE: "of the input; null where it has none",
    REASON: "why there is no score",
    MESSAGE: "the same in a sentence; never holds text of a document",
    N_TOKENS: "tokens that the network read for the candidate (`output.token_counts`)",
    TRUNCATED: "whether its text was cut (`output.token_counts`)",
    FUSED_SCORE: "of first stage and reranker together (`output.fusion`)",
    FUSED_RANK: "by that score (`output.fusion`)",
    CALIBRATED_SCORE: "the probability of relevance (`output.calibration`)",
    CONTENT_KEY: "of what was scored, by which the next night finds it again (`rerank refresh`)",
    SCORED_AT: "the day on which a model gave the score (`rerank refresh`)",
}

#: Version of everything above. It is part of every run's identity: output of two versions never
#: mixes in one run folder.
SCHEMA_VERSION: Final = 1


def ranked_schema(query_id: pa.DataType, doc_id: pa.DataType) -> pa.Schema:
    """Schema of a ranked unit without pass-through columns.

    Args:
        query_id: Arrow type of the input's query ids (string or an integer type).
        doc_id: Arrow type of the input's document ids.
    """
    return pa.schema(
        [
            pa.field(QUERY_ID, query_id),
            pa.field(DOC_ID, doc_id),
            pa.field(RANK, pa.int32(), nullable=False),
            pa.field(SCORE, pa.float32()),
            pa.field(FIRST_STAGE_RANK, pa.int32(), nullable=False),
            pa.field(FIRST_STAGE_SCORE, pa.float64()),
            pa.field(REASON, pa.string()),
        ]
    )
