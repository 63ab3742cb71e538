"""Train and dev: whole clusters of queries, chosen by content and seed alone."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from pipeline.distillation.rules.texts import mixed
from pipeline.hashes import Hashes


def choose_dev(
    cluster_of: npt.NDArray[np.int64], keys: Hashes, *, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """bool [N]: the queries of dev, at most ``fraction`` of all, clusters whole.

    Clusters come in an order drawn from the seed and their members' texts, and each goes to dev if
    it still fits, so neither the order of the input nor ids matter. Where no cluster is small
    enough, dev is empty.

    Args:
        cluster_of: int64 [N], any number that the members of a cluster share.
        keys: uint64 [N], hash of each query's normalised text.
        fraction: 0 to 1.
        seed: of the draw.
    """
    dev = np.zeros(len(keys), dtype=bool)
    room = int(np.floor(fraction * len(keys) + 1e-9))
    if room == 0:
        return dev
    _, cluster, sizes = np.unique(cluster_of, return_inverse=True, return_counts=True)
    smallest = np.full(len(sizes), np.iinfo(np.uint64).max, dtype=np.uint64)
    np.minimum.at(smallest, cluster, keys)
    draw = mixed(smallest ^ mixed(np.array([seed], dtype=np.uint64)))
    taken = np.zeros(len(sizes), dtype=bool)
    for place in np.lexsort((smallest, draw)).tolist():
        if sizes[place] <= room:
            taken[place] = True
            room -= int(sizes[place])
            if room == 0:
                break
    return np.asarray(taken[cluster], dtype=bool)
