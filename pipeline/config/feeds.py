"""The feeds of a configuration: targets that serve rankings and get each publication's changes."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from pipeline.config.base import Settings


class FeedConfig(Settings):
    """One feed: its name, its kind and, beside them, the settings of that kind.

    The further keys are validated where kinds are known: by
    :func:`pipeline.outputs.feeds.support.finding.build`.
    """

    model_config = ConfigDict(extra="allow")

    name: str = Field(
        pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$",
        description="Names the feed in progress records, messages and `--feed`; kept while the "
        "target stays the same.",
    )
    kind: str = Field(description="What the target is; see docs/feeds.md for the kinds.")

    @property
    def settings(self) -> dict[str, Any]:
        """The further keys, as they were given."""
        return dict(self.model_extra or {})
