"""Why a query or a candidate is not in a training set: the closed list of reason codes."""

from __future__ import annotations

from typing import Final

NO_SCORE: Final = "no_score"
NOT_FINITE: Final = "not_finite"
MISSING_TEACHER: Final = "missing_teacher"
NO_CONTENT: Final = "no_content"
EVALUATION_DOCUMENT: Final = "evaluation_document"
JUDGED_RELEVANT: Final = "judged_relevant"
SURPLUS_POSITIVE: Final = "surplus_positive"
OUT_OF_RANGE: Final = "out_of_range"
MAX_SCORE: Final = "max_score"
MIN_SCORE: Final = "min_score"
ABSOLUTE_MARGIN: Final = "absolute_margin"
RELATIVE_MARGIN: Final = "relative_margin"
FALSE_NEGATIVE: Final = "false_negative"
DUPLICATE_OF_POSITIVE: Final = "duplicate_of_positive"
NEAR_DUPLICATE_OF_POSITIVE: Final = "near_duplicate_of_positive"
DUPLICATE_OF_NEGATIVE: Final = "duplicate_of_negative"
DOCUMENT_CAP: Final = "document_cap"
NOT_SAMPLED: Final = "not_sampled"

NO_POSITIVE: Final = "no_positive"
NO_SCORED_POSITIVE: Final = "no_scored_positive"
TOO_FEW_NEGATIVES: Final = "too_few_negatives"
NO_QUERY: Final = "no_query"
EVALUATION_QUERY_ID: Final = "evaluation_query_id"
EVALUATION_QUERY: Final = "evaluation_query"
NEAR_EVALUATION_QUERY: Final = "near_evaluation_query"

#: Of one candidate, in the order in which they are looked for: the first that holds is its reason.
CANDIDATE_REASONS: Final[dict[str, str]] = {
    NO_SCORE: "no teacher scored it; the ranked run says why",
    NOT_FINITE: "a teacher's score, or their combination, is not a finite float32",
    MISSING_TEACHER: "combination.coverage is all, and a teacher did not score it",
    NO_CONTENT: "it has neither text nor image",
    EVALUATION_DOCUMENT: "relevant in the evaluation judgements (decontaminate.documents)",
    SURPLUS_POSITIVE: "a positive beyond positives.max_positives",
    JUDGED_RELEVANT: "judged above negatives.max_relevance, and no positive",
    OUT_OF_RANGE: "its place is outside negatives.range_min and range_max",
    MAX_SCORE: "scores above negatives.max_score",
    MIN_SCORE: "scores below negatives.min_score",
    ABSOLUTE_MARGIN: "scores above p - absolute_margin",
    RELATIVE_MARGIN: "scores above p - |p| * relative_margin",
    FALSE_NEGATIVE: "unjudged, and scores above the lowest positive (negatives.false_negatives)",
    DUPLICATE_OF_POSITIVE: "the same normalised text, or the same image, as a positive",
    NEAR_DUPLICATE_OF_POSITIVE: "nearly the text of a positive (negatives.near_duplicates)",
    DUPLICATE_OF_NEGATIVE: "the same normalised text, or the same image, as a negative before it",
    DOCUMENT_CAP: "it is a negative of negatives.max_per_document other queries",
    NOT_SAMPLED: "allowed, but negatives.num_negatives were found before it",
}

#: Of a whole query; its candidates without a reason of their own get it too.
QUERY_REASONS: Final[dict[str, str]] = {
    NO_QUERY: "it has no id, or neither text nor image",
    EVALUATION_QUERY_ID: "its id is judged in an evaluation file",
    EVALUATION_QUERY: "its normalised text is that of an evaluation query",
    NEAR_EVALUATION_QUERY: "it is a near duplicate of an evaluation query",
    NO_POSITIVE: "no document is a positive by the rules",
    NO_SCORED_POSITIVE: "a rule needs the lowest positive's score, and no positive has one",
    TOO_FEW_NEGATIVES: "fewer negatives than negatives.min_negatives",
}
