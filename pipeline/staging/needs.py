"""Which inputs are read as they are."""

from __future__ import annotations

from typing import Final

from pipeline.config import InputConfig
from pipeline.errors import NotFoundError
from pipeline.storage.lance_tables import is_lance_table
from pipeline.storage.store import is_folder, list_files, open_input

#: Folder of all copies below the folder of runs, whose name no run and no reader of data takes.
FOLDER: Final = "_staged"

_MAGIC: Final = b"PAR1"


def reads_as_it_is(config: InputConfig) -> bool:
    """Whether an input is Parquet that holds all that a candidate needs, by its settings and form.

    Raises:
        NotFoundError: a path matches nothing.
    """
    if config.corpus or config.queries or config.filter:
        return False
    if config.format != "auto":
        return config.format == "parquet"
    return all(_is_parquet(path) for path in config.path)


def _is_parquet(path: str) -> bool:
    """Whether what a path names is Parquet, or at least called so: then it is read as that."""
    if is_lance_table(path):
        return False
    try:
        files = list_files(path)
    except NotFoundError:
        if is_folder(path):
            return False  # of other files, perhaps
        raise
    if any(file.path.endswith((".parquet", ".pq")) for file in files):
        return True
    with open_input(files[0].path) as file:
        return file.read(len(_MAGIC)) == _MAGIC
