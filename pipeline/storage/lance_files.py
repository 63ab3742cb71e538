"""Files of Lance tables judged before the library opens them.

It trusts the sizes that a file states, and where they are wrong asks for memory that no machine
has: the process is gone then, without a word about the file.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.storage.store import open_input

#: The end of a data file (https://lance.org/format/file/, "File Layout"): where the descriptions of
#: columns begin, where their table and that of global buffers do, how many buffers and columns
#: there are, the version, and a magic number.
_FOOTER: Final = struct.Struct("<QQQIIHH4s")
_MAGIC: Final = b"LANC"

#: An entry of a table: position and length.
_ENTRY: Final = 16

#: The first version that ends so, as it calls itself in the file.
_FIRST: Final = (0, 3)


def refuse_damaged_data(path: str, size: int | None) -> None:
    """Refuse a data file whose end does not fit what is before it.

    Args:
        path: of the file.
        size: what the manifest says of its length; None: nothing.

    Raises:
        InputContractError: names the file.
        NotFoundError: it is gone.
    """
    with open_input(path) as file:
        length = file.seek(0, 2)
        if size not in (None, 0, length):
            raise _damaged(path, f"{length:,} bytes where the manifest has {size:,}")
        file.seek(max(0, length - _FOOTER.size))
        ending = file.read(_FOOTER.size)
        if len(ending) < _FOOTER.size or not ending.endswith(_MAGIC):
            raise _damaged(path, "its last four bytes are not 'LANC'")
        first, columns_at, buffers_at, buffers, columns, *version, _ = _FOOTER.unpack(ending)
        if tuple(version) < _FIRST:
            return
        end = length - _FOOTER.size
        if not first <= columns_at <= buffers_at <= end or (
            (columns_at + _ENTRY * columns, buffers_at + _ENTRY * buffers) != (buffers_at, end)
        ):
            raise _damaged(path, "its last bytes name places that are not in it")
        file.seek(columns_at)
        entries = np.frombuffer(file.read(end - columns_at), dtype="<u8").reshape(-1, 2)
    if (entries > length).any() or (entries.sum(axis=1) > length).any():
        raise _damaged(path, "its tables name places that are not in it")


def refuse_damaged_deletions(path: str) -> None:
    """Refuse a list of deleted rows that is an Arrow file and cannot be read as one.

    Raises:
        InputContractError: names the file.
        NotFoundError: it is gone.
    """
    if not path.endswith(".arrow"):
        return
    with open_input(path) as file:
        data = file.read()
    try:
        pa.ipc.open_file(pa.py_buffer(data)).read_all().validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from None


def _damaged(path: str, why: str) -> InputContractError:
    return InputContractError(f"{path}: this file of a Lance table is damaged ({why}); copy or "
                              "write the table again")  # fmt: skip
