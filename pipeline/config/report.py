"""What a run says of itself when it ends: the section ``report`` of a job."""

from __future__ import annotations

from pydantic import Field

from pipeline.config.base import Settings


class ReportConfig(Settings):
    """What is written about a run beside what it ranked."""

    page: bool = Field(
        True,
        description="Write report.html, a page with pictures, whenever a session ends. It takes "
        "two to four seconds; report.json is written in any case.",
    )
