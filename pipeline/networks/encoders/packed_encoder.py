"""Encoders over flat batches, with the heads that transformers puts on them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import torch
from torch import nn

from pipeline.networks.encoders.packed_bert import PackedBert
from pipeline.networks.encoders.packed_deberta import PackedDeberta
from pipeline.networks.encoders.packed_modernbert import PackedModernBert
from pipeline.networks.packed import Packed, mean, pack

if TYPE_CHECKING:
    from pipeline.sequences.arrays import Int64s
    from pipeline.sequences.batch import Batch

#: Bodies that are BERT's but for their embeddings.
_BERT: Final = ("bert", "electra", "roberta", "xlm-roberta", "camembert", "jina_embeddings_v3")

#: Bodies with a module of their own.
_OTHERS: Final[dict[str, type[nn.Module]]] = {
    "deberta-v2": PackedDeberta,
    "modernbert": PackedModernBert,
}

#: Families of RoBERTa count positions from the padding's id.
_FROM_PADDING: Final = ("roberta", "xlm-roberta", "camembert")


class PackedEncoder(nn.Module):
    """An encoder's body.

    Args:
        body: of transformers, with its weights; taken over in place.
        kind: its ``model_type``.
        reads: ``readouts``: the rows that the batch reads out; ``all``: the row of every token.
    """

    def __init__(
        self, body: Any, kind: str, *, reads: Literal["readouts", "all"] = "readouts"
    ) -> None:
        super().__init__()
        padding = body.config.pad_token_id
        self.padding_position = padding if kind in _FROM_PADDING else None
        self.body: nn.Module = _packed(body, kind, reads=reads)

    def forward(self, batch: Batch) -> torch.Tensor:
        """[r or T, hidden]."""
        return self.states(self.pack(batch))

    def pack(self, batch: Batch, attended: Int64s | None = None) -> Packed:
        """The batch as the body takes it."""
        return pack(batch, padding_position=self.padding_position, attended=attended)

    def states(self, packed: Packed) -> torch.Tensor:
        """[r or T, hidden]."""
        return self.body(packed)  # type: ignore[no-any-return]


def _packed(body: Any, kind: str, *, reads: Literal["readouts", "all"]) -> nn.Module:
    if kind in _BERT:
        return PackedBert(body, reads=reads)
    return _OTHERS[kind](body, reads=reads)


class PackedClassifier(nn.Module):
    """A sequence-classification network of transformers.

    Args:
        network: with its weights; taken over in place.
        kind: its ``model_type``.
    """

    def __init__(self, network: Any, kind: str) -> None:
        super().__init__()
        self.network: Any = network
        self.kind = kind
        self.means = kind == "modernbert" and self.network.config.classifier_pooling == "mean"
        self.encoder = PackedEncoder(
            self.network.base_model, kind, reads="all" if self.means else "readouts"
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits of each sequence."""
        states = self.encoder(batch)
        if self.means:
            states = mean(states, batch.lengths)
        logits: torch.Tensor = self.network.classifier(self._pooled(states))
        return logits.float()

    def _pooled(self, states: torch.Tensor) -> torch.Tensor:
        """What the classifier takes, of a row for each sequence."""
        if self.kind == "bert":
            return self.network.bert.pooler(states[:, None])  # type: ignore[no-any-return]
        if self.kind == "modernbert":
            return self.network.head(states)  # type: ignore[no-any-return]
        if self.kind == "deberta-v2":
            return self.network.pooler(states[:, None])  # type: ignore[no-any-return]
        return states[:, None]  # the heads of RoBERTa and ELECTRA take the first row of each
