"""The Parquet files of a run's folder one by one: written whole, and read against their digests."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.candidates.planning import Plan
from pipeline.errors import DamagedRunError, InputContractError, RerankError
from pipeline.execution.runs import records
from pipeline.outputs.sealed import NotWholeError, refuse_damage, sealed_bytes
from pipeline.storage.parquet import columns_of, table_of
from pipeline.storage.store import (
    create_if_absent,
    open_own,
    read_versioned,
    replace_if_unchanged,
    write_whole,
)

#: More than any plan or unit has; what is larger is not read into memory.
MOST_BYTES = 8 << 30


def plan_bytes(plan: Plan) -> bytes:
    """``plan.parquet``; the same plan gives the same bytes."""
    described = {"run_id": plan.run_id, "fingerprint": plan.fingerprint}
    return sealed_bytes(plan.to_table(), described)


def footer_metadata(path: str) -> dict[str, str]:
    """What a unit's file says about itself, its rows not read.

    Raises:
        DamagedRunError: the file is gone, or its footer is not as it was written.
    """
    file = open_own(path)
    if file is None:
        raise DamagedRunError(f"{path}: missing; `rerank run --repair` makes it anew")
    with file:
        try:
            footer = pq.ParquetFile(file).metadata.metadata
            schema = pa.ipc.read_schema(pa.py_buffer(base64.b64decode(footer[b"ARROW:schema"])))
            copy = {key.decode(): value.decode() for key, value in schema.metadata.items()}
            same = all(footer.get(key.encode()) == value.encode() for key, value in copy.items())
        except RerankError:
            raise  # of the store
        except Exception as error:  # what a damaged footer makes Arrow raise is no closed list
            why = f"its footer cannot be read ({type(error).__name__})"
            raise records.damaged(path, why) from None
    if not same:
        raise records.damaged(path, "the two copies of what it says about itself differ")
    return copy


def replace_damaged(path: str, data: bytes, *, cas: bool) -> None:
    """Write a file of a run anew, whatever is there now.

    Raises:
        DamagedRunError: what is there is no file of a run.
    """
    while True:
        found = read_versioned(path, most_bytes=MOST_BYTES)
        if found is not None and found[0] == data:
            return
        if found is not None and not cas:
            write_whole(path, data)
            return
        if found is None and create_if_absent(path, data):
            return
        if found is not None and replace_if_unchanged(path, data, found[1]) is not None:
            return


def read_listed(path: str, sha256: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A file of a published run.

    Args:
        path: of the file.
        sha256: what the manifest says of it.
        columns: what to read; None: all.

    Raises:
        DamagedRunError: it is gone, or its content is another.
    """
    return _table(path, _listed(path, sha256), columns)


def listed_columns(path: str, sha256: str) -> list[str]:
    """Names of the columns of a file of a published run, see :func:`read_listed`."""
    return columns_of(_listed(path, sha256), path)


def _listed(path: str, sha256: str) -> bytes:
    data = _data(path)
    if hashlib.sha256(data).hexdigest() != sha256:
        raise records.damaged(path, "its sha256 is not the one in manifest.json")
    return data


def read_sealed(path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """A file of a run that no manifest lists, against the digest in its own footer.

    Raises:
        DamagedRunError: it is gone, or not as it was written.
    """
    data = _data(path)
    try:
        refuse_damage(data)
    except NotWholeError as error:
        raise records.damaged(path, str(error)) from None
    return _table(path, data, columns)


def _data(path: str) -> bytes:
    found = read_versioned(path, most_bytes=MOST_BYTES)
    if found is None:
        raise records.damaged(path, "it is missing")
    return found[0]


def _table(path: str, data: bytes, columns: Sequence[str] | None) -> pa.Table:
    """Rows of bytes that were compared with a digest; whoever wrote them, they stay data.

    A run repeats values of its queries as often as they have candidates, so it may unfold far.
    """
    try:
        return table_of(data, path, columns=columns, max_expansion=math.inf)
    except InputContractError as error:
        raise records.damaged(path, str(error).removeprefix(f"{path}: ")) from None
