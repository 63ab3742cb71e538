"""Texts of a few documents out of a large corpus, in one pass over its files."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from pipeline import schema
from pipeline.candidates.canonical import plain
from pipeline.candidates.casting import uuid_text
from pipeline.candidates.column_types import id_type, require_text
from pipeline.candidates.reasons import to_text
from pipeline.distillation.given_files import changed_error
from pipeline.errors import InputContractError
from pipeline.storage.files import FileIdentity
from pipeline.storage.parquet import Footer, read_footer, read_rows
from pipeline.storage.parquet.columns import refuse_extensions, twice_error
from pipeline.storage.store import identify


def find_texts(files: Sequence[FileIdentity], wanted: set[str]) -> dict[str, str]:
    """Title and text of the wanted documents that the corpus has, joined by a blank.

    Memory holds what was wanted and one batch of rows. A text that is not UTF-8 is none.

    Args:
        files: Parquet with the columns doc_id, text and maybe title, by our names or their aliases.
        wanted: document ids.

    Raises:
        NotFoundError: a file is gone.
        InputContractError: a file changed, is damaged, or lacks a column that can be used.
    """
    found: dict[str, str] = {}
    values = pa.array(sorted(wanted), pa.string())
    for file in files if wanted else ():
        before = identify(file.path)
        footer = read_footer(file)
        if footer.rows:
            _find_in(footer, values, found)
        if identify(file.path) != before:
            raise changed_error(file.path)
    return found


def _find_in(footer: Footer, wanted: pa.Array, found: dict[str, str]) -> None:
    ids, text = (_column(footer, name) for name in (schema.DOC_ID, schema.TEXT))
    uuid = (ids, ids) in footer.uuids
    id_type(footer.schema.field(ids), footer.file.path, uuid=uuid)
    names = [text]
    if any(name in footer.schema.names for name in schema.ALIASES[schema.TITLE]):
        names.insert(0, _column(footer, schema.TITLE))
    for name in names:
        require_text(footer.schema.field(name), footer.file.path)
    rows = read_rows(
        footer.file.path, 0, footer.rows,
        columns=list(dict.fromkeys([ids, *names])), expected=footer.file,
    )  # fmt: skip
    for batch in rows:
        given = plain(batch.column(ids))
        if pa.types.is_integer(given.type):
            given = given.cast(pa.string())
        doc_ids = uuid_text(given) if uuid else to_text(given)[0]
        hits = pc.indices_nonzero(pc.is_in(doc_ids, value_set=wanted))
        texts = [to_text(plain(batch.column(name).take(hits)))[0].to_pylist() for name in names]
        for doc_id, *parts in zip(doc_ids.take(hits).to_pylist(), *texts, strict=True):
            if any(parts):
                found.setdefault(doc_id, " ".join(part for part in parts if part))


def _column(footer: Footer, name: str) -> str:
    """The column that is ours by this name."""
    path, names = footer.file.path, footer.schema.names
    found = next((alias for alias in schema.ALIASES[name] if alias in names), None)
    if found is None:
        raise InputContractError(
            f"{path}: positives.corpus needs a column '{name}' (also accepted: "
            f"{', '.join(schema.ALIASES[name][1:])}); columns found: {', '.join(names)}"
        )
    if names.count(found) > 1:
        raise twice_error(path, found)
    refuse_extensions(footer.schema.field(found), path)
    return found
