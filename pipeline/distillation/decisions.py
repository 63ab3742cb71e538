"""Second step, in the driver: what takes the whole set to decide, written for each unit.

Memory is about 100 bytes per query, and with near duplicates about 30 bytes per character of its
text on top; units are read one after the other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline import schema
from pipeline.config import DistillConfig
from pipeline.distillation.corpus import find_texts
from pipeline.distillation.given_files import GivenFiles
from pipeline.distillation.groups import Groups
from pipeline.distillation.rules.calibration import log_odds
from pipeline.distillation.rules.canonical import DEV, TRAIN
from pipeline.distillation.rules.decontamination import match_table
from pipeline.distillation.rules.splits import choose_dev
from pipeline.distillation.rules.statistics import histogram_edges
from pipeline.distillation.rules.teachers import Moments, Scale, Teacher, standardising
from pipeline.distillation.sets.check import listed
from pipeline.distillation.sets.folder import DECISIONS, SURVEY, SetFolder
from pipeline.distillation.survey import OUTSIDE
from pipeline.distillation.surveys import Surveys
from pipeline.storage.parquet import to_bytes

SPLIT: Final = "split"
SUMMARY: Final = "decided.json"
DECONTAMINATION: Final = "decontamination.parquet"

Ints = npt.NDArray[np.int64]

#: One row per query of a unit: where it goes, or why it goes nowhere, and the texts of its
#: positives that stand in no list.
DECISION_SCHEMA: Final = pa.schema(
    [
        pa.field(schema.QUERY_ID, pa.string()),
        pa.field(SPLIT, pa.string()),
        pa.field(schema.REASON, pa.string()),
        pa.field(
            OUTSIDE,
            pa.list_(pa.struct([(schema.DOC_ID, pa.string()), (schema.TEXT, pa.string())])),
            nullable=False,
        ),
    ]
)


def decide(
    config: DistillConfig,
    teachers: Sequence[Teacher],
    folder: SetFolder,
    units: int,
    given: GivenFiles,
) -> None:
    """Write every unit's decisions, then :data:`SUMMARY`, from all surveys.

    Raises:
        InputContractError: a teacher's scores cannot be put on the asked scale; an evaluation file
            is not one, or not what it was.
    """
    surveys = Surveys.read(config, folder, units, given)
    moments = [Moments.merged([Moments(**part) for part in parts]) for parts in surveys.moments]
    scales = _scales(config, teachers, moments, surveys)
    groups = Groups.of(config, surveys, given)
    left_out = surveys.reasons | groups.matches
    free = np.ones(len(surveys.keys), dtype=bool)
    free[list(left_out)] = False
    dev = _dev(config, groups, surveys, free)
    texts = find_texts(given.corpus, surveys.outside)
    matches, used = _write_units(folder, surveys, left_out, dev, texts)
    left_out_bytes = to_bytes(match_table(matches))
    folder.put(folder.file(DECONTAMINATION), left_out_bytes)
    edges = histogram_edges(
        moments,
        scales,
        [teacher.weight for teacher in config.teachers],
        method=config.combination.method,
        rank_constant=config.combination.rank_constant,
        coverage=config.combination.coverage,
    )
    sizes = np.unique(groups.cluster_of[free], return_counts=True)[1]
    summary = {
        "queries": len(free),
        "candidates": surveys.statistics["candidates"],
        "coverage": _coverage(surveys.statistics, teachers),
        "teachers": [part.described() for part in moments],
        "scales": [asdict(scale) for scale in scales],
        "edges": edges.tolist(),
        "split": {
            "clusters": len(sizes),
            "largest_cluster": int(sizes.max(initial=0)),
            TRAIN: int((free & ~dev).sum()),
            DEV: int(dev.sum()),
        },
        "left_out": len(left_out),
        "files": [listed(folder, folder.file(DECONTAMINATION), left_out_bytes)],
        "positives_outside": {"judged": surveys.outside_pairs, "with_text": used},
    }
    folder.put_json(folder.work(SUMMARY), summary)


def _dev(
    config: DistillConfig, groups: Groups, surveys: Surveys, free: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_]:
    """bool [queries]: those of dev, of the ones that are ``free`` to go into a split."""
    dev = np.zeros(len(free), dtype=bool)
    dev[free] = choose_dev(
        groups.cluster_of[free],
        surveys.keys[free],
        fraction=config.split.dev_fraction,
        seed=config.seed,
    )
    return dev


def _coverage(statistics: Mapping[str, Any], teachers: Sequence[Teacher]) -> dict[str, Any]:
    """How much of the candidates each teacher has scored."""
    counts = zip(teachers, statistics["unscored"], statistics["extra"], strict=True)
    return {
        "by_teachers": statistics["by_teachers"],
        "not_finite": statistics["not_finite"],
        "teachers": [
            {"name": teacher.name, "unscored": unscored, "extra": extra}
            for teacher, unscored, extra in counts
        ],
    }


def _scales(
    config: DistillConfig, teachers: Sequence[Teacher], moments: Sequence[Moments], surveys: Surveys
) -> list[Scale]:
    kind = config.combination.scores
    if kind == "standardised":
        return [standardising(m, t.name) for m, t in zip(moments, teachers, strict=True)]
    if kind == "raw":
        return [Scale() for _ in teachers]
    fits = []
    for teacher, parts in zip(teachers, surveys.samples, strict=True):
        scores, relevant, weights = np.concatenate([np.zeros((3, 0)), *parts], axis=1)
        fits.append(log_odds(scores, relevant > 0, weights, teacher=teacher.name))
    return fits


def _write_units(
    folder: SetFolder,
    surveys: Surveys,
    left_out: dict[int, dict[str, Any]],
    dev: npt.NDArray[np.bool_],
    texts: dict[str, str],
) -> tuple[list[dict[str, Any]], int]:
    """Write the decisions of every unit.

    Returns:
        The match table's rows, and how many outside positives have a text.
    """
    matches, used, first = [], 0, 0
    for place, size in enumerate(surveys.sizes):
        rows = folder.read_table(folder.step(SURVEY, place), columns=(schema.QUERY_ID, OUTSIDE))
        ids = rows[schema.QUERY_ID].to_pylist()
        left = [left_out.get(first + i) for i in range(size)]
        splits = [
            None if why is not None else DEV if dev[first + i] else TRAIN
            for i, why in enumerate(left)
        ]
        outside = [
            [{schema.DOC_ID: doc, schema.TEXT: texts[doc]} for doc in wanted if doc in texts]
            for wanted in rows[OUTSIDE].to_pylist()
        ]
        used += sum(len(docs) for docs in outside)
        matches += [{schema.QUERY_ID: q, **m} for q, m in zip(ids, left, strict=True) if m]
        table = pa.table(
            {
                schema.QUERY_ID: rows[schema.QUERY_ID],
                SPLIT: pa.array(splits, pa.string()),
                schema.REASON: pa.array([m and m[schema.REASON] for m in left], pa.string()),
                OUTSIDE: pa.array(outside, DECISION_SCHEMA.field(OUTSIDE).type),
            },
            schema=DECISION_SCHEMA,
        )
        folder.put_table(folder.step(DECISIONS, place), table)
        first += size
    return matches, used
