"""Attention of the last layer at the tokens that are read out, and nowhere else.

Nobody looks at the other rows of a network's output. Their keys and values are needed, their
queries, output projection and feed-forward layer are not: a sixth of the work in six layers.
"""

from __future__ import annotations

import torch

from pipeline.networks.attention.flat import attend
from pipeline.networks.attention.plan import Plan
from pipeline.networks.packed import Reading


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
