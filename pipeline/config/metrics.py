"""Where a run's metrics go beside Ray: the section ``metrics`` of a job."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.base import Settings


class MetricsConfig(Settings):
    """What monitoring is told of a run; on Ray also what ``ray.metrics_port`` says."""

    file: str | None = Field(
        None,
        min_length=6,
        pattern=r"\.prom$",
        description="File of the driver's machine that the run's metrics are written to, for the "
        "textfile collector of Prometheus's node_exporter, which reads files called *.prom; see "
        "docs/metrics.md.",
    )
