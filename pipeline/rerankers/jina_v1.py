"""jina-reranker-v1 turbo, tiny and base: JinaBERT, up to 8,192 tokens.

Scores are ``sigmoid(logit)`` in float32, which is what upstream's ``compute_score()`` returns.
Pairs are truncated longest first at ``max_length``, 8,192 unless set: the tokenizer files of the
published checkpoints state a smaller limit than the network has, so it is not taken from them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from pipeline.checkpoints.heads import require_one_label
from pipeline.checkpoints.values import number, whole_number
from pipeline.errors import ModelError
from pipeline.prompts.long_documents import LongDocumentSettings
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

_GATED: Final = ("geglu", "reglu")

_SIZES: Final = (
    "vocab_size",
    "type_vocab_size",
    "hidden_size",
    "num_hidden_layers",
    "num_attention_heads",
    "intermediate_size",
)

#: Tensors of another network with the same config.json (jina-embeddings-v2-base-code).
_POST_NORM: Final = ("layer_norm_q", "layer_norm_k", "up_gated_layer", "down_layer")


class JinaV1Settings(LongDocumentSettings):
    """Settings of the jina_v1 family."""

    max_length: int = Field(8192, ge=8, description="Tokens per pair.")
    activation: Activation = Field(
        "sigmoid", description="sigmoid gives probabilities as upstream does; none gives logits."
    )


class JinaV1(WeightedReranker):
    """JinaBERT with a one-label head."""

    Settings = JinaV1Settings
    pointwise = True
    score_scale = "probability"
    can_pack = True

    def __init__(self, *, checkpoint: Checkpoint, settings: JinaV1Settings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.score_scale = "probability" if settings.activation == "sigmoid" else "logit"
        self.limits = Limits(
            max_length=resolve_max_length(
                settings.max_length,
                tokenizer=None,
                positions=self.config.get("max_position_embeddings"),
            ),
            long_documents=settings.long_documents,
            overlap=settings.chunk_overlap,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build the network; pooler and classifier run in float32."""
        from pipeline.networks.encoders.jina_bert import JinaBertReranker, Shape
        from pipeline.networks.loading import build_own, load_weights

        shape = Shape.from_config(self.config)
        pad_id = int(self.config.get("pad_token_id") or 0)
        self.network = build_own(
            lambda: JinaBertReranker(shape, pad_id=pad_id, packed=self.packed),
            dtype=dtype,
            checkpoint=self.checkpoint,
        )
        load_weights(
            self.network,
            self.checkpoint,
            rename=self._known,
            heads=("bert.pooler", "classifier"),
            device=device,
        )
        if self.packed and device.type != "cpu":
            self.network.bert.join()

    def _known(self, name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
        """The stored names are the network's; those of the other JinaBERT are refused at once."""
        if any(part in name for part in _POST_NORM):
            raise ModelError(
                f"{self.checkpoint.folder}: tensor '{name}' belongs to the JinaBERT variant with "
                "normalised queries and keys (qk-post-norm), which no jina-reranker-v1 has; use "
                "the checkpoint of jina-reranker-v1-tiny-en or jina-reranker-v1-turbo-en"
            )
        yield name, tensor

    def encode(self, lists: CandidateLists) -> Sequences:
        """The tokenizer's pair, with token types where it has any (BERT's, not RoBERTa's)."""
        return encode_pairs(lists, self.tokenizer, self.limits, segments=True)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit of each sequence."""
        logits: torch.Tensor = self.network(batch)
        return logits

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The sigmoid of the logit."""
        return decode_pairs(
            sequences, readouts, activation=self.settings.activation, settings=self.settings
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    if config.get("position_embedding_type") != "alibi":
        raise ModelError(
            f"{where}: position_embedding_type '{config.get('position_embedding_type')}'; the "
            "jina_v1 family has 'alibi' (absolute is jina_v2 or cross_encoder)"
        )
    if config.get("feed_forward_type") not in _GATED:
        raise ModelError(
            f"{where}: feed_forward_type '{config.get('feed_forward_type')}'; the jina_v1 family "
            f"runs {', '.join(_GATED)}"
        )
    for name in _SIZES:
        whole_number(config, name, where=where)
    number(config, "layer_norm_eps", where=where)
    require_one_label(checkpoint)
    return config
