"""Parquet files wherever they lie as one Arrow dataset, for readers that scan as they like."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as ds

from pipeline.storage.store import arrow_place


def dataset_of(paths: Sequence[str]) -> ds.Dataset:
    """The rows of several files of one schema, in the order given; nothing is read but one footer.

    Args:
        paths: local paths or URIs, all in one store; none is a dataset without columns and rows.
    """
    if not paths:
        return ds.dataset(pa.table({}))
    places = [arrow_place(path) for path in paths]
    form, filesystem = ds.ParquetFileFormat(), places[0][0]
    names = [name for _, name in places]
    # What a file says about itself (run, unit, counts) is not said of all of them together.
    schema = form.inspect(names[0], filesystem=filesystem).remove_metadata()
    return ds.FileSystemDataset.from_paths(names, schema=schema, format=form, filesystem=filesystem)
