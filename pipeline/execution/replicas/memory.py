"""How much memory a replica on CPU takes, by the sizes of its checkpoint: before it is loaded."""

from __future__ import annotations

import math
from typing import Final

from pipeline.engine.device import DEFAULT_TOKEN_BUDGET
from pipeline.errors import ModelError
from pipeline.execution.unit_size import MOST_BYTES
from pipeline.rerankers.base import Reranker, WeightedReranker

#: A worker process with torch, pyarrow and Ray in it, before a model. A replica of
#: all-MiniLM-L6-v2, whose weights take 87 MiB, was measured at 405 MiB resident on Ray 2.60.
WORKER_BYTES: Final = 450 * 2**20

#: What the driver, Ray's own processes and its object store take beside replicas.
BESIDE_BYTES: Final = 2 * 2**30

#: Share of a machine's memory that is planned with; the rest is for the page cache and others.
SHARE: Final = 0.8

#: Bytes of a number of a weight, by the precision of the network's body on CPU. int8 is made of
#: float32, tensor by tensor, and its embeddings stay in that.
_BYTES: Final = {"float32": 4, "bfloat16": 2, "float16": 2, "int8": 4}

#: Widest activation of a layer, in multiples of the model's width: query, key, value and output,
#: and the two halves of a gated feed-forward layer of up to 4 times that width each.
_WIDTHS: Final = 12


def replica_bytes(reranker: Reranker, dtype: str) -> int | None:
    """Bytes that a replica takes at most: process, weights, activations, and a unit in work.

    Args:
        reranker: its CPU half.
        dtype: precision of the network's body.

    Returns:
        The bytes; None where the headers of the weights cannot be read, which loading them says.
    """
    unit = 2 * MOST_BYTES  # as it came, and as it goes
    if not isinstance(reranker, WeightedReranker):
        return WORKER_BYTES + unit
    try:
        shapes = reranker.checkpoint.shapes()
    except ModelError:
        return None
    weights = sum(math.prod(shape) for shape in shapes.values()) * _BYTES.get(dtype, 4)
    width = max((shape[-1] for shape in shapes.values() if len(shape) == 2), default=0)
    activations = DEFAULT_TOKEN_BUDGET["cpu"] * width * _WIDTHS * 4
    return WORKER_BYTES + weights + activations + unit


def fitting(memory_bytes: int | None, each: int | None) -> int | None:
    """Replicas of ``each`` bytes that fit into a machine, one at least; None: not known."""
    if memory_bytes is None or each is None:
        return None
    return max(1, int((memory_bytes * SHARE - BESIDE_BYTES) // each))
