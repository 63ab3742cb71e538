"""The cap on uses of a document: requests of the units' queries become grants."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from pipeline.config import DistillConfig
from pipeline.distillation.mine import DOCUMENTS, QUERY, REQUEST_SCHEMA
from pipeline.distillation.rules.document_cap import assign
from pipeline.distillation.sets.folder import GRANTED, REQUESTS, SetFolder


def write_grants(config: DistillConfig, folder: SetFolder, units: int) -> None:
    """Write each unit's grants; the driver holds all requests, about 70 bytes each."""
    cap = config.negatives.max_per_document
    if cap is None or len(folder.done(GRANTED)) == units:
        return
    queries, documents, counts, sizes = [], [], [], []
    for place in range(units):
        table = folder.read_table(folder.step(REQUESTS, place))
        column = table[DOCUMENTS].combine_chunks()
        queries.append(table[QUERY].to_numpy())
        documents.append(np.asarray(column.flatten(), dtype=np.uint64))
        counts.append(np.diff(np.asarray(column.offsets, dtype=np.int64)))
        sizes.append(table.num_rows)
    lengths = np.concatenate([np.zeros(0, np.int64), *counts])
    asked = np.concatenate([np.zeros(0, np.uint64), *documents])
    keys = np.concatenate([np.zeros(0, np.uint64), *queries])
    offsets = np.append(0, np.cumsum(lengths))
    granted = assign(
        offsets, asked, keys, wanted=config.negatives.num_negatives, cap=cap, seed=config.seed
    )
    first = 0
    for place, size in enumerate(sizes):
        edges = offsets[first : first + size + 1]
        held = granted[edges[0] : edges[-1]]
        kept = np.append(0, np.cumsum(held))[edges - edges[0]]
        lists = pa.ListArray.from_arrays(
            pa.array(kept.astype(np.int32)), pa.array(asked[edges[0] : edges[-1]][held])
        )
        table = pa.table(
            {QUERY: pa.array(keys[first : first + size]), DOCUMENTS: lists}, schema=REQUEST_SCHEMA
        )
        folder.put_table(folder.step(GRANTED, place), table)
        first += size
