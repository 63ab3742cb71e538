"""First step, for every unit: what must be known of the whole set before anything is chosen."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline import schema
from pipeline.distillation.rules.calibration import sampled_others
from pipeline.distillation.rules.near_duplicates import Sets
from pipeline.distillation.rules.teachers import Moments
from pipeline.distillation.rules.texts import character_shingles, mixed, normalised
from pipeline.distillation.sets.folder import SURVEY
from pipeline.distillation.steps import Job
from pipeline.distillation.unit_scores import UnitScores, query_texts, read_scores
from pipeline.distillation.units import DistillUnit
from pipeline.hashes import stable_hashes

KEY: Final = "key"
SHINGLES: Final = "shingles"
OUTSIDE: Final = "outside"
STATISTICS: Final = "statistics"

#: One row per query. ``key`` hashes the normalised text, or the id of a query without one.
SURVEY_SCHEMA: Final = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string()),
        pa.field(KEY, pa.uint64(), nullable=False),
        pa.field(SHINGLES, pa.list_(pa.uint32()), nullable=False),
        pa.field(OUTSIDE, pa.list_(pa.string()), nullable=False),
    ]
)


def survey(job: Job, unit: DistillUnit) -> None:
    """Write a unit's survey: query texts as hashes and shingles, moments and gaps of teachers."""
    unit_scores = read_scores(job, unit)
    texts = query_texts(job, unit, unit_scores.query_ids)
    ids = ["" if query_id is None else query_id for query_id in unit_scores.query_ids.to_pylist()]
    normals = [None if text is None else normalised(text) for text in texts]
    keys = stable_hashes(
        [
            "id:" + query_id if text is None else "text:" + text
            for query_id, text in zip(ids, normals, strict=True)
        ]
    )
    shingles = shingle_sets(normals)
    rows = pa.table(
        {
            schema.QUERY_ID: unit_scores.query_ids,
            KEY: pa.array(keys),
            SHINGLES: pa.ListArray.from_arrays(
                pa.array(shingles.offsets.astype(np.int32)), pa.array(shingles.elements)
            ),
            OUTSIDE: pa.array(_outside(job, unit_scores), pa.list_(pa.string())),
        },
        schema=SURVEY_SCHEMA,
    )
    statistics = {
        "candidates": len(unit_scores.doc_ids),
        "moments": [asdict(Moments.of(row)) for row in unit_scores.scores],
        "unscored": unit_scores.unscored,
        "extra": unit_scores.extra,
        "not_finite": int(unit_scores.not_finite.sum()),
        "by_teachers": _by_teachers(unit_scores),
        "calibration": _calibration(job, unit_scores),
    }
    path = job.set_folder.step(SURVEY, unit.place)
    job.set_folder.put_table(path, rows, metadata={STATISTICS: json.dumps(statistics)})


def shingle_sets(normals: list[str | None]) -> Sets:
    """Character shingles of normalised texts; no text has none, and is similar to nothing."""
    offsets, elements = character_shingles([text for text in normals if text is not None])
    sizes = np.zeros(len(normals), dtype=np.int64)
    sizes[[text is not None for text in normals]] = np.diff(offsets)
    return Sets(offsets=np.append(0, np.cumsum(sizes)), elements=elements)


def _outside(job: Job, unit_scores: UnitScores) -> list[list[str]]:
    """For each query the ids of positives by judgement that stand in no list of it."""
    wanted: dict[str, list[str]] = {}
    if job.config.positives.source != "teacher":
        for row in unit_scores.outside.to_pylist():
            if row["relevance"] >= job.config.positives.min_relevance:
                wanted.setdefault(row[schema.QUERY_ID], []).append(row[schema.DOC_ID])
    return [wanted.get(query_id, []) for query_id in unit_scores.query_ids.to_pylist()]


def _by_teachers(unit_scores: UnitScores) -> list[int]:
    """How many candidates were scored by 0, 1, … teachers."""
    counted = (~np.isnan(unit_scores.scores)).sum(axis=0)
    return [int(n) for n in np.bincount(counted, minlength=len(unit_scores.scores) + 1)]


def _calibration(job: Job, unit_scores: UnitScores) -> list[dict[str, list[Any]]]:
    """What the logistic fit of each teacher will see of this unit."""
    if job.config.combination.scores != "calibrated":
        return []
    relevant = unit_scores.judged & (unit_scores.relevance >= job.config.positives.min_relevance)
    docs = stable_hashes(
        "" if doc_id is None else doc_id for doc_id in unit_scores.doc_ids.to_pylist()
    )
    queries = stable_hashes(
        "" if query_id is None else query_id for query_id in unit_scores.query_ids.to_pylist()
    )
    draw = mixed(docs ^ mixed(queries)[unit_scores.query_of])
    samples = []
    for scores in unit_scores.scores:
        sample: dict[str, list[Any]] = {"scores": [], "relevant": [], "weights": []}
        for start, stop in zip(
            unit_scores.offsets[:-1].tolist(), unit_scores.offsets[1:].tolist(), strict=True
        ):
            usable = ~np.isnan(scores[start:stop])
            places, weights = sampled_others(relevant[start:stop], usable, draw[start:stop])
            sample["scores"] += scores[start:stop][places].tolist()
            sample["relevant"] += relevant[start:stop][places].tolist()
            sample["weights"] += weights.tolist()
        samples.append(sample)
    return samples
