"""A distillation from plan to publication: survey, decide, mine, audit."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Final

import pyarrow as pa

from pipeline import schema
from pipeline.config import DistillConfig
from pipeline.distillation.decisions import SUMMARY, decide
from pipeline.distillation.grants import write_grants
from pipeline.distillation.judgements import write_evaluation_documents, write_judgements
from pipeline.distillation.mine import mine_unit, request_unit
from pipeline.distillation.preparation import Prepared
from pipeline.distillation.rules import canonical, reasons
from pipeline.distillation.rules.statistics import TEMPERATURE_RULE, added, temperature
from pipeline.distillation.rules.teachers import FUSED, Moments
from pipeline.distillation.sets.check import listed, published_manifest, refuse_damage
from pipeline.distillation.sets.folder import RECORDS, REQUESTS, SURVEY
from pipeline.distillation.sets.part_tasks import parts_session
from pipeline.distillation.steps import Job, run_step
from pipeline.distillation.survey import survey
from pipeline.errors import InputContractError, RunFailedError
from pipeline.execution.outcome import Outcome
from pipeline.storage.parquet import to_bytes

logger = logging.getLogger("pipeline")

REJECTED: Final = "rejected.parquet"

#: Every reason that occurred, for queries and for candidates, and how often.
REJECTED_SCHEMA: Final = pa.schema(
    [
        pa.field("level", pa.string(), nullable=False),
        pa.field(schema.REASON, pa.string(), nullable=False),
        pa.field("count", pa.int64(), nullable=False),
        pa.field(schema.MESSAGE, pa.string(), nullable=False),
    ]
)


def distill(prepared: Prepared) -> Outcome:
    """Make a prepared set, or finish an interrupted one, or notice that it is finished.

    Raises:
        InputContractError: no query is left, or an input is not what it was.
        DamagedSetError: a file of the set is not as it was written.
        RunFailedError: a worker failed; running again resumes.
    """
    folder, units = prepared.folder, prepared.units
    if folder.finished():
        return Outcome(
            folder=folder.path,
            manifest=published_manifest(folder, read_back=True),
            units_run=0,
            seconds=0.0,
            already_finished=True,
        )
    started = time.monotonic()
    folder.describe(prepared.description())
    write_judgements(prepared)
    write_evaluation_documents(prepared)
    job = Job(
        config=prepared.config,
        source=prepared.source,
        separator=prepared.separator,
        folder=folder.path,
        description=_description(prepared),
    )
    done = 0
    if len(folder.done(RECORDS)) < len(units):
        with parts_session(prepared.config.ray, len(units)):
            done = _steps(prepared, job)
    manifest = _audited(prepared)
    folder.publish(manifest)
    return Outcome(
        folder=folder.path,
        manifest=manifest,
        units_run=done,
        seconds=time.monotonic() - started,
        already_finished=False,
    )


def _steps(prepared: Prepared, job: Job) -> int:
    """Everything that is not there yet; returns the units that were mined."""
    config, folder, units = prepared.config, prepared.folder, prepared.units
    run_step(job, SURVEY, units, survey, _reporter(prepared, "surveyed"))
    if folder.read_json(folder.work(SUMMARY)) is None:
        teachers = [run.teacher for run in prepared.teachers]
        decide(config, teachers, folder, len(units), prepared.given)
    if config.negatives.max_per_document is not None:
        run_step(job, REQUESTS, units, request_unit, _reporter(prepared, "asked"))
        write_grants(config, folder, len(units))
    return run_step(job, RECORDS, units, mine_unit, _reporter(prepared, "mined"))


def _reporter(prepared: Prepared, verb: str) -> Callable[[int], None]:
    """A log line per interval."""
    interval, last = prepared.config.progress.interval_s, time.monotonic()

    def report(done: int) -> None:
        nonlocal last
        if time.monotonic() - last >= interval:
            last = time.monotonic()
            logger.info("%s units: %d of %d", verb, done, len(prepared.units))

    return report


def _description(prepared: Prepared) -> dict[str, Any]:
    """What every part says of the set; no paths, which differ from machine to machine."""
    config = prepared.config
    rules = config.model_dump(
        mode="json",
        include={"positives", "negatives", "split", "decontaminate", "seed"},
        exclude={"positives": {"qrels", "corpus"}, "decontaminate": {"queries", "qrels"}},
    )
    return {
        "set_id": prepared.set_id,
        "teachers": [asdict(run.teacher) for run in prepared.teachers],
        "combination": combination(config, prepared),
        "rules": rules,
    }


def combination(config: DistillConfig, prepared: Prepared) -> dict[str, Any]:
    """How scores were combined, and what the result is called."""
    kind = config.combination
    scales = [run.teacher.score_scale for run in prepared.teachers]
    named = {"standardised": "standardised", "calibrated": "log-odds", "raw": scales[0]}
    return kind.model_dump(mode="json") | {
        "weights": [teacher.weight for teacher in config.teachers],
        "score_scale": FUSED if kind.method == "rank_fusion" else named[kind.scores],
    }


def _audited(prepared: Prepared) -> dict[str, Any]:
    """Every unit's record is there, every part that it names too, and every candidate is in it.

    Raises:
        RunFailedError: something is missing.
        DamagedSetError: a file is not as it was written.
        InputContractError: no query is left for training.
    """
    folder = prepared.folder
    missing = {unit.place for unit in prepared.units} - folder.done(RECORDS)
    if missing:
        raise RunFailedError(
            f"{folder.path}: {len(missing)} of {len(prepared.units)} units are not mined, e.g. "
            f"number {min(missing)}; run the same command again to resume"
        )
    records = folder.records([unit.place for unit in prepared.units])
    counts: dict[str, Any] = {}
    for record in records:
        counts = added(counts, record["counts"])
    summary = folder.read_json(folder.work(SUMMARY)) or {}
    _check_parts(folder.path, records)
    _check_balance(folder.path, counts)
    rejected = to_bytes(_rejected(counts))
    folder.put(folder.file(REJECTED), rejected)
    files = [file for record in records for file in record["files"]] + summary["files"]
    files.append(listed(folder, folder.file(REJECTED), rejected))
    refuse_damage(folder, files)
    train = counts.get("splits", {}).get(canonical.TRAIN, {}).get("queries", 0)
    if not train:
        why = counts.get("queries_rejected") or "the run has no query"
        raise InputContractError(
            f"{folder.path}: no query is left for training ({why}); loosen the rules. What was "
            f"rejected, and why, is in {REJECTED} and rejects/"
        )
    return _manifest(prepared, records, counts, summary) | {
        "files": sorted(files, key=lambda file: str(file["key"]))
    }


def _check_parts(folder: str, records: list[dict[str, Any]]) -> None:
    for split in canonical.SPLITS:
        wanted = {
            canonical.part_path(folder, split, record["place"])
            for record in records
            if record["counts"]["splits"][split]["queries"]
        }
        found = set(canonical.part_paths(folder, split))
        if wanted != found:
            named = sorted(wanted ^ found)[0]
            raise RunFailedError(
                f"{named}: {'missing' if named in wanted else 'not of this set'}; delete the set's "
                "folder and run again"
            )


def _check_balance(folder: str, counts: dict[str, Any]) -> None:
    """Every document is a positive, a negative, or rejected with a reason."""
    used = sum(of["positives"] + of["negatives"] for of in counts.get("splits", {}).values())
    rejected = sum(counts.get("candidates_rejected", {}).values())
    if used + rejected != counts.get("documents", 0):
        raise RunFailedError(
            f"{folder}: {counts['documents']} documents, but {used} used and {rejected} rejected; "
            "this is a defect of the pipeline: keep the folder and report it"
        )


def _rejected(counts: dict[str, Any]) -> pa.Table:
    levels = (
        ("query", "queries_rejected", reasons.QUERY_REASONS),
        ("candidate", "candidates_rejected", reasons.CANDIDATE_REASONS | reasons.QUERY_REASONS),
    )
    rows = [
        {"level": level, schema.REASON: code, "count": count, schema.MESSAGE: messages[code]}
        for level, key, messages in levels
        for code, count in sorted(counts.get(key, {}).items(), key=lambda item: (-item[1], item[0]))
    ]
    return pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA)


def _manifest(
    prepared: Prepared,
    records: list[dict[str, Any]],
    counts: dict[str, Any],
    summary: dict[str, Any],
) -> dict[str, Any]:
    spread = Moments.merged([Moments(**record["spread"]) for record in records])
    combined = Moments.merged([Moments(**record["moments"]) for record in records])
    return {
        **_description(prepared),
        "units": len(records),
        "queries": summary["queries"],
        "candidates": summary["candidates"],
        **counts,
        "coverage": summary["coverage"],
        "teacher_scores": summary["teachers"],
        "scales": summary["scales"],
        "scores": combined.described(),
        "list_spread": spread.described(),
        "temperature": {"suggested": temperature(spread), "rule": TEMPERATURE_RULE},
        "histogram_edges": summary["edges"],
        "split": summary["split"],
        "left_out_for_evaluation": summary["left_out"],
        "positives_outside": summary["positives_outside"],
    }
