"""Judgements by unit, so that a worker reads those of its own queries and no others."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.config import DistillConfig
from pipeline.distillation.preparation import Prepared
from pipeline.distillation.rules.canonical import RELEVANCE
from pipeline.distillation.sets.folder import JUDGED, SetFolder
from pipeline.distillation.unit_scores import JUDGED_SCHEMA
from pipeline.hashes import stable_hashes
from pipeline.ranking.qrels import read_qrels

_EVALUATION_DOCUMENTS = "evaluation_documents.parquet"
_KEY = "key"


def write_judgements(prepared: Prepared) -> None:
    """Cut positives.qrels into one file per unit; the driver holds all judgements meanwhile."""
    path, folder = prepared.config.positives.qrels, prepared.folder
    done = folder.done(JUDGED)
    if path is None or len(done) == len(prepared.units):
        return
    qrels = read_qrels(prepared.given.read(path), path)
    by_hash = dict(zip(stable_hashes(qrels).tolist(), qrels, strict=True))
    judged = np.array(list(by_hash), dtype=np.uint64)
    for place, hashes in enumerate(prepared.teachers[0].hashes):
        if place in done:
            continue
        queries = [by_hash[key] for key in hashes[np.isin(hashes, judged)].tolist()]
        rows = [
            {schema.QUERY_ID: query, schema.DOC_ID: doc, RELEVANCE: relevance}
            for query in queries
            for doc, relevance in qrels[query].items()
        ]
        table = pa.Table.from_pylist(rows, schema=JUDGED_SCHEMA)
        folder.put_table(folder.step(JUDGED, place), table)


def write_evaluation_documents(prepared: Prepared) -> None:
    """Keep the hashes of the documents that evaluation judgements call relevant."""
    config, folder = prepared.config, prepared.folder
    if not config.decontaminate.documents:
        return
    found = {
        doc
        for path in config.decontaminate.qrels
        for documents in read_qrels(prepared.given.read(path), path).values()
        for doc, relevance in documents.items()
        if relevance > 0
    }
    table = pa.table({_KEY: pa.array(np.sort(stable_hashes(found)), pa.uint64())})
    folder.put_table(folder.work(_EVALUATION_DOCUMENTS), table)


def evaluation_documents(config: DistillConfig, folder: SetFolder) -> npt.NDArray[np.uint64]:
    """uint64, ascending: hashes of the ids of documents to leave out."""
    if not config.decontaminate.documents:
        return np.zeros(0, dtype=np.uint64)
    return _read(folder)


@lru_cache(maxsize=2)
def _read(folder: SetFolder) -> npt.NDArray[np.uint64]:
    table = folder.read_table(folder.work(_EVALUATION_DOCUMENTS))
    return np.asarray(table[_KEY].to_numpy(), dtype=np.uint64)
