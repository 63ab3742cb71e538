"""Cross-encoders of transformers and sentence-transformers: the logits of a query and a document.

A network of transformers with a sequence-classification head (BERT, ELECTRA, RoBERTa, XLM-R,
CamemBERT, DeBERTa-v2, ModernBERT, DistilBERT, MPNet, ALBERT), or its body with a head of
sentence-transformers' modules behind it (Pooling, Dense, LayerNorm, Dense: the Ettin rerankers).
Files of versions 2 to 6 are read as the current library (6.2) reads them: texts are not stripped,
which versions 2 and 3 did, and a prompt stands before the query only.

Scores are raw logits, as the library's CrossEncoder computes them before its activation, which
differs by checkpoint (Identity for ms-marco and mmarco, Sigmoid for bge and mxbai);
``activation: sigmoid`` applies the sigmoid, ``activation: checkpoint`` what the library would.

Upstreams disagree about pairs that are too long: sentence-transformers truncates longest first,
FlagEmbedding (bge) cuts the query to three quarters of ``max_length`` and then the document.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pipeline.checkpoints.heads import (
    HeadSettings,
    labels_of,
    refuse_unscorable,
    score_scale,
)
from pipeline.checkpoints.sentence_transformers.cross_encoder_files import (
    applied_activation,
    chain_of,
)
from pipeline.checkpoints.sentence_transformers.files import max_seq_length, transformer_file
from pipeline.checkpoints.sentence_transformers.prompts import query_prompt
from pipeline.errors import ModelError
from pipeline.networks.encoders.kinds import ENCODERS, packs
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Limits, decode_pairs, encode_pairs
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
    prompt: str | None = Field(
        None,
        description="Put before every query; default: the checkpoint's prompt that its "
        "default_prompt_name names, if any.",
    )
    activation: Literal["none", "sigmoid", "checkpoint"] = Field(
        "none",
        description="none gives raw logits; sigmoid gives probabilities; checkpoint applies what "
        "the checkpoint's files name, as sentence-transformers' predict does. Of a head with two "
        "labels, the logit is the log-odds of the second.",
    )


class CrossEncoder(WeightedReranker):
    """Sequence-classification rerankers of transformers, and sentence-transformers' chains."""

    Settings = CrossEncoderSettings
    pointwise = True
    score_scale = "logit"

    def __init__(self, *, checkpoint: Checkpoint, settings: CrossEncoderSettings) -> None:
        # What is resolved is what a run's identity holds.
        prompt = query_prompt(checkpoint, given=settings.prompt)
        settings = settings.model_copy(update={"prompt": prompt})
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.encoder = ENCODERS[str(self.config["model_type"])]
        self.can_pack = packs(self.config)
        self.chain = chain_of(checkpoint)
        if self.chain is not None and prompt and not self.chain.include_prompt:
            raise ModelError(
                f"{checkpoint.folder}: Pooling leaves prompts out (include_prompt: false), which "
                "the cross_encoder family does not; it can be run without a prompt only: set "
                "model.settings.prompt to an empty text"
            )
        self.labels = labels_of(checkpoint) if self.chain is None else self.chain.labels
        refuse_unscorable(self.labels, grades=settings.grades, where=checkpoint.folder)
        self.activation = applied_activation(
            checkpoint,
            settings.activation,
            labels=self.labels,
            given="activation" in settings.model_fields_set,
        )
        self.score_scale = score_scale(self.activation, grades=settings.grades)
        self.tokenizer = TextTokenizer(
            checkpoint,
            special_tokens=settings.special_tokens,
            lowercase=bool(transformer_file(checkpoint)[0].get("do_lower_case")),
        )
        self.limits = self._limits()
        self.network: Any = None

    def _limits(self) -> Limits:
        """As the library has it: max_seq_length, else the tokenizer's limit; and by positions."""
        settings = self.settings
        stated = max_seq_length(
            self.checkpoint,
            task="sequence-classification" if self.chain is None else "feature-extraction",
            lowercases=self.tokenizer.lowercases,
        )
        of_tokenizer = tokenizer_limit(self.checkpoint, self.tokenizer.truncation)
        max_length = resolve_max_length(
            settings.max_length,
            tokenizer=of_tokenizer if stated is None else stated,
            positions=self.config.get("max_position_embeddings"),
            reserved=self.encoder.reserved,
        )
        return Limits(
            max_length=max_length,
            query=max_length * 3 // 4 if settings.truncation == "flag_embedding" else None,
            truncation="longest_first" if settings.truncation == "longest_first" else "document",
            long_documents=settings.long_documents,
            overlap=settings.chunk_overlap,
        )

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Transformers' own network for the checkpoint's ``model_type``; heads in float32."""
        from pipeline.networks.encoders.cross_encoders import load_chained, load_classifier

        if self.chain is None:
            self.network = load_classifier(
                self.checkpoint, labels=self.labels, packed=self.packed, device=device, dtype=dtype
            )
        else:
            self.network = load_chained(
                self.checkpoint, self.chain, packed=self.packed, device=device, dtype=dtype
            )

    def encode(self, lists: CandidateLists) -> Sequences:
        """``[CLS] query [SEP] document [SEP]`` as the tokenizer says, one per document or chunk."""
        segments = self.config.get("type_vocab_size", 0) > 1
        sequences = encode_pairs(
            lists, self.tokenizer, self.limits, segments=segments, prompt=self.settings.prompt
        )
        if self.chain is None or self.chain.pooling != ("lasttoken",):
            return sequences
        last = (np.diff(sequences.offsets) - 1).astype(np.int32)
        return replace(sequences, readout_positions=last)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits of each sequence."""
        return self.network(batch)  # type: ignore[no-any-return]

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The logit itself, unless settings say otherwise."""
        return decode_pairs(
            sequences,
            readouts,
            activation=self.activation,
            settings=self.settings,
            grades=self.settings.grades,
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    kind = str(config.get("model_type"))
    where = checkpoint.folder / "config.json"
    if "auto_map" in config or config.get("position_embedding_type") == "alibi":
        raise ModelError(
            f"{where}: this checkpoint brings code of its own, which is never run; its network "
            "needs a family of its own (see `rerank models`), not cross_encoder"
        )
    if kind not in ENCODERS:
        raise ModelError(
            f"{where}: model_type '{kind}' is not one of the cross_encoder family's: "
            f"{', '.join(ENCODERS)}. Decoders with such a head are run by decoder_classifier"
        )
    return config
