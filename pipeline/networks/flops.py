"""Useful floating-point operations: what the tokens that have to be read cost, by formula.

Two operations per multiply-add. Matrices count ``2 * rows * columns`` per token, attention
``4 * width`` per pair of a token and one that it sees (scores, then the weighted sum); a causal
network sees what stands before. Embeddings, norms, activations and the small heads count nothing,
and neither does padding. What an engine leaves out (a last layer that is read at one token only)
still counts, so that engines are measured by one number. Formulas as in Narayanan et al.,
arXiv:2104.04473, without the backward pass and the vocabulary's logits.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.sequences.sequences import Sequences

_CAUSAL: Final = ("llama", "mistral", "qwen2", "qwen2_vl", "qwen3")


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a forward pass costs.

    Attributes:
        per_token: operations of all matrices for one token.
        per_seen: operations of attention for one token and one that it sees, all layers together.
        causal: whether a token sees only itself and those before it.
    """

    per_token: float
    per_seen: float
    causal: bool

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Network:
        """The text network of a config.json.

        Raises:
            KeyError: the configuration does not state a size under the name that BERT, RoBERTa and
                the decoders give it.
        """
        hidden, inner = config["hidden_size"], config["intermediate_size"]
        layers, heads = config["num_hidden_layers"], config["num_attention_heads"]
        width = heads * config.get("head_dim", hidden // heads)
        kept = width * config.get("num_key_value_heads", heads) // heads
        causal = config.get("model_type") in _CAUSAL
        gated = causal or config.get("feed_forward_type", "") in ("geglu", "reglu")
        weights = hidden * (2 * width + 2 * kept) + (3 if gated else 2) * hidden * inner
        return cls(per_token=2.0 * layers * weights, per_seen=4.0 * layers * width, causal=causal)

    @classmethod
    def vision_of(cls, config: Mapping[str, Any]) -> Network:
        """Qwen2-VL's vision tower per patch, without the merger."""
        width, depth = config["embed_dim"], config["depth"]
        inner = width * config["mlp_ratio"]
        patch = config["in_channels"] * config["temporal_patch_size"] * config["patch_size"] ** 2
        weights = depth * (4 * width * width + 2 * width * inner) + patch * width
        return cls(per_token=2.0 * weights, per_seen=4.0 * depth * width, causal=False)

    def mean_length(self, *, tokens: float, flops: float) -> float:
        """Tokens that a token's sequence has on average, by what sequences cost.

        The inverse of :meth:`flops`: sum of squared lengths over their sum.

        Args:
            tokens: of all sequences.
            flops: that they take.
        """
        seen = (flops - self.per_token * tokens) / self.per_seen
        return (2 * seen - tokens if self.causal else seen) / tokens

    def flops(
        self, lengths: npt.NDArray[np.int64], before: npt.NDArray[np.int64] | None = None
    ) -> float:
        """Operations for sequences.

        Args:
            lengths: int64 [S], tokens of each.
            before: int64 [S], tokens that each goes on after, computed elsewhere; causal only.
        """
        own = lengths.astype(np.float64)
        seen = own * (own + 1) / 2 if self.causal else own**2
        if before is not None:
            seen = seen + own * before
        return float(self.per_token * own.sum() + self.per_seen * seen.sum())


def text_flops(config: Mapping[str, Any], sequences: Sequences) -> float:
    """Operations of the text network; a beginning that sequences share counts once."""
    before = None
    if sequences.parents is not None:
        parents = sequences.parents
        before = np.where(parents >= 0, sequences.lengths[parents], 0)
    return Network.of(config).flops(sequences.lengths, before)


def image_flops(config: Mapping[str, Any], *, patches: int, images: int) -> float:
    """Operations of the vision tower and its merger for ``images`` of ``patches`` each."""
    vision = config["vision_config"]
    tower = Network.vision_of(vision).flops(np.full(images, patches, dtype=np.int64))
    block = vision["spatial_merge_size"] ** 2
    merged = vision["embed_dim"] * block
    merger = 2.0 * merged * (merged + config["hidden_size"]) * (patches // block)
    return float(tower + images * merger)


def shape_of(config: Mapping[str, Any]) -> str:
    """The sizes of a config.json that decide what a token costs; equal for equal costs.

    Raises:
        KeyError: see :meth:`Network.of`.
    """
    network = Network.of(config)
    layers, hidden = config["num_hidden_layers"], config["hidden_size"]
    seen = "causal" if network.causal else "bidirectional"
    return (
        f"{layers} layers of {hidden}, {network.per_token / 1e6:.1f} MFLOP per token and "
        f"{network.per_seen / 1e3:.1f} kFLOP per token seen, {seen}"
    )
