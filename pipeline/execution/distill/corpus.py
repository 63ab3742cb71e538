"""Texts of a few documents out of a large corpus, in one pass over its files."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.errors import InputContractError
from pipeline.storage.parquet import read_footer, read_rows
from pipeline.storage.store import list_files


def find_texts(path: str, wanted: set[str]) -> dict[str, str]:
    """Title and text of the wanted documents that the corpus has, joined by a blank.

    Memory holds what was wanted and one batch of rows.

    Args:
        path: Parquet files, a folder or a glob; columns doc_id, text and maybe title, by our
            names or their aliases.
        wanted: document ids.

    Raises:
        NotFoundError: nothing there.
        InputContractError: a column is missing, or a file is damaged.
    """
    found: dict[str, str] = {}
    values = pa.array(sorted(wanted), pa.string())
    for file in list_files(path) if wanted else ():
        footer = read_footer(file)
        ids, text = (
            _column(footer.schema, name, file.path) for name in (schema.DOC_ID, schema.TEXT)
        )
        title = next((n for n in schema.ALIASES[schema.TITLE] if n in footer.schema.names), None)
        names = [ids, text, *([title] if title else [])]
        for batch in read_rows(file.path, 0, footer.rows, columns=names):
            table = pa.table(batch)
            doc_ids = table[ids].cast(pa.string())
            for row in table.filter(pc.is_in(doc_ids, value_set=values)).to_pylist():
                parts = [row[name] for name in (title, text) if name and row[name]]
                if parts:
                    found.setdefault(str(row[ids]), " ".join(parts))
    return found


def _column(columns: pa.Schema, name: str, path: str) -> str:
    found = next((alias for alias in schema.ALIASES[name] if alias in columns.names), None)
    if found is None:
        raise InputContractError(
            f"{path}: positives.corpus needs a column '{name}' (also accepted: "
            f"{', '.join(schema.ALIASES[name][1:])}); columns found: {', '.join(columns.names)}"
        )
    return found
