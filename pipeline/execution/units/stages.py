"""What a worker does with one unit: read, encode, commit. A row is a unit, and stays one.

A row is the one thing that Ray Data neither splits nor merges, so a candidate list cannot be cut
and a unit cannot be mixed with another.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import pipeline
from pipeline import failpoints, schema
from pipeline.candidates import reasons
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import Unit
from pipeline.candidates.reading import read_lists
from pipeline.candidates.reuse import ReuseTable, with_known
from pipeline.candidates.unchanged import read_unchanged
from pipeline.config import ImagesConfig, JobConfig, ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.engine.rounds import Readouts
from pipeline.engine.scoring import Scoreable
from pipeline.execution.runs.format_files import format_files
from pipeline.execution.runs.identity import ModelIdentity
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import UnitCounts, query_hashes
from pipeline.execution.runs.unit_files import (
    DIFFERENT,
    FORMAT_WRITTEN,
    REPAIRED,
    put_file,
    unit_files,
)
from pipeline.execution.units import rows
from pipeline.execution.units.model_code import model_code
from pipeline.execution.units.scored_unit import (
    lengths_in,
    reused_in,
    special_tokens_in,
    with_dates,
    with_scores,
    with_token_counts,
)
from pipeline.outputs.added_columns import with_calibration, with_fusion
from pipeline.outputs.ranked_unit import RankedUnit, cut_rows, rank_unit
from pipeline.ranking.calibration import Calibration
from pipeline.rerankers.base import Reranker
from pipeline.sequences.arrays import pack_arrays, unpack_arrays
from pipeline.sequences.sequences import Sequences

LISTS, SEQUENCES, READOUTS = "lists", "sequences", "readouts"

#: Parts of a stage whose seconds are noted: of encoding, and of committing.
READ, WRITE = "read", "write"


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything a worker needs to know; sent to each stage once.

    Attributes:
        config: the job, its model section resolved.
        source: the opened input.
        units: what is still to do; a row's number is a place in it.
        folder: the run's path.
        run_id: the run.
        fingerprint: what changes the content of a unit's file.
        model: identity of the model.
        epoch: of the driver's lease; 0 without one.
        reuse: the scores of an earlier run that may be taken; None: every document is scored.
        calibration: makes probabilities of scores; None: none are written.
        superseded: for paths of files that are to be replaced though they are whole the sha256 of
            their content, see :func:`pipeline.execution.runs.unit_files.put_file`.
        allow_code: modules outside this package that the user allows workers to import.
    """

    config: JobConfig
    source: Input
    units: tuple[Unit, ...]
    folder: str
    run_id: str
    fingerprint: str
    model: ModelIdentity
    epoch: int
    reuse: ReuseTable | None = None
    calibration: Calibration | None = None
    superseded: Mapping[str, str] = field(default_factory=dict)
    allow_code: frozenset[str] = frozenset()


def read(number: int, job: Job) -> pa.Table:
    """The row of a unit with its candidate lists as Arrow IPC bytes.

    Raises:
        InputContractError: the input is damaged, unsorted, or has changed since it was planned.
        DamagedRunError: a part of the reuse table is gone or not as it was written.
    """
    began = time.perf_counter()
    unit = job.units[number]
    separator = job.config.input.text_separator
    lists = read_unchanged(
        job.source, lambda source: read_lists(source, unit.start, unit.stop, separator=separator)
    )
    if job.reuse is not None:
        lists = with_known(
            lists,
            job.reuse.scores(unit.start, unit.stop),
            pointwise=reranker_of(job).pointwise,
            images=reranker_of(job).reads_images,
            fingerprint=job.reuse.score_fingerprint,
        )
    batch = rows.row({schema.UNIT: unit.name, LISTS: lists.to_ipc()})
    return rows.with_statistics(batch, {rows.PARTS: {READ: time.perf_counter() - began}})


def encode(batch: pa.Table, job: Job) -> pa.Table:
    """Candidate lists -> token sequences of what is scored of them.

    A row with a reuse table of which nothing is left to be scored stays as it is, see
    :func:`nothing_to_score`.
    """
    reranker = reranker_of(job)
    scoreable = Scoreable.of(_lists(batch), reranker)
    if job.reuse is not None and not len(scoreable.documents):
        return batch
    with model_code():
        sequences = reranker.encode(scoreable.lists)
    failpoints.reached("unit.encoded")
    scored: rows.Statistics = {rows.SCOREABLE: {rows.DOCUMENTS: len(scoreable.documents)}}
    return rows.with_statistics(rows.append(batch, SEQUENCES, sequences.to_ipc()), scored)


def nothing_to_score(batch: pa.Table) -> bool:
    """Whether an encoded row can be committed without a replica: every score is known."""
    return SEQUENCES not in batch.column_names


def commit(batch: pa.Table, job: Job, *, put: bool = True) -> pa.Table:
    """Readouts -> scores, ranks, and the unit's files; returns one small status row.

    Args:
        batch: a scored row, or one with nothing to score.
        job: the job.
        put: False makes the files without writing them, to see whether they can be made.
    """
    unit = rows.unit_of(batch)
    lists, reranker = _lists(batch), reranker_of(job)
    scoreable = Scoreable.of(lists, reranker)
    sequences = None if nothing_to_score(batch) else _sequences(batch)
    if sequences is None:
        found, codes = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=object)
    else:
        with model_code():
            found, codes = scoreable.expand(reranker, sequences, _readouts(batch))
    scored, scores = with_scores(lists, scoreable, found, codes)
    columns = job.config.output.columns
    if job.config.output.token_counts:
        scored = with_token_counts(scored, scoreable, sequences)
        columns = (*columns, *schema.TOKEN_COLUMNS)
    if job.reuse is not None:
        scored = with_dates(scored, scores, job.reuse.date)
        columns = (*columns, *schema.REUSE_COLUMNS)
    ranked = _with_added(rank_unit(unit, scored, scores, columns=columns), job)
    tables = cut_rows(ranked.ranked, most_bytes=int(job.config.output.file_mib * 2**20))
    why = reasons.counts(scored.documents.column(schema.REASON))
    if len(lists.empty):
        why[reasons.NO_CANDIDATES] = len(lists.empty)
    metadata = _metadata(job, unit)
    own = () if job.reuse is None else schema.REUSE_COLUMNS  # which are for the next run alone
    plain = ranked.ranked.drop_columns(list(own))
    others = format_files(job.config.output.formats, unit, plain, metadata)
    counts = UnitCounts(
        unit=unit,
        queries=len(lists),
        documents=lists.documents.num_rows,
        tokens=0 if sequences is None else int(sequences.offsets[-1]),
        reasons=dict(sorted(why.items())),
        parts=len(tables) - 1,
        special_tokens=special_tokens_in(lists, scoreable, reranker),
        reused=None if job.reuse is None else int(reused_in(lists).sum()),
        query_hashes=query_hashes(lists.queries.column(schema.QUERY_ID)),
        format_files=[other.entry() for other in others],
    )
    files = unit_files(RunFolder(job.folder), ranked, tables, others, counts, metadata)
    began = time.perf_counter()
    put_as = [_put(path, data, step, job) if put else "" for path, data, step in files]
    events: rows.Statistics = {
        rows.UNIT_EVENTS: {"nondeterministic": DIFFERENT in put_as, "repaired": REPAIRED in put_as},
        rows.PARTS: {WRITE: time.perf_counter() - began},
        **lengths_in(scoreable, sequences),
    }
    stats = rows.added(rows.statistics(batch), events)
    return rows.committed(counts.to_metadata(), stats)


def _with_added(ranked: RankedUnit, job: Job) -> RankedUnit:
    table = ranked.ranked
    if job.config.output.fusion is not None:
        table = with_fusion(table, job.config.output.fusion)
    if job.calibration is not None:
        table = with_calibration(table, job.calibration)
    return replace(ranked, ranked=table)


def pack_readouts(batch: pa.Table, sequences: Sequences, readouts: Readouts) -> pa.Table:
    """The row with readouts, and of the last round's sequences what decode needs."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "values": readouts.values,
        "too_large": readouts.too_large,
    }
    read = sequences.without_tokens().to_ipc()
    rest = rows.append(batch.drop_columns([SEQUENCES]), SEQUENCES, read)
    return rows.append(rest, READOUTS, pack_arrays(arrays))


def unpack(batch: pa.Table, reranker: Reranker) -> tuple[Callable[[], CandidateLists], Sequences]:
    """Of an encoded row the sequences, and what gives the lists that were encoded."""
    return lambda: Scoreable.of(_lists(batch), reranker).lists, _sequences(batch)


def reranker_of(job: Job) -> Reranker:
    """The CPU half of the job's model, built once per worker process, of the planned files."""
    config, files = job.config, tuple(job.model.files.items())
    return _cached_reranker(
        config.model.model_dump_json(), config.input.images, files, job.allow_code
    )


@lru_cache(maxsize=2)
def _cached_reranker(
    model: str,
    images: ImagesConfig,
    files: tuple[tuple[str, str], ...],
    allow_code: frozenset[str],
) -> Reranker:
    config = ModelConfig.model_validate_json(model)
    return build_reranker(config, files=dict(files), images=images, allow_code=allow_code)


def without_queries(batch: pa.Table, queries: Sequence[int]) -> pa.Table:
    """The read row with every candidate of some queries set aside as ``worker_crashed``.

    But for those whose score is known, which the model is not shown.
    """
    lists = _lists(batch)
    reason = np.array(lists.documents.column(schema.REASON).to_pylist(), dtype=object)
    crashed = np.isin(lists.query_of_document, np.asarray(queries, dtype=np.int64))
    crashed &= np.isnan(lists.reused_scores)
    reason[crashed & (reason == None)] = reasons.WORKER_CRASHED  # noqa: E711 - element by element
    index = lists.documents.column_names.index(schema.REASON)
    documents = lists.documents.set_column(index, schema.REASON, pa.array(reason, pa.string()))
    return rows.append(
        batch.drop_columns([LISTS]), LISTS, replace(lists, documents=documents).to_ipc()
    )


def queries_in(batch: pa.Table) -> int:
    """Candidate lists of a read row."""
    return len(_lists(batch))


def _put(path: str, data: bytes, step: str, job: Job) -> str:
    failpoints.reached("unit.ready")
    superseded, sealed = job.superseded.get(path), step != FORMAT_WRITTEN
    done = put_file(path, data, cas=job.epoch > 0, superseded=superseded, sealed=sealed)
    failpoints.reached(step)
    return done


def _metadata(job: Job, unit: str) -> dict[str, str]:
    return {
        "run_id": job.run_id,
        "unit": unit,
        "model": job.model.name,
        "family": job.model.family,
        "revision": job.model.revision,
        "weights_sha256": job.model.digest,
        "score_scale": job.model.score_scale,
        **_added_metadata(job),
        "fingerprint": job.fingerprint,
        "schema_version": str(schema.SCHEMA_VERSION),
        "version": pipeline.__version__,
    }


def _added_metadata(job: Job) -> dict[str, str]:
    """How the columns beside the scores were made."""
    fusion = job.config.output.fusion
    added = {} if fusion is None else {"fusion": fusion.model_dump_json()}
    if job.calibration is not None:
        added["calibration"] = job.calibration.model_dump_json(
            exclude_none=True, exclude={"points"}
        )
    return added


def _lists(batch: pa.Table) -> CandidateLists:
    return CandidateLists.from_ipc(batch.column(LISTS)[0].as_buffer())


def _sequences(batch: pa.Table) -> Sequences:
    return Sequences.from_ipc(batch.column(SEQUENCES)[0].as_buffer())


def _readouts(batch: pa.Table) -> Readouts:
    arrays = unpack_arrays(batch.column(READOUTS)[0].as_buffer())
    return Readouts(values=arrays["values"], too_large=arrays["too_large"])
