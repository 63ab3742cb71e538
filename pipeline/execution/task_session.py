"""Ray for the tasks that come before a run: started or joined, and what they raise explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TypeVar

from pipeline.cluster.ray_start import RayJob
from pipeline.config import RayConfig
from pipeline.errors import RerankError
from pipeline.execution.termination import Termination

T = TypeVar("T")


@dataclass(frozen=True)
class TaskSession:
    """A job's Ray.

    Attributes:
        ray: its settings.
    """

    ray: RayConfig
    _explain: Callable[[Exception], RerankError]

    def explained(self, coming: Callable[[], Iterator[T]]) -> Iterator[T]:
        """What tasks give; whatever Ray wraps a worker's failure in is raised as what it was."""
        try:
            yield from coming()
        except RerankError:
            raise
        except Exception as error:
            raise self._explain(error) from error


def task_session(config: RayJob, staying: ExitStack) -> TaskSession:
    """Start or join the job's Ray.

    Args:
        config: the job.
        staying: takes Ray over, which is ended with it.
    """
    from pipeline.cluster.ray_session import explain, ray_session

    termination = Termination(grace_s=0, on_request=_nothing, on_exit=_nothing)
    staying.enter_context(termination.watched())
    staying.enter_context(ray_session(config, on_exit=_nothing))
    termination.listen()
    return TaskSession(config.ray, explain)


def _nothing() -> None:
    """Nothing is held before a run."""
