"""The files of a run's folder as bytes: the plan, footers, and what is written anew."""

from __future__ import annotations

import base64

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.candidates.planning import Plan
from pipeline.errors import DamagedRunError, RerankError
from pipeline.execution import records
from pipeline.outputs.sealed import NotWholeError, refuse_damage, sealed_bytes
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


def sealed_table(path: str) -> pa.Table:
    """A sealed Parquet file.

    Raises:
        DamagedRunError: it is gone, or not as it was written.
    """
    found = read_versioned(path, most_bytes=MOST_BYTES)
    if found is None:
        raise records.damaged(path, "it is missing")
    try:
        refuse_damage(found[0])
        return pq.ParquetFile(pa.BufferReader(found[0])).read()
    except (NotWholeError, pa.ArrowException, OSError) as error:
        raise records.damaged(path, str(error)) from None
