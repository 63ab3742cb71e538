"""jina-reranker-v2-base-multilingual: XLM-R with fused weights, and its two ways of long documents.

The network is XLM-R with a one-label head; the checkpoint stores it under other names and with
query, key and value in one matrix. Scores are ``sigmoid(logit)`` in float32, which is what
upstream's API returns.

* ``long_documents: chunk`` (default) is upstream's ``rerank()``: the query is cut to
  ``max_query_length`` ids, long documents are scored in overlapping chunks, the best chunk counts.
* ``long_documents: truncate`` is upstream's ``compute_score()``: no limit on the query, and the
  longer side of a pair loses tokens first.

Two deliberate differences: ``rerank()`` dies on an empty document, here it scores as the empty
pair, as in ``compute_score()``; and ``rerank()`` leaves ties in no defined order, here ranking has
one rule for all families.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field, model_validator

from pipeline.checkpoints.heads import require_one_label
from pipeline.errors import ModelError
from pipeline.networks.network_config import FLASH_XLM_ROBERTA
from pipeline.prompts.long_documents import AggregateSettings, LongDocuments
from pipeline.prompts.pairs import Activation, Limits, decode_pairs, encode_pairs
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import TextTokenizer, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Published configurations do not all say it.
_HEAD: Final[dict[str, Any]] = {"num_labels": 1}

#: XLM-R counts positions from padding_idx + 1 = 2.
_RESERVED_POSITIONS: Final = 2


class JinaV2Settings(AggregateSettings):
    """Settings of the jina_v2 family."""

    max_length: int = Field(1024, ge=8, description="Tokens per pair.")
    max_query_length: int = Field(
        512,
        ge=4,
        description="Tokens of the query with its two special tokens, and at most half of "
        "max_length; not used by long_documents: truncate.",
    )
    overlap: int = Field(
        80, ge=0, description="Tokens that neighbouring chunks share; at most a quarter of one."
    )
    long_documents: LongDocuments = Field(
        "chunk",
        description="chunk: upstream's rerank(); truncate: upstream's compute_score(); "
        "head_tail keeps the beginning and the end.",
    )
    activation: Activation = Field(
        "sigmoid", description="sigmoid gives probabilities as upstream does; none gives logits."
    )

    @model_validator(mode="after")
    def _room_for_documents(self) -> JinaV2Settings:
        if self.long_documents != "truncate" and self.max_length < 2 * self.max_query_length:
            raise ValueError(
                f"max_length {self.max_length} is less than twice max_query_length "
                f"{self.max_query_length}: set max_query_length to {self.max_length // 2} or less"
            )
        return self


class JinaV2(WeightedReranker):
    """XLM-R in the layout of jina-reranker-v2."""

    Settings = JinaV2Settings
    pointwise = True
    score_scale = "probability"
    can_pack = True

    def __init__(self, *, checkpoint: Checkpoint, settings: JinaV2Settings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.score_scale = "probability" if settings.activation == "sigmoid" else "logit"
        max_length = resolve_max_length(
            settings.max_length,
            tokenizer=None,
            positions=self.config["max_position_embeddings"],
            reserved=_RESERVED_POSITIONS,
        )
        single = self.tokenizer.template(pair=False)
        truncates = settings.long_documents == "truncate"
        self.limits = Limits(
            max_length=max_length,
            query=None if truncates else settings.max_query_length - single.specials,
            long_documents=settings.long_documents,
            overlap=settings.overlap,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build an XLM-R and put the renamed weights into it."""
        from pipeline.networks.encoders.cross_encoders import build_classifier
        from pipeline.networks.encoders.flash_xlm_roberta import rename
        from pipeline.networks.loading import load_weights
        from pipeline.networks.network_config import network_config

        config = network_config(
            self.config,
            kind="xlm-roberta",
            where=self.checkpoint.folder / "config.json",
            known=FLASH_XLM_ROBERTA,
            **_HEAD,
        )
        self.network = build_classifier(
            self.checkpoint, config, kind="xlm-roberta", packed=self.packed, dtype=dtype
        )
        load_weights(
            self.network, self.checkpoint, rename=rename, heads=("classifier",), device=device
        )
        if self.packed:
            from pipeline.networks.encoders.packed_encoder import PackedClassifier

            self.network = PackedClassifier(self.network, "xlm-roberta")

    def encode(self, lists: CandidateLists) -> Sequences:
        """``<s> query </s></s> chunk </s>``, one sequence per chunk of a document."""
        return encode_pairs(lists, self.tokenizer, self.limits, segments=False)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit of each sequence.

        XLM-R derives positions from ids: padding has the id of ``<pad>``, which takes no position,
        and so has a literal ``<pad>`` in a text, as upstream.
        """
        if self.packed:
            return self.network(batch)  # type: ignore[no-any-return]
        from pipeline.networks.padding import pad

        padded = pad(batch, int(self.config["pad_token_id"]))
        logits: torch.Tensor = self.network(
            input_ids=padded.input_ids, attention_mask=padded.attention_mask
        ).logits
        return logits.float()

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The sigmoid of each chunk's logit, then the best chunk of each document."""
        return decode_pairs(
            sequences, readouts, activation=self.settings.activation, settings=self.settings
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    positions = config.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise ModelError(
            f"{where}: position_embedding_type '{positions}'; the jina_v2 family has absolute "
            "positions (alibi is jina_v1, rotary is late_interaction)"
        )
    absent = [key for key in (*FLASH_XLM_ROBERTA[:8], "pad_token_id") if key not in config]
    if absent:
        raise ModelError(f"{where}: no {', '.join(absent)}; is this a jina-reranker-v2 checkpoint?")
    require_one_label(checkpoint)
    return config
