"""The small JSON files of a run: what each must hold, sealed when written, checked when read.

A record says what kind it is and which run it is of, so that one that was copied over another is
noticed like one that was cut off. Whatever does not fit is a :class:`DamagedRunError` that names
the file; nothing else comes out of reading one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.errors import DamagedRunError
from pipeline.outputs.sealed import NotWholeError, sealed_json, unsealed_json
from pipeline.storage.packed_items import PackedItems
from pipeline.storage.store import read_versioned

KIND: Final = "kind"

RUN_ID: Final = re.compile(r"[0-9a-f]{16}")

_MIB: Final = 1 << 20

#: Items of a long list that are looked at together.
_AT_ONCE: Final = 1_000


class Record(BaseModel):
    """Base of what records hold. Further keys are left alone: a later version may add some."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, protected_namespaces=())

    kind: ClassVar[str]
    most_bytes: ClassVar[int] = _MIB
    #: A list that is too long to be made into objects at once; it is read as packed items.
    long: ClassVar[str | None] = None
    #: What to do about one that is damaged.
    repair: ClassVar[str] = (
        "Put the file back from a copy, or let `rerank run --repair` make it anew; "
        "`rerank status --check` names all that is wrong"
    )

    run_id: str = Field(pattern=f"^{RUN_ID.pattern}$")


class ModelPart(BaseModel):
    """The model of ``run.json``."""

    model_config = ConfigDict(strict=True, extra="allow")

    name: str
    revision: str
    digest: str
    licence: str | None
    score_scale: str


class InputPart(BaseModel):
    """An input file of ``run.json``."""

    model_config = ConfigDict(strict=True, extra="allow")

    path: str
    size: int
    version: str


class UnitsPart(BaseModel):
    """How the input of ``run.json`` was cut, see :class:`pipeline.execution.unit_size.UnitSize`."""

    model_config = ConfigDict(strict=True, extra="allow")

    documents: int = Field(ge=1)
    first: int = Field(ge=1)
    reason: str
    seconds: float | None


class StagingPart(BaseModel):
    """The staged copy of ``run.json`` that was read in place of the input, and its sources."""

    model_config = ConfigDict(strict=True, extra="allow")

    folder: str
    copy_id: str
    strategy: str
    reason: str
    sources: list[dict[str, Any]]
    input: dict[str, Any]


class ReusePart(BaseModel):
    """The reuse table of ``run.json``, see :class:`pipeline.candidates.reuse.ReuseTable`."""

    model_config = ConfigDict(strict=True, extra="allow")

    folder: str
    table_id: str
    date: str
    previous: dict[str, Any] | None


class Description(Record):
    """``run.json``: what the run is of."""

    kind = "run"
    most_bytes = 1024 * _MIB

    fingerprint: str
    model: ModelPart
    config: dict[str, Any]
    input: list[InputPart]
    versions: dict[str, str]
    staging: StagingPart | None = None
    reuse: ReusePart | None = None
    score_fingerprint: str | None = None
    units: UnitsPart | None = None  # runs planned before units were sized by time have none


class FilePart(BaseModel):
    """A file of a unit, as the manifest lists it."""

    model_config = ConfigDict(strict=True, extra="allow")

    key: str = Field(
        pattern=r"^((ranked|quarantine)/unit-[0-9a-f]{24}(\.part-\d{4,})?\.parquet"
        r"|[a-z][a-z0-9_]*/unit-[0-9a-f]{24}(\.[a-z0-9]+)+)$"
    )
    size: int = Field(ge=0)
    rows: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class UnitPart(BaseModel):
    """A unit, as the manifest lists it."""

    model_config = ConfigDict(strict=True, extra="allow")

    unit: str
    queries: int
    documents: int
    tokens: int
    special_tokens: dict[str, int] = {}
    reasons: dict[str, int]
    reused: int | None = None
    files: list[FilePart]


class Manifest(Record):
    """``manifest.json``: every file of a published run."""

    kind = "manifest"
    most_bytes = 4096 * _MIB
    long = "units"

    fingerprint: str
    model: str
    score_scale: str
    units: list[UnitPart]
    queries: int
    documents: int
    tokens: int
    quarantined: int
    special_tokens: dict[str, int] = {}
    reasons: dict[str, int]
    reused: int | None = None


class Success(Record):
    """``_SUCCESS``: that the run is published, and by which manifest."""

    kind = "success"

    manifest_sha256: str


class Pointer(Record):
    """``LATEST.json``: the run that was published last."""

    kind = "latest"

    manifest: str
    manifest_sha256: str
    epoch: int


class Seconds(BaseModel):
    """How long a session's units took."""

    p50: float
    p95: float


class Report(Record):
    """``report.json``: what the last session did."""

    kind = "report"
    most_bytes = 256 * _MIB

    state: str
    epoch: int
    single_driver: bool
    units_done_now: int
    seconds: float
    documents_per_s: float
    documents_reused: int = 0
    special_tokens: dict[str, int] = {}
    unit_seconds: Seconds
    cpu_seconds: dict[str, float]
    storage: dict[str, float]
    units_suspected: dict[str, str]
    units_repaired: list[str]
    units_not_deterministic: list[str]
    rescored_in_float32: int
    device_busy: float | None = None
    agreement: dict[str, float] | None = None
    timeline: dict[str, list[Any]] = {}
    last: dict[str, Any] = {}
    spent: dict[str, Any] | None = None
    error: dict[str, Any] | None = None
    sessions: list[dict[str, Any]] = []
    stage_seconds: dict[str, float] = {}
    lengths: dict[str, int] = {}
    truncation: dict[str, int] | None = None
    results: dict[str, Any] | None = None
    quarantine_examples: dict[str, list[dict[str, Any]]] = {}
    examples: list[dict[str, Any]] = []


class LeaseRecord(Record):
    """``lease.json``: who drives the run, see :class:`pipeline.execution.runs.holder.Holder`."""

    kind = "lease"

    epoch: int
    owner: str
    host: str
    pid: int
    ttl_s: float = Field(ge=0, allow_inf_nan=False)
    state: str
    beat: int
    time: float
    progress: dict[str, Any]


class Mark(Record):
    """A worker at a stage of a unit, see :mod:`pipeline.execution.runs.attempts`."""

    kind = "attempt"

    unit: str
    stage: str
    number: int
    host: str
    pid: int
    stderr: str
    token: str


def to_bytes(shape: type[Record], content: Mapping[str, Any]) -> bytes:
    """A record as it is written; the same content gives the same bytes."""
    return sealed_json({KIND: shape.kind, **content})


def read(path: str, shape: type[Record], *, run_id: str | None = None) -> dict[str, Any] | None:
    """The content of a record; None where there is no such file.

    Args:
        path: where.
        shape: what it must hold.
        run_id: the run that it must be of; None: any.

    Raises:
        DamagedRunError: it is not as it was written, of another kind or of another run.
    """
    found = read_versioned(path, most_bytes=shape.most_bytes)
    return None if found is None else parse(path, found[0], shape, run_id=run_id)


def parse(
    path: str, data: bytes, shape: type[Record], *, run_id: str | None = None
) -> dict[str, Any]:
    """As :func:`read`, of bytes that were read already."""
    try:
        content = unsealed_json(data, packed=shape.long)
    except NotWholeError as error:
        raise damaged(path, str(error), shape) from None
    kind = content.pop(KIND, None)
    if kind != shape.kind:
        raise damaged(path, f"it is a record of kind {kind!r}, not {shape.kind!r}", shape)
    try:
        for start, some in _slices(content, shape):
            _refuse_others(path, some, start, shape)
    except (ValueError, RecursionError):  # of items that were packed unread
        raise damaged(path, "it is no JSON object", shape) from None
    if run_id is not None and content["run_id"] != run_id:
        raise damaged(path, f"it is of run {content['run_id']}, not of {run_id}", shape)
    return content


def _slices(content: dict[str, Any], shape: type[Record]) -> Iterator[tuple[int, dict[str, Any]]]:
    """The content with a part of its long list at a time, and where in the list that begins."""
    key = shape.long
    items = None if key is None else content.get(key)
    if key is None or not isinstance(items, list | PackedItems):
        yield 0, content
        return
    waiting = iter(items)
    for start in range(0, max(1, len(items)), _AT_ONCE):
        yield start, content | {key: list(islice(waiting, _AT_ONCE))}


def _refuse_others(path: str, content: dict[str, Any], start: int, shape: type[Record]) -> None:
    """Raise where a content is not of a shape; its long list begins at item ``start``."""
    try:
        shape.model_validate(content)
    except ValidationError as error:
        [first, *_] = error.errors()
        named, *rest = first["loc"]
        if named == shape.long and rest:
            rest[0] = int(rest[0]) + start
        place = ".".join(str(step) for step in (named, *rest))
        why = f"'{place}': {first['msg']}; written by another version?"
        raise damaged(path, why, shape) from None


def damaged(path: str, why: str, shape: type[Record] = Record) -> DamagedRunError:
    """The error for a file of a run that is not as it was written."""
    return DamagedRunError(f"{path}: not as it was written: {why}. {shape.repair}")


def run_id_of(folder: str) -> str | None:
    """The run that a folder is named for; None where somebody gave it another name."""
    name = folder.rstrip("/").rpartition("/")[2]
    return name if RUN_ID.fullmatch(name) else None
