"""A session's metrics through Ray, which every node of a cluster shows to Prometheus."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from ray.util.metrics import Counter, Gauge

from pipeline.errors import TerminatedError
from pipeline.execution.live.exporting import exported
from pipeline.execution.live.metrics import ALL, Metric, Samples
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot

logger = logging.getLogger("pipeline")


class RayMetrics:
    """Hands snapshots to Ray; the driver's node shows them within ten seconds.

    Its gauges vanish with the driver, some 20 seconds after its last word. Its counters stay on
    their node as they were last, so how a session ended can be seen afterwards.

    Args:
        labels: the common ones.
        counted: what Ray's counters stand at for this session, by metric and its own label; kept
            up to date. Ray adds, and a session that scores a second time begins no counter anew.
    """

    def __init__(
        self, labels: Mapping[str, str], counted: dict[tuple[Metric, str], float] | None = None
    ) -> None:
        self._samples = Samples(labels)
        self._exports = {metric: _export(metric) for metric in ALL}
        self._counted = {} if counted is None else counted
        self._ended = False

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a snapshot."""
        if not self._ended:
            self._samples.take(snapshot)
            self._send()

    def end(self, state: str) -> None:
        """Say how it ended, and no more."""
        self._ended = True
        self._samples.end(state)
        try:
            self._send()
        except TerminatedError:  # of a signal handler
            raise
        except Exception as error:  # Ray may be lost: that is not what the run ends with
            logger.warning("Ray was not told how the session ended: %s", error)

    def _send(self) -> None:
        for metric, values in self._samples.values().items():
            for own, value in values.items():
                self._record(metric, own, value)

    def _record(self, metric: Metric, own: str, value: float) -> None:
        export, tags = self._exports[metric], metric.labelled(self._samples.labels, own)
        if isinstance(export, Gauge):
            export.set(value, tags=tags)
            return
        grown = value - self._counted.get((metric, own), 0.0)
        if grown > 0:
            self._counted[metric, own] = value
            export.inc(grown, tags=tags)


@contextmanager
def shown_by_ray(
    monitor: Monitor, labels: Mapping[str, str], counted: dict[tuple[Metric, str], float]
) -> Iterator[None]:
    """Show a session's metrics while the body runs, and at last how it ended.

    Args:
        monitor: of the session.
        labels: the common ones.
        counted: see :class:`RayMetrics`.
    """
    with exported(monitor, RayMetrics(labels, counted), ended_well="scored"):
        yield


def _export(metric: Metric) -> Counter | Gauge:
    kind = Counter if metric.kind == "counter" else Gauge
    return kind(metric.name, description=metric.description, tag_keys=metric.labels)
