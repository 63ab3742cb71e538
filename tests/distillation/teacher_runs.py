"""Ranked runs with scores of our choosing, through the real plan, reader, ranker and writer."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.candidates import reasons
from pipeline.candidates.inputs import open_input
from pipeline.candidates.planning import plan_units
from pipeline.candidates.reading import read_lists
from pipeline.config import InputConfig
from pipeline.execution.runs.checked_units import manifest_of
from pipeline.execution.runs.lease import NoLease
from pipeline.execution.runs.publication import publish
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_checks import check_units
from pipeline.execution.runs.unit_counts import UnitCounts, query_hashes
from pipeline.outputs.ranked_unit import rank_unit
from pipeline.outputs.sealed import sealed_bytes
from pipeline.storage.store import create_if_absent

Score = Callable[[str, str], float | None]


def write_run(
    folder: Path,
    source: Path,
    score: Score | Mapping[tuple[str, str], float | None],
    *,
    name: str = "teacher",
    scale: str = "logit",
    documents: int = 40,
    licence: str = "apache-2.0",
) -> Path:
    """A finished run of a teacher that gives each (query_id, doc_id) the score asked for.

    None becomes a null score with a reason, as a run writes it; NaN is written as it is.
    """
    scored: Score = score if callable(score) else (lambda q, d: score.get((q, d)))
    config = InputConfig(path=(str(source),))
    opened = open_input(config)
    digest = hashlib.sha256(name.encode()).hexdigest()
    plan = plan_units(opened, documents=documents, fingerprint=digest[:32])
    run = RunFolder(str(folder / plan.run_id))
    model = {
        "name": name, "family": "lexical", "revision": "r1", "digest": digest,
        "score_scale": scale, "licence": licence,
    }  # fmt: skip
    run.start(
        plan,
        {
            "run_id": plan.run_id,
            "fingerprint": plan.fingerprint,
            "model": model,
            "config": {"input": config.model_dump(mode="json")},
            "input": [asdict(file.identity) for file in opened.files],
            "versions": {},
        },
    )
    for unit in plan.units:
        lists = read_lists(opened, unit.start, unit.stop)
        ids = lists.queries["query_id"].cast("string").to_pylist()
        docs = lists.documents["doc_id"].cast("string").to_pylist()
        given = lists.documents["reason"].to_pylist()
        values = [
            None if why else scored(ids[q], d)
            for q, d, why in zip(lists.query_of_document, docs, given, strict=True)
        ]
        why = [
            w or (reasons.NOT_FINITE if v is None else None)
            for w, v in zip(given, values, strict=True)
        ]
        column = lists.documents.column_names.index("reason")
        documents_ = lists.documents.set_column(column, "reason", [why])
        lists = type(lists)(queries=lists.queries, offsets=lists.offsets, documents=documents_)
        scores = np.array([np.nan if v is None else v for v in values], dtype=np.float32)
        counts = UnitCounts(
            unit=unit.name, queries=len(lists), documents=len(docs), tokens=0,
            reasons=reasons.counts(lists.documents["reason"]),
            query_hashes=query_hashes(lists.queries["query_id"]),
        )  # fmt: skip
        metadata = {
            "run_id": plan.run_id, "unit": unit.name, "score_scale": scale,
            "counts": counts.to_metadata(),
        }  # fmt: skip
        made = rank_unit(unit.name, lists, scores)
        ranked = made.ranked
        if made.quarantine.num_rows:
            about = {"run_id": plan.run_id, "unit": unit.name}
            create_if_absent(run.quarantine(unit.name), sealed_bytes(made.quarantine, about))
        if np.isnan([v for v in values if v is not None]).any():
            ranked = _with_nan(ranked, scored)
        create_if_absent(run.ranked(unit.name), sealed_bytes(ranked, metadata))
    units, damaged = check_units(run, plan.run_id, [unit.name for unit in plan.units])
    assert not damaged
    manifest = manifest_of(
        run_id=plan.run_id, fingerprint=plan.fingerprint, model=name, score_scale=scale, units=units
    )
    publish(run, manifest, NoLease())
    return Path(run.path)


def _with_nan(ranked: pa.Table, scored: Score) -> pa.Table:
    """The rows with NaN where the teacher said NaN; our own ranker would have made it null."""
    ids = [ranked[name].cast("string").to_pylist() for name in ("query_id", "doc_id")]
    values = [
        None if given is None and not np.isnan(scored(q, d) or 0) else scored(q, d)
        for q, d, given in zip(*ids, ranked["score"].to_pylist(), strict=True)
    ]
    column = ranked.column_names.index("score")
    return ranked.set_column(column, "score", pa.array(values, pa.float32(), from_pandas=False))
