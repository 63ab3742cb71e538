"""What Ray's tasks do with one unit: read, encode, commit. A row is a unit, and stays one.

A row is the one thing that Ray Data neither splits nor merges, so a candidate list cannot be cut
and a unit cannot be mixed with another.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, wraps
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import pipeline
from pipeline import errors, schema
from pipeline.candidates import reasons
from pipeline.candidates.inputs import Input
from pipeline.candidates.lists import CandidateLists
from pipeline.candidates.planning import Unit
from pipeline.candidates.reading import read_lists
from pipeline.config import JobConfig, ModelConfig
from pipeline.engine.build import build_reranker
from pipeline.engine.engine import Readouts
from pipeline.engine.scoring import document_scores
from pipeline.errors import RerankError
from pipeline.execution.identity import ModelIdentity
from pipeline.execution.run_folder import RunFolder, UnitCounts
from pipeline.outputs.ranked_parquet import quarantine_bytes, rank_unit, ranked_bytes
from pipeline.rerankers.base import Reranker, Sequences, pack_arrays, unpack_arrays
from pipeline.storage.store import create_if_absent, read_bytes

LISTS, SEQUENCES, READOUTS = "lists", "sequences", "readouts"
COUNTS, SAME, ERROR = "counts", "same", "error"

Stage = Callable[..., pa.Table]


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
    """

    config: JobConfig
    source: Input
    units: tuple[Unit, ...]
    folder: str
    run_id: str
    fingerprint: str
    model: ModelIdentity


def reported(stage: Stage) -> Stage:
    """Let an error of ours travel as a row of its own, past the later stages to the driver.

    Ray Data re-raises a worker's exception as text; the driver needs its class, for the exit code.
    """

    @wraps(stage)
    def run(*args: Any, **kwargs: Any) -> pa.Table:
        batch = args[-1]
        if ERROR in batch.column_names:
            return batch
        try:
            return stage(*args, **kwargs)
        except RerankError as error:
            return error_row(error)

    return run


def error_row(error: RerankError) -> pa.Table:
    """The row that stands for a unit that failed."""
    return _row({ERROR: json.dumps([type(error).__name__, str(error)])})


def raise_if_error(row: dict[str, Any]) -> None:
    """Raise again, in the driver, what a worker raised."""
    if row.get(ERROR) is not None:
        name, message = json.loads(row[ERROR])
        raise getattr(errors, name, errors.RunFailedError)(message)


@reported
def read(batch: pa.Table, *, job: Job) -> pa.Table:
    """``id`` [1] -> the unit's candidate lists as Arrow IPC bytes."""
    unit = job.units[batch.column("id")[0].as_py()]
    lists = read_lists(job.source, unit.start, unit.stop, separator=job.config.input.text_separator)
    return _row({schema.UNIT: unit.name, LISTS: lists.to_ipc()})


@reported
def encode(batch: pa.Table, *, job: Job) -> pa.Table:
    """Candidate lists -> token sequences beside them."""
    lists, _ = _lists(batch).scoreable()
    sequences = reranker_of(job).encode(lists)
    return _append(batch, SEQUENCES, sequences.to_ipc())


@reported
def commit(batch: pa.Table, *, job: Job) -> pa.Table:
    """Readouts -> scores, ranks, and the unit's file; returns one small status row."""
    unit = str(batch.column(schema.UNIT)[0].as_py())
    lists, sequences, readouts = _lists(batch), _sequences(batch), _readouts(batch)
    scored, scores = _scored(reranker_of(job), lists, sequences, readouts)
    columns = job.config.output.columns
    if job.config.output.token_counts:
        encoded = lists.scoreable()[1]
        scored = _with_token_counts(scored, encoded, sequences)
        columns = (*columns, *schema.TOKEN_COLUMNS)
    ranked = rank_unit(unit, scored, scores, columns=columns)
    counts = UnitCounts(
        unit=unit,
        queries=len(lists),
        documents=lists.documents.num_rows,
        tokens=int(sequences.offsets[-1]),
        reasons=reasons.counts(scored.documents.column(schema.REASON)),
        query_hashes=query_hashes(lists),
    )
    folder = RunFolder(job.folder)
    if ranked.quarantine.num_rows:
        create_if_absent(folder.quarantine(unit), quarantine_bytes(ranked))
    data = ranked_bytes(ranked, _metadata(job, counts))
    same = create_if_absent(folder.ranked(unit), data) or read_bytes(folder.ranked(unit)) == data
    return _row({COUNTS: counts.to_metadata(), SAME: same})


def pack_readouts(batch: pa.Table, sequences: Sequences, readouts: Readouts) -> pa.Table:
    """The row with the last round's sequences and its readouts in place of the encoded ones."""
    arrays: dict[str, npt.NDArray[Any]] = {
        "values": readouts.values,
        "too_large": readouts.too_large,
    }
    row = batch.drop_columns([SEQUENCES])
    return _append(_append(row, SEQUENCES, sequences.to_ipc()), READOUTS, pack_arrays(arrays))


def unpack(batch: pa.Table) -> tuple[CandidateLists, Sequences]:
    """The scoreable lists and the sequences of an encoded row."""
    return _lists(batch).scoreable()[0], _sequences(batch)


def reranker_of(job: Job) -> Reranker:
    """The CPU half of the job's model, built once per worker process."""
    return _cached_reranker(job.config.model.model_dump_json())


@lru_cache(maxsize=2)
def _cached_reranker(model: str) -> Reranker:
    # The digest was checked when the run was planned; workers need not hash gigabytes again.
    config = ModelConfig.model_validate_json(model).model_copy(update={"sha256": None})
    return build_reranker(config)


def query_hashes(lists: CandidateLists) -> npt.NDArray[np.uint64]:
    """uint64 [Q]: a 64-bit hash of each query id that is not null."""
    ids = lists.queries.column(schema.QUERY_ID).drop_null().cast(pa.string()).to_pylist()
    digests = [hashlib.blake2b(value.encode(), digest_size=8).digest() for value in ids]
    return np.frombuffer(b"".join(digests), dtype="<u8").astype(np.uint64)


def _scored(
    reranker: Reranker, lists: CandidateLists, sequences: Sequences, readouts: Readouts
) -> tuple[CandidateLists, npt.NDArray[np.float32]]:
    """All documents with their scores, and the model's reasons beside the input's."""
    scoreable, kept = lists.scoreable()
    scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
    found, codes = document_scores(reranker, scoreable, sequences, readouts)
    scores[kept] = found
    reason = np.array(lists.documents.column(schema.REASON).to_pylist(), dtype=object)
    reason[kept] = codes
    index = lists.documents.column_names.index(schema.REASON)
    column = pa.array(reason, pa.string())
    documents = lists.documents.set_column(index, schema.REASON, column)
    return replace(lists, documents=documents), scores


def _with_token_counts(
    scored: CandidateLists, encoded: npt.NDArray[np.int64], sequences: Sequences
) -> CandidateLists:
    """The documents with n_tokens and truncated beside them.

    Args:
        scored: every document of the unit.
        encoded: int64 [M], places of those that were encoded; the others get nulls, and all do
            where the family does not count.
        sequences: what they were encoded to.
    """
    documents = scored.documents
    for name, kind in zip(schema.TOKEN_COLUMNS, (pa.int64(), pa.bool_()), strict=True):
        values = np.zeros(documents.num_rows, dtype=np.int64)
        unknown = np.ones(documents.num_rows, dtype=bool)
        if name in sequences.links:
            values[encoded], unknown[encoded] = sequences.links[name], False
        documents = documents.append_column(name, pa.array(values, mask=unknown).cast(kind))
    return replace(scored, documents=documents)


def _metadata(job: Job, counts: UnitCounts) -> dict[str, str]:
    return {
        "run_id": job.run_id,
        "unit": counts.unit,
        "model": job.model.name,
        "family": job.model.family,
        "revision": job.model.revision,
        "weights_sha256": job.model.digest,
        "score_scale": job.model.score_scale,
        "fingerprint": job.fingerprint,
        "schema_version": str(schema.SCHEMA_VERSION),
        "version": pipeline.__version__,
        "counts": counts.to_metadata(),
    }


def _lists(batch: pa.Table) -> CandidateLists:
    return CandidateLists.from_ipc(batch.column(LISTS)[0].as_buffer())


def _sequences(batch: pa.Table) -> Sequences:
    return Sequences.from_ipc(batch.column(SEQUENCES)[0].as_buffer())


def _readouts(batch: pa.Table) -> Readouts:
    arrays = unpack_arrays(batch.column(READOUTS)[0].as_buffer())
    return Readouts(values=arrays["values"], too_large=arrays["too_large"])


def _row(values: dict[str, object]) -> pa.Table:
    arrays = {
        name: pa.array([value], pa.large_binary() if isinstance(value, bytes) else None)
        for name, value in values.items()
    }
    return pa.table(arrays)


def _append(batch: pa.Table, name: str, value: bytes) -> pa.Table:
    return batch.append_column(name, pa.array([value], pa.large_binary()))
