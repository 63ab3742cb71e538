"""One task per part of a set: through Ray Data where there are many, else in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, TypeVar, cast

import pyarrow as pa

from pipeline.config import RayConfig, ReplicasConfig
from pipeline.errors import RerankError
from pipeline.execution.units.rows import failed, raise_if_failed, row

T = TypeVar("T")

#: Fewer parts than this are done sooner than a local Ray has started.
FEW: Final = 8

logger = logging.getLogger("pipeline")


def run_parts(
    task: Callable[[T], None],
    items: Sequence[T],
    ray: RayConfig,
    report: Callable[[int], None] | None = None,
) -> None:
    """Do ``task`` for every item; each writes its own file, so a second call goes on where one
    stopped.

    Args:
        task: writes the files of one item.
        items: all that is to do.
        ray: where it is done.
        report: called after each item with the number of items done.

    Raises:
        RerankError: what a task raised.
        RunFailedError: a worker failed otherwise.
    """
    if ray.mode == "in_process" or len(items) < FEW:
        for number, item in enumerate(items, start=1):
            task(item)
            if report is not None:
                report(number)
        return
    from pipeline.cluster.ray_session import explain

    with parts_session(ray, len(items)):
        try:
            for number, result in enumerate(_rows(task, items, ray), start=1):
                raise_if_failed(result)
                if report is not None:
                    report(number)
        except RerankError:
            raise
        except Exception as error:  # whatever Ray wraps a worker's failure in
            logger.debug("a part failed", exc_info=True)
            raise explain(error) from None


@contextmanager
def parts_session(ray: RayConfig, items: int) -> Iterator[None]:
    """Ray for several calls of :func:`run_parts` with up to ``items`` items, where one needs it."""
    if ray.mode == "in_process" or items < FEW:
        yield
        return
    from pipeline.cluster.ray_session import ray_session

    with ray_session(_Session(ray=ray)):
        yield


@dataclass(frozen=True, kw_only=True)
class _Session:
    """A Ray without model replicas."""

    ray: RayConfig
    replicas: ReplicasConfig = field(default_factory=lambda: ReplicasConfig(min=1, num_cpus=1))


def _rows(task: Callable[[T], None], items: Sequence[T], ray: RayConfig) -> Any:
    import ray.data as ray_data

    dataset = ray_data.range(len(items), override_num_blocks=len(items)).map_batches(
        partial(_one, task=task, items=items),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=ray.read_cpus,
        label_selector=ray.task_labels or None,
    )
    for batch in dataset.iter_batches(batch_size=None, prefetch_batches=0, batch_format="pyarrow"):
        yield from cast(pa.Table, batch).to_pylist()


def _one(batch: pa.Table, *, task: Callable[[T], None], items: Sequence[T]) -> pa.Table:
    try:
        task(items[batch.column("id")[0].as_py()])
    except RerankError as error:
        return failed(error)
    return row({"done": True})
