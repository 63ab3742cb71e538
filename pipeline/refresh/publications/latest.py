"""What is current, for readers: the rows of the run that the current publication names."""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING

from pipeline.errors import NotFoundError
from pipeline.execution.runs.run_folder import RANKED, RunFolder
from pipeline.refresh.publications.reading import current, root_of, run_of
from pipeline.refresh.publications.record import FOLDER, Publication
from pipeline.storage.store import join

if TYPE_CHECKING:
    import pyarrow.dataset as ds


def latest(path: str | PathLike[str]) -> ds.Dataset:
    """The ranked rows that were published last, as an Arrow dataset.

    The dataset is of the files of one run. It stays what it is while another run is published, for
    as long as retention keeps the run. Sizes of files are compared with the manifest now, their
    content is not: `rerank status --check` reads all of it.

    Args:
        path: ``output.path``, a local path or URI.

    Raises:
        NotFoundError: nothing was published there.
        DamagedRunError: the current publication is damaged, or its run is not what was published.
    """
    from pipeline.storage.parquet.dataset import dataset_of  # brings pandas along where it can

    root = root_of(fspath(path))
    return dataset_of(ranked_files(run_of(root, required(root))))


def required(root: str) -> Publication:
    """The current publication.

    Raises:
        NotFoundError: there is none.
        DamagedRunError: it is damaged.
    """
    found = current(root)
    if found is None:
        raise NotFoundError(
            f"{join(root_of(root), FOLDER)}: nothing was published here; give the output.path of a "
            "refresh job, after its first night"
        )
    return found


def ranked_files(folder: RunFolder) -> list[str]:
    """Paths of a published run's ranked files, in the order of its plan."""
    return [
        join(folder.path, file["key"])
        for unit in folder.manifest()["units"]
        for file in unit["files"]
        if file["key"].startswith(f"{RANKED}/")
    ]
