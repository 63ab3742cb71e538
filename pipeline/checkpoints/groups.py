"""What kind of model a family is, for people who look for one: one table."""

from __future__ import annotations

from typing import Final

#: Every group with what it means, in the order in which they are shown.
GROUPS: Final = {
    "cross-encoder": "an encoder reads a query and a document together",
    "decoder": "a language model reads a query and a document together",
    "listwise": "documents are read beside others of their list",
    "late interaction": "a vector a token; a score is the sum of best matches",
    "bi-encoder": "a vector a text; a score is how near two are",
    "multimodal": "images are read, with texts or alone",
    "other": "no network",
}

#: The group of every family of this package.
GROUP_OF: Final = {
    "cross_encoder": "cross-encoder",
    "jina_v1": "cross-encoder",
    "jina_v2": "cross-encoder",
    "qwen3_reranker": "decoder",
    "token_logit": "decoder",
    "decoder_classifier": "decoder",
    "bidirectional_decoder": "decoder",
    "jina_v3": "listwise",
    "listwise_generation": "listwise",
    "pairwise": "listwise",
    "late_interaction": "late interaction",
    "bi_encoder": "bi-encoder",
    "jina_m0": "multimodal",
    "mono_qwen2_vl": "multimodal",
    "qwen3_vl_reranker": "multimodal",
    "lexical": "other",
}


def group_of(family: str) -> str:
    """The group of a family; ``other`` for one that is no file of this package."""
    return GROUP_OF.get(family, "other")
