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
    found = read_pool(job, unit, _scales(job))
    config = job.config.negatives
    mined = _mine_all(job, found, wanted=requests(config))
    keys = [
        found.keys[places[one.negatives]] for places, one in zip(found.usable, mined, strict=True)
    ]
    table = pa.table(
        {
            QUERY: pa.array(found.query_keys),
            DOCUMENTS: pa.array([one.tolist() for one in keys], pa.list_(pa.uint64())),
        },
        schema=REQUEST_SCHEMA,
    )
    job.set_folder.put_table(job.set_folder.step(REQUESTS, unit.place), table)


def mine_unit(job: Job, unit: DistillUnit) -> None:
    """Write a unit's parts and rejects, then its record, which commits them."""
    folder = job.set_folder
    found = read_pool(job, unit, _scales(job))
    granted = None
    if job.config.negatives.max_per_document is not None:
        rows = folder.read_table(folder.step(GRANTED, unit.place))[DOCUMENTS].to_pylist()
        granted = [frozenset(one) for one in rows]
    result = _Result(job, unit, found, _mine_all(job, found, granted=granted))
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
    found: UnitPool,
    *,
    wanted: int | None = None,
    granted: Sequence[frozenset[int]] | None = None,
) -> list[Mined]:
    """What became of every query of a unit."""
    config = job.config
    mined = []
    for query, failure in enumerate(found.failures):
        if failure is not None:
            mined.append(Mined.left_out(failure, [None] * len(found.usable[query])))
            continue
        taken = None if granted is None else granted[query]
        one = found.candidates(query)
        rules = config.positives, config.negatives
        mined.append(mine(one, *rules, seed=config.seed, wanted=wanted, granted=taken))
    return mined


@dataclass(frozen=True)
class _Result:
    """A mined unit, as what is written of it."""

    job: Job
    unit: DistillUnit
    found: UnitPool
    mined: Sequence[Mined]

    def chosen(self, split: str) -> list[Chosen]:
        """The queries of a split with their documents, places in the unit's pool."""
        kept = []
        for query, (places, one) in enumerate(zip(self.found.usable, self.mined, strict=True)):
            if one.failure is None and self.found.splits[query] == split:
                kept.append(
                    Chosen(
                        query=query,
                        positives=places[one.positives].tolist(),
                        from_qrels=one.from_qrels,
                        # Taken in the order of sampling, written best first.
                        negatives=places[sorted(one.negatives)].tolist(),
                    )
                )
        return kept

    def rows(self, split: str) -> pa.Table:
        """The canonical rows of a split."""
        return training_rows(self.found.queries, self.found.pool, self.chosen(split))

    def counts(self, split: str) -> dict[str, int]:
        """Queries, positives and negatives of a split."""
        chosen = self.chosen(split)
        return {
            "queries": len(chosen),
            "positives": sum(len(one.positives) for one in chosen),
            "negatives": sum(len(one.negatives) for one in chosen),
        }

    def reasons(self) -> list[str | None]:
        """For every document of the pool why it is not in the set, None where it is."""
        why = list(self.found.reasons)
        for places, one in zip(self.found.usable, self.mined, strict=True):
            for place, code in zip(places.tolist(), one.reasons, strict=True):
                why[place] = code
        return why

    def rejects(self) -> pa.Table:
        """Every document that is neither positive nor negative."""
        why = self.reasons()
        places = np.array([i for i, code in enumerate(why) if code is not None], dtype=np.int64)
        codes = [code for code in why if code is not None]
        ids = self.found.queries.column(0).combine_chunks()
        return reject_rows(ids, self.found.query_of, self.found.pool, places, codes)

    def record(self) -> dict[str, Any]:
        """The unit's commit record: counts that add up over units."""
        pool, summary = self.found.pool, _summary(self.job)
        edges = np.array(summary["edges"])
        chosen = [one for split in canonical.SPLITS for one in self.chosen(split)]
        positives = [place for one in chosen for place in one.positives]
        negatives = [place for one in chosen for place in one.negatives]
        judged = sum(sum(one.from_qrels) for one in chosen)
        scores = pool.scores.astype(np.float64)
        codes = self.reasons()
        candidates = Counter(code for code in codes if code is not None)
        return {
            "place": self.unit.place,
            "unit": self.unit.name,
            "moments": asdict(Moments.of(scores)),
            "spread": asdict(list_spread(scores[[*c.positives, *c.negatives]] for c in chosen)),
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
    found: dict[str, Any] = job.set_folder.read_json(job.set_folder.work(SUMMARY))
    return found


def _scales(job: Job) -> list[Scale]:
    return [Scale(**one) for one in _summary(job)["scales"]]
