"""Numpy arrays that travel between stages: their types, and many of them as one Arrow stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Int32s = npt.NDArray[np.int32]
Int64s = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def pack_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """Named numpy arrays of any shape as one Arrow IPC stream of tensors' raw bytes."""
    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    table = pa.table(
        {
            "name": pa.array(list(arrays), pa.string()),
            "dtype": pa.array([str(array.dtype) for array in arrays.values()], pa.string()),
            "shape": pa.array([list(a.shape) for a in arrays.values()], pa.list_(pa.int64())),
            "data": pa.array(
                [array.reshape(-1).view(np.uint8).data for array in whole.values()],
                pa.large_binary(),
            ),
        }
    )
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())


def unpack_arrays(payload: bytes | pa.Buffer) -> dict[str, npt.NDArray[Any]]:
    """The inverse of :func:`pack_arrays`; arrays are read-only views of ``payload``."""
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        table = reader.read_all()
    arrays = {}
    for name, dtype, shape, data in zip(*(table.column(i) for i in range(4)), strict=True):
        flat = np.frombuffer(data.as_buffer(), dtype=dtype.as_py())
        arrays[name.as_py()] = flat.reshape(shape.as_py())
    return arrays
