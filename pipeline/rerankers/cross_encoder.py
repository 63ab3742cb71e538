"""Cross-encoders that transformers loads natively: one logit per sequence of query and document.

BERT (ms-marco-MiniLM), XLM-R and RoBERTa (bge-reranker, mmarco-mMiniLM), DeBERTa-v2 (mxbai-rerank
v1) and ModernBERT with a one-label sequence-classification head. Scores are raw logits, as
sentence-transformers' CrossEncoder computes them before its activation, which differs by checkpoint
(Identity for ms-marco and mmarco, Sigmoid for bge and mxbai); ``activation: sigmoid`` applies it.

Upstreams disagree about pairs that are too long: sentence-transformers truncates longest first,
FlagEmbedding (bge) cuts the query to three quarters of ``max_length`` and then the document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from pipeline.checkpoints.cross_encoder_files import check_cross_encoder
from pipeline.checkpoints.heads import (
    EXPECTED_GRADE,
    HeadSettings,
    labels_of,
    scored_labels,
)
from pipeline.checkpoints.sentence_transformers_files import max_seq_length
from pipeline.errors import ConfigurationError, ModelError
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Activation, Limits, decode_pairs, encode_pairs
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Modules that run in float32, by ``model_type``.
_HEADS: Final[dict[str, tuple[str, ...]]] = {
    "bert": ("bert.pooler", "classifier"),
    "roberta": ("classifier",),
    "xlm-roberta": ("classifier",),
    "deberta-v2": ("pooler", "classifier"),
    "modernbert": ("head", "classifier"),
}

#: DeBERTa-v2 attends by distances within a matrix, so its sequences are padded to one.
_PACKABLE: Final = frozenset(_HEADS) - {"deberta-v2"}

#: RoBERTa counts positions from padding_idx + 1, so two of the table's rows are never a token's.
_RESERVED_POSITIONS: Final = {"roberta": 2, "xlm-roberta": 2}

#: Old checkpoints store buffers that later code computes; they carry nothing.
_IGNORED: Final = ("*.embeddings.position_ids",)


class CrossEncoderSettings(HeadSettings, LongDocumentSettings):
    """Settings of the cross_encoder family."""

    max_length: int | None = Field(
        None, ge=8, description="Tokens per pair; default: what tokenizer and positions allow."
    )
    truncation: Literal["longest_first", "document", "flag_embedding"] = Field(
        "longest_first",
        description="longest_first as sentence-transformers does, which may cut the query; "
        "document never cuts the query while it fits; flag_embedding cuts the query to three "
        "quarters of max_length, then the document. The first two are for long_documents: "
        "truncate.",
    )
    activation: Activation = Field(
        "none",
        description="none gives raw logits; sigmoid gives probabilities. Of a head with two "
        "labels, the logit is the log-odds of the second.",
    )


class CrossEncoder(WeightedReranker):
    """Sequence-classification rerankers of transformers."""

    Settings = CrossEncoderSettings
    pointwise = True
    score_scale = "logit"

    def __init__(self, *, checkpoint: Checkpoint, settings: CrossEncoderSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.kind = str(self.config["model_type"])
        self.can_pack = self.kind in _PACKABLE
        check_cross_encoder(
            checkpoint, activation_is_given="activation" in settings.model_fields_set
        )
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        stated = max_seq_length(
            checkpoint, task="sequence-classification", lowercases=self.tokenizer.lowercases
        )
        self.score_scale = _scale(settings)
        if checkpoint.expected is None:  # else the plan has looked
            scored_labels(checkpoint, grades=settings.grades)
        max_length = resolve_max_length(
            settings.max_length or stated,
            tokenizer=tokenizer_limit(checkpoint),
            positions=self.config.get("max_position_embeddings"),
            reserved=_RESERVED_POSITIONS.get(self.kind, 0),
        )
        self.limits = Limits(
            max_length=max_length,
            query=max_length * 3 // 4 if settings.truncation == "flag_embedding" else None,
            truncation="longest_first" if settings.truncation == "longest_first" else "document",
            long_documents=settings.long_documents,
            overlap=settings.chunk_overlap,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build transformers' own class for the checkpoint's ``model_type``."""
        from transformers import AutoModelForSequenceClassification

        from pipeline.networks.loading import build, load_weights
        from pipeline.networks.network_config import network_config

        where = self.checkpoint.folder / "config.json"
        named = {k: v for k, v in self.config.items() if k not in ("id2label", "label2id")}
        config = network_config(
            named | {"num_labels": labels_of(self.checkpoint)}, kind=self.kind, where=where
        )
        self.network = build(
            lambda: AutoModelForSequenceClassification.from_config(config, dtype=dtype),
            dtype=dtype,
            checkpoint=self.checkpoint,
        )
        load_weights(
            self.network,
            self.checkpoint,
            ignore=_IGNORED,
            heads=_HEADS[self.kind],
            device=device,
        )
        if self.packed:
            from pipeline.networks.packed_encoder import PackedClassifier

            self.network = PackedClassifier(self.network, self.kind)

    def encode(self, lists: CandidateLists) -> Sequences:
        """``[CLS] query [SEP] document [SEP]`` as the tokenizer says, one per document or chunk."""
        segments = self.config.get("type_vocab_size", 0) > 1
        return encode_pairs(lists, self.tokenizer, self.limits, segments=segments)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits of each sequence."""
        if self.packed:
            return self.network(batch)  # type: ignore[no-any-return]
        from pipeline.networks.padding import pad

        padded = pad(batch, int(self.config.get("pad_token_id") or 0))
        inputs = {"input_ids": padded.input_ids, "attention_mask": padded.attention_mask}
        if padded.segment_ids is not None:
            inputs["token_type_ids"] = padded.segment_ids
        logits: torch.Tensor = self.network(**inputs).logits
        return logits.float()

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The logit itself, unless settings say otherwise."""
        return decode_pairs(
            sequences,
            readouts,
            activation=self.settings.activation,
            settings=self.settings,
            grades=self.settings.grades,
        )


def _scale(settings: CrossEncoderSettings) -> str:
    if settings.grades is None:
        return "probability" if settings.activation == "sigmoid" else "logit"
    if settings.activation != "none":
        raise ConfigurationError(
            f"model.settings.activation: '{settings.activation}' has no meaning for expected "
            "grades (model.settings.grades); leave one of them out"
        )
    return EXPECTED_GRADE


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    kind = str(config.get("model_type"))
    where = checkpoint.folder / "config.json"
    if "auto_map" in config or config.get("position_embedding_type") == "alibi":
        raise ModelError(
            f"{where}: this checkpoint brings code of its own, which is never run; its network "
            "needs a family of its own (see `rerank models`), not cross_encoder"
        )
    if kind not in _HEADS:
        raise ModelError(
            f"{where}: model_type '{kind}' is not one of the cross_encoder family's: "
            f"{', '.join(_HEADS)}"
        )
    return config
