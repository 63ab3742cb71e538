"""The last layer of a network at the tokens that are read out, and nowhere else.

Nobody looks at the other rows of a network's output. Their keys and values are needed, their
queries, output projection and feed-forward layer are not: a sixth of the work in six layers. The
layers here run the modules of the layer that they replace, on fewer rows; results are the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import torch
from torch import nn

from pipeline.networks.attention import attend
from pipeline.networks.attention_plan import Plan
from pipeline.networks.packed import Reading


def read_last_layer(network: nn.Module, kind: str) -> None:
    """Replace the last layer of a transformers encoder, in place.

    Its output, and so the network's, becomes [1, r, hidden], a row for each readout.

    Args:
        network: the body, with its weights.
        kind: ``model_type``, one of :data:`KINDS`.
    """
    layers = network.get_submodule(_LAYERS)
    assert isinstance(layers, nn.ModuleList)
    layers[-1] = KINDS[kind](layers[-1])


class ModernBertLayer(nn.Module):
    """Of ModernBERT, where the layer sees everything or only its neighbourhood."""

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer: Any = layer
        self.attention_type = self.layer.attention_type

    def forward(
        self,
        hidden: torch.Tensor,
        *_: Any,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        plan: Plan,
        reading: Reading,
        **__: Any,
    ) -> torch.Tensor:
        """[1, T, hidden] to [1, r, hidden]."""
        layer, attention = self.layer, self.layer.attn
        tokens, rows = hidden[0], hidden[0, reading.rows]
        cos, sin = (table[0] for table in position_embeddings)
        projected = attention.Wqkv(layer.attn_norm(tokens))
        query, key, value = projected.view(len(tokens), 3, -1, attention.head_dim).unbind(1)
        window = attention.sliding_window
        if reading.plan is not None and window is None:
            query, turn = query[reading.rows], (cos[reading.rows], sin[reading.rows])
        else:
            reading, turn = Reading(rows=reading.rows, plan=None), (cos, sin)
        mixed = read(
            rotate(query, *turn),
            rotate(key, cos, sin),
            value,
            plan,
            reading,
            scale=attention.head_dim**-0.5,
            window=window,
        )
        rows = rows + attention.Wo(mixed)
        return (rows + layer.mlp(layer.mlp_norm(rows)))[None]  # type: ignore[no-any-return]


def read(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    plan: Plan,
    reading: Reading,
    *,
    scale: float,
    window: int | None = None,
) -> torch.Tensor:
    """[r, heads * dim]: attention at the tokens that are read out.

    ``query`` has a row for each of them, or for each token where their neighbours must ask too.
    """
    if reading.plan is None:
        mixed = attend(query, key, value, plan, scale=scale, window=window)[reading.rows]
    else:
        mixed = attend(query, key, value, reading.plan, scale=scale)
    return mixed.flatten(1)


def rotate(heads: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Rotary positions (arXiv:2104.09864) of [T, heads, dim] by tables [T, dim], in float32."""
    wide, (cos, sin) = heads.float(), (cos[:, None].float(), sin[:, None].float())
    first, second = wide.chunk(2, dim=-1)
    turned: torch.Tensor = wide * cos + torch.cat((-second, first), dim=-1) * sin
    return turned.to(heads.dtype)


#: The layer that stands in for the last one, by ``model_type``.
KINDS: Final[dict[str, Callable[[nn.Module], nn.Module]]] = {
    "modernbert": ModernBertLayer,
}

#: Where the layers are in the body.
_LAYERS: Final = "layers"
