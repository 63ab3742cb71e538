"""What an export leaves out of the canonical set: the closed list of reason codes."""

from __future__ import annotations

from typing import Final

NO_QUERY_TEXT: Final = "query_without_text"
NO_POSITIVE: Final = "no_positive_left"
TOO_FEW_NEGATIVES: Final = "too_few_negatives"
TOO_FEW_DOCUMENTS: Final = "too_few_documents"
NO_TEXT: Final = "document_without_text"
NO_IMAGE: Final = "document_without_image"
NO_SCORE: Final = "positive_without_score"
SURPLUS: Final = "beyond_the_number"
IMAGE_NOT_CARRIED: Final = "image_not_carried"
QUERY_IMAGE_NOT_CARRIED: Final = "query_image_not_carried"

#: What an export leaves out of the canonical set: of queries first, then of their documents.
LEFT_OUT: Final[dict[str, str]] = {
    NO_QUERY_TEXT: "queries that are only an image",
    NO_POSITIVE: "queries of which no positive can be used",
    TOO_FEW_NEGATIVES: "queries with fewer usable negatives than a row needs",
    TOO_FEW_DOCUMENTS: "queries with fewer usable documents than a row needs",
    NO_TEXT: "documents without text, in a format of texts",
    NO_IMAGE: "documents without an image, where content is image",
    NO_SCORE: "judged positives that no teacher scored, in a format of scores",
    SURPLUS: "documents beyond the number of a row",
    IMAGE_NOT_CARRIED: "documents exported with their text, but not with their image",
    QUERY_IMAGE_NOT_CARRIED: "queries exported with their text, but not with their image",
}
