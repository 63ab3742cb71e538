"""CSV as RFC 4180 has it, for people who open a run in a spreadsheet.

A spreadsheet takes a cell that begins with ``=``, ``+``, ``-`` or ``@`` for a formula, and runs it;
ids and copied columns come from whoever wrote the documents. So a text that begins like one, or
with an apostrophe, gets an apostrophe before it, which spreadsheets take for "what follows is
text". Taking the apostrophe off every text that begins with one gives all texts back.

Texts always stand in quotes, so an empty one is ``""`` and null is nothing. Numbers stand without,
with as many digits as bring the same number back.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa

from pipeline.errors import InputContractError
from pipeline.outputs.base import Sink

#: How a text begins that some spreadsheet takes for a formula (OWASP, "CSV Injection"): the signs,
#: their full-width forms, and what is dropped before them; and the apostrophe itself.
_FORMULA: Final = tuple("=+-@\t\r\n\uff1d\uff0b\uff0d\uff20'")


class Csv(Sink):
    """A line per candidate, best first, below a line of names."""

    suffix = ".csv"
    joinable = True

    def heading(self, rows: pa.Table) -> bytes:
        """The names of the columns.

        Raises:
            InputContractError: a column holds lists, structs or bytes.
        """
        for field in rows.schema:
            _writer_of(field)
        return _line([_text(name) for name in rows.column_names])

    def write(self, rows: pa.Table, about: Mapping[str, str]) -> bytes:
        """The lines of the candidates.

        Raises:
            InputContractError: a column holds lists, structs or bytes, or a text a NUL or what is
                not UTF-8.
        """
        columns = [
            _cells(rows.column(place), field, _writer_of(field))
            for place, field in enumerate(rows.schema)
        ]
        return b"".join(_line(list(cells)) for cells in zip(*columns, strict=True))


def _writer_of(field: pa.Field) -> Callable[[Any], str]:
    """How values of a column are written."""
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_boolean(kind):
        return lambda value: "true" if value else "false"
    if pa.types.is_float32(kind):
        return lambda value: str(np.float32(value))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return str
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view,
             pa.types.is_null, pa.types.is_temporal)  # fmt: skip
    if any(test(kind) for test in tests):
        return lambda value: _text(str(value))
    raise InputContractError(
        f"format csv: column '{field.name}' holds {field.type}, and a cell of CSV one text or "
        "number. Leave it out of output.columns, or csv out of output.formats"
    )


def _cells(column: pa.ChunkedArray, field: pa.Field, write: Callable[[Any], str]) -> list[str]:
    try:
        values = column.to_pylist()
    except UnicodeDecodeError as error:
        raise _refused(f"a value of column '{field.name}' is not UTF-8 ({error})") from None
    cells = ["" if value is None else write(value) for value in values]
    for cell in cells:
        if "\0" in cell:
            raise _refused(f"a value of column '{field.name}' holds a NUL: {cell!r}")
    return cells


def _text(value: str) -> str:
    marked = f"'{value}" if value.startswith(_FORMULA) else value
    return '"' + marked.replace('"', '""') + '"'


def _line(cells: list[str]) -> bytes:
    return (",".join(cells) + "\r\n").encode()


def _refused(why: str) -> InputContractError:
    return InputContractError(
        f"format csv: {why}, at which readers of CSV stop. Repair the value, or leave csv out of "
        "output.formats"
    )
