"""Tables that tasks of Ray Data make of tables: mapped, shuffled, and gathered by the driver."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from pipeline.config import RayConfig
from pipeline.errors import RerankError

if TYPE_CHECKING:
    import ray.data

#: How often a task is begun again whose worker or node is lost.
RETRIES: Final = 10

#: Partitions of a shuffle for each part, since a partition holds what its hash makes it hold.
_SPREAD: Final = 4

#: Bytes of rows that a task of a shuffle deals out to partitions.
_GATHERED_BYTES: Final = 64 << 20

#: Every task of a shuffle returns an object for each partition, so they must not be too many.
_MOST_PARTITIONS: Final = 1_000


def numbers(count: int) -> ray.data.Dataset:
    """Rows ``id`` from 0, one in each block, so that a task works on each."""
    import ray

    return ray.data.range(count, override_num_blocks=count)


def items(chosen: Sequence[int]) -> ray.data.Dataset:
    """Rows ``id`` of these numbers, likewise."""
    import ray

    rows = [{"id": number} for number in chosen]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def mapped(
    dataset: ray.data.Dataset, function: Any, config: RayConfig, *, whole: bool = False
) -> ray.data.Dataset:
    """A dataset whose rows, or ``whole`` blocks, a function makes others of in tasks."""
    with warnings.catch_warnings():
        # Retries have no named parameter in Ray 2.60; the generic ones are deprecated.
        warnings.filterwarnings("ignore", message=".*ray_remote_args.*is deprecated")
        return dataset.map_batches(
            function,
            batch_size=None if whole else 1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=config.read_cpus,
            label_selector=config.task_labels or None,
            max_retries=RETRIES,
        )


def shuffled(dataset: ray.data.Dataset, key: str, pieces: int) -> ray.data.Dataset:
    """Rows brought together by a column of numbers: all of a number are in one block.

    Args:
        dataset: the rows.
        key: the column.
        pieces: how many numbers there are, or how many parts the rows are to fall into.
    """
    # Ray Data gathers far more before it partitions, and holds it several times over.
    dataset.context.shuffle_input_batch_bytes = _GATHERED_BYTES
    return dataset.repartition(partitions(pieces), keys=[key])


def partitions(pieces: int) -> int:
    """Of a shuffle into so many pieces."""
    return min(max(2, _SPREAD * pieces), _MOST_PARTITIONS)


def rows_of(dataset: ray.data.Dataset) -> Iterator[dict[str, Any]]:
    """Rows as soon as they are there; what was wrong with a file is raised as what it was.

    Raises:
        RerankError: a task did.
    """
    batches: Any = dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow")
    try:
        for batch in batches:
            yield from batch.to_pylist()
    except Exception as error:
        cause: Any = error
        while cause is not None and not isinstance(cause, RerankError):
            cause = getattr(cause, "cause", None) or cause.__cause__
        if cause is None:
            raise
        raise cause from None
