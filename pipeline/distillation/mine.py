"""Third step, for every unit: mine it and write its part of the set."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.distillation.decisions import SUMMARY
from pipeline.distillation.rules import canonical
from pipeline.distillation.rules.mining import Mined, mine, requests
from pipeline.distillation.rules.rows import Chosen, reject_rows, training_rows
from pipeline.distillation.rules.statistics import histogram, list_spread
from pipeline.distillation.rules.teachers import Moments, Scale
from pipeline.distillation.sets.check import listed
from pipeline.distillation.sets.folder import GRANTED, RECORDS, REQUESTS
from pipeline.distillation.steps import Job
from pipeline.distillation.unit_pool import UnitPool, read_pool
from pipeline.distillation.units import DistillUnit
from pipeline.storage.parquet import to_bytes

QUERY, DOCUMENTS = "query", "documents"

#: One row per query: keys of documents, in the order in which the query wants them.
REQUEST_SCHEMA = pa.schema(
    [
        pa.field(QUERY, pa.uint64(), nullable=False),
        pa.field(DOCUMENTS, pa.list_(pa.uint64()), nullable=False),
    ]
)


def request_unit(job: Job, unit: DistillUnit) -> None:
    """Write which negatives the unit's queries would take, where documents are capped."""
    unit_pool = read_pool(job, unit, _scales(job))
    config = job.config.negatives
    mined = _mine_all(job, unit_pool, wanted=requests(config))
    keys = [
        unit_pool.keys[places[query.negatives]]
        for places, query in zip(unit_pool.usable, mined, strict=True)
    ]
    table = pa.table(
        {
            QUERY: pa.array(unit_pool.query_keys),
            DOCUMENTS: pa.array([wanted.tolist() for wanted in keys], pa.list_(pa.uint64())),
        },
        schema=REQUEST_SCHEMA,
    )
    job.set_folder.put_table(job.set_folder.step(REQUESTS, unit.place), table)


def mine_unit(job: Job, unit: DistillUnit) -> None:
    """Write a unit's parts and rejects, then its record, which commits them."""
    folder = job.set_folder
    unit_pool = read_pool(job, unit, _scales(job))
    granted = None
    if job.config.negatives.max_per_document is not None:
        rows = folder.read_table(folder.step(GRANTED, unit.place))[DOCUMENTS].to_pylist()
        granted = [frozenset(keys) for keys in rows]
    result = _Result(job, unit, unit_pool, _mine_all(job, unit_pool, granted=granted))
    files: dict[str, bytes] = {}
    for split in canonical.SPLITS:
        rows = result.rows(split)
        if rows.num_rows:
            description = job.description | {"split": split, "counts": result.counts(split)}
            path = canonical.part_path(folder.path, split, unit.place)
            files[path] = canonical.part_bytes(rows, description)
    files[folder.rejects(unit.place)] = to_bytes(result.rejects())
    for path, data in files.items():
        folder.put(path, data)
    written = [listed(folder, path, data) for path, data in files.items()]
    folder.put_json(folder.step(RECORDS, unit.place), result.record() | {"files": written})


def _mine_all(
    job: Job,
    unit_pool: UnitPool,
    *,
    wanted: int | None = None,
    granted: Sequence[frozenset[int]] | None = None,
) -> list[Mined]:
    """The result of mining for every query of a unit."""
    config = job.config
    mined = []
    for query, failure in enumerate(unit_pool.failures):
        if failure is not None:
            mined.append(Mined.left_out(failure, [None] * len(unit_pool.usable[query])))
            continue
        taken = None if granted is None else granted[query]
        candidates = unit_pool.candidates(query)
        rules = config.positives, config.negatives
        mined.append(mine(candidates, *rules, seed=config.seed, wanted=wanted, granted=taken))
    return mined


@dataclass(frozen=True)
class _Result:
    """A mined unit, as what is written of it."""

    job: Job
    unit: DistillUnit
    unit_pool: UnitPool
    mined: Sequence[Mined]

    def chosen(self, split: str) -> list[Chosen]:
        """The queries of a split with their documents, places in the unit's pool."""
        kept = []
        lists = zip(self.unit_pool.usable, self.mined, strict=True)
        for query, (places, mined) in enumerate(lists):
            if mined.failure is None and self.unit_pool.splits[query] == split:
                kept.append(
                    Chosen(
                        query=query,
                        positives=places[mined.positives].tolist(),
                        from_qrels=mined.from_qrels,
                        # Taken in the order of sampling, written best first.
                        negatives=places[sorted(mined.negatives)].tolist(),
                    )
                )
        return kept

    def rows(self, split: str) -> pa.Table:
        """The canonical rows of a split."""
        return training_rows(self.unit_pool.queries, self.unit_pool.pool, self.chosen(split))

    def counts(self, split: str) -> dict[str, int]:
        """Queries, positives and negatives of a split."""
        chosen = self.chosen(split)
        return {
            "queries": len(chosen),
            "positives": sum(len(query.positives) for query in chosen),
            "negatives": sum(len(query.negatives) for query in chosen),
        }

    def reasons(self) -> list[str | None]:
        """For every document of the pool why it is not in the set, None where it is."""
        why = list(self.unit_pool.reasons)
        for places, mined in zip(self.unit_pool.usable, self.mined, strict=True):
            for place, code in zip(places.tolist(), mined.reasons, strict=True):
                why[place] = code
        return why

    def rejects(self) -> pa.Table:
        """Every document that is neither positive nor negative."""
        why = self.reasons()
        places = np.array([i for i, code in enumerate(why) if code is not None], dtype=np.int64)
        codes = [code for code in why if code is not None]
        ids = self.unit_pool.queries.column(0).combine_chunks()
        return reject_rows(ids, self.unit_pool.query_of, self.unit_pool.pool, places, codes)

    def record(self) -> dict[str, Any]:
        """The unit's commit record: counts that add up over units."""
        pool, summary = self.unit_pool.pool, _summary(self.job)
        edges = np.array(summary["edges"])
        chosen = [query for split in canonical.SPLITS for query in self.chosen(split)]
        positives = [place for query in chosen for place in query.positives]
        negatives = [place for query in chosen for place in query.negatives]
        judged = sum(sum(query.from_qrels) for query in chosen)
        scores = pool.scores.astype(np.float64)
        codes = self.reasons()
        candidates = Counter(code for code in codes if code is not None)
        return {
            "place": self.unit.place,
            "unit": self.unit.name,
            "moments": asdict(Moments.of(scores)),
            "spread": asdict(
                list_spread(scores[[*query.positives, *query.negatives]] for query in chosen)
            ),
            "counts": {
                "documents": len(pool),
                "splits": {split: self.counts(split) for split in canonical.SPLITS},
                "sources": {
                    canonical.FROM_QRELS: judged,
                    canonical.FROM_TEACHER: len(positives) - judged,
                },
                "candidates_rejected": dict(sorted(candidates.items())),
                "queries_rejected": dict(
                    sorted(Counter(m.failure for m in self.mined if m.failure is not None).items())
                ),
                "histograms": {
                    "candidates": histogram(scores, edges),
                    "positives": histogram(scores[positives], edges),
                    "negatives": histogram(scores[negatives], edges),
                },
            },
        }


def _summary(job: Job) -> dict[str, Any]:
    summary: dict[str, Any] = job.set_folder.read_json(job.set_folder.work(SUMMARY))
    return summary


def _scales(job: Job) -> list[Scale]:
    return [Scale(**scale) for scale in _summary(job)["scales"]]
