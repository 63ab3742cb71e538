"""A session's metrics in a file, for the textfile collector of Prometheus's node exporter.

Not every run has a Ray that could be asked, and none outlives its run: the file has the last
numbers and how the run ended. Prometheus's own advice for batch jobs of a machine is such a file
(https://prometheus.io/docs/practices/pushing/).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from pipeline.errors import ConfigurationError
from pipeline.execution.live.exporting import exported
from pipeline.execution.live.metrics import Samples
from pipeline.execution.live.monitor import Monitor
from pipeline.execution.live.snapshot import Snapshot
from pipeline.storage.home import expanded

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

logger = logging.getLogger("pipeline")

#: Seconds between two versions of the file; collectors look every 15 or so.
_EVERY_S: Final = 5.0


class MetricsFile:
    """Writes the file, whole or not at all.

    Args:
        path: of the file.
        labels: the common ones.

    Raises:
        ConfigurationError: it cannot be written.
    """

    def __init__(self, path: str, labels: Mapping[str, str]) -> None:
        from prometheus_client import CollectorRegistry

        self._path = path
        self._samples = Samples(labels)
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)
        self._due = 0.0
        self._stale = False
        try:
            self._write()
        except OSError as error:
            raise ConfigurationError(
                f"metrics.file: '{path}' cannot be written ({error.strerror}); give a "
                "file in the folder that node_exporter has as --collector.textfile.directory, "
                "which this user may write to, or null"
            ) from None

    def __call__(self, snapshot: Snapshot) -> None:
        """Take a snapshot.

        A file that cannot be written now is tried again: a disk that is full for a minute must not
        silence a run of days. It is told of once, until it is written again.
        """
        self._samples.take(snapshot)
        if time.monotonic() < self._due:
            return
        self._due = time.monotonic() + _EVERY_S
        try:
            self._write()
        except OSError as error:
            if not self._stale:
                logger.warning("%s: not written, trying again: %s", self._path, error.strerror)
            self._stale = True
        else:
            self._stale = False

    def end(self, state: str) -> None:
        """Say how it ended."""
        self._samples.end(state)
        try:
            self._write()
        except OSError as error:
            logger.warning("%s: does not say how the run ended: %s", self._path, error.strerror)

    def collect(self) -> Iterator[Family]:
        """What prometheus_client asks a registry for."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for metric, values in self._samples.values().items():
            kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
            family = kind(metric.series, metric.description, labels=metric.labels)
            for own, value in values.items():
                labels = metric.labelled(self._samples.labels, own)
                family.add_metric([labels[name] for name in metric.labels], value)
            yield family

    def _write(self) -> None:
        from prometheus_client import write_to_textfile

        write_to_textfile(self._path, self._registry)


@contextmanager
def kept_in_file(monitor: Monitor, path: str | None, labels: Mapping[str, str]) -> Iterator[None]:
    """Keep a session's metrics in a file while the body runs, and at last how it ended.

    Args:
        monitor: of the session.
        path: of the file; None: there is none.
        labels: the common ones.

    Raises:
        ConfigurationError: the file cannot be written.
        NotFoundError: it lies in a home folder that there is not.
    """
    if path is None:
        yield
        return
    metrics = MetricsFile(str(expanded(path, setting="metrics.file")), labels)
    with exported(monitor, metrics, ended_well="published"):
        yield
