"""Decoders with a classification head: transformers' ``*ForSequenceClassification``.

Qwen2, Qwen3, Llama, Mistral and Gemma, with one label or two:

    logits = score.weight · h + score.bias      # h: the last token's state, normalised; in float32

transformers looks for the last token that is not ``pad_token_id``; here it is the last token of the
sequence, which is the same wherever no text ends in that token, and needs none to be named. The
networks are causal, so padding on the right changes nothing.

A checkpoint does not say what text it was trained on. Where its settings and files say nothing, the
query and the document are a pair as the tokenizer makes it, which is what transformers and
sentence-transformers give such a network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from pipeline.checkpoints.cross_encoder_files import check_cross_encoder
from pipeline.checkpoints.heads import EXPECTED_GRADE, HeadSettings, labels_of, scored_labels
from pipeline.checkpoints.sentence_transformers_files import max_seq_length
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.decoder_classifier import load_classifier, read_last
from pipeline.networks.decoders import can_pack, can_share
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Activation, Limits, decode_pairs, encode_pairs
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, Truncation, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Bodies, by ``model_type``.
KINDS: Final = ("gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3")

#: What makes transformers' network look at what follows, and the value that does not.
_BOTH_WAYS: Final = {"is_causal": True, "use_bidirectional_attention": False}


class DecoderClassifierSettings(HeadSettings, LongDocumentSettings):
    """Settings of the decoder_classifier family."""

    max_length: int | None = Field(
        None, ge=8, description="Tokens per pair; default: what tokenizer and positions allow."
    )
    truncation: Truncation = Field(
        "longest_first",
        description="longest_first as transformers does, which may cut the query; document never "
        "cuts the query while it fits. Both are for long_documents: truncate.",
    )
    activation: Activation = Field(
        "none",
        description="none gives raw logits; sigmoid gives probabilities. Of a head with two "
        "labels, the logit is the log-odds of the second.",
    )


class DecoderClassifier(WeightedReranker):
    """Sequence-classification rerankers on decoders."""

    Settings = DecoderClassifierSettings
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: DecoderClassifierSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.can_pack = can_pack(self.config)
        self.shares_prefixes = self.can_pack and can_share(self.config)
        check_cross_encoder(
            checkpoint, activation_is_given="activation" in settings.model_fields_set
        )
        self.score_scale = _scale(settings)
        if checkpoint.expected is None:  # else the plan has looked
            scored_labels(checkpoint, grades=settings.grades)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        stated = max_seq_length(
            checkpoint, task="sequence-classification", lowercases=self.tokenizer.lowercases
        )
        self.limits = Limits(
            max_length=resolve_max_length(
                settings.max_length or stated,
                tokenizer=tokenizer_limit(checkpoint),
                positions=self.config.get("max_position_embeddings"),
            ),
            truncation=settings.truncation,
            long_documents=settings.long_documents,
            overlap=settings.chunk_overlap,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The decoder's body, and its head in float32."""
        self.network = load_classifier(
            self.checkpoint,
            kind=str(self.config["model_type"]),
            labels=labels_of(self.checkpoint),
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """Query and document as the tokenizer makes a pair, one per document or chunk of it."""
        return encode_pairs(lists, self.tokenizer, self.limits, causal=True)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits after each sequence."""
        return read_last(self.network, batch, packed=self.packed)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The logit itself, unless settings say otherwise."""
        return decode_pairs(
            sequences,
            readouts,
            activation=self.settings.activation,
            settings=self.settings,
            grades=self.settings.grades,
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    kind = config.get("model_type")
    if "auto_map" in config:
        raise ModelError(
            f"{where}: this checkpoint brings code of its own (auto_map), which is never run; if "
            f"its network is transformers' own {kind}, remove that key from a copy"
        )
    if kind not in KINDS:
        raise ModelError(
            f"{where}: model_type '{kind}' is not one of the decoder_classifier family's: "
            f"{', '.join(KINDS)}"
        )
    for key, causal in _BOTH_WAYS.items():
        if config.get(key, causal) not in (causal, None):
            raise ModelError(
                f"{where}: {key} {config[key]!r}: every token sees what follows it, and the "
                "decoder_classifier family runs causal decoders"
            )
    return config


def _scale(settings: DecoderClassifierSettings) -> str:
    if settings.grades is None:
        return "probability" if settings.activation == "sigmoid" else "logit"
    if settings.activation != "none":
        raise ConfigurationError(
            f"model.settings.activation: '{settings.activation}' has no meaning for expected "
            "grades (model.settings.grades); leave one of them out"
        )
    return EXPECTED_GRADE
