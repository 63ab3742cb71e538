"""The settings of a nightly refresh: a reranking job, and the section ``refresh`` beside it."""

from __future__ import annotations

from datetime import date
from typing import Final

from pydantic import Field, model_validator

from pipeline.config.base import Settings
from pipeline.config.dates import names_date, with_date
from pipeline.config.feeds import FeedConfig
from pipeline.config.gates import GatesConfig
from pipeline.config.job import JobConfig

#: Publications that always stay: what serves, and what its night was built on.
LEAST_KEPT: Final = 2


class RetentionConfig(Settings):
    """How long publications are kept, with the runs, reuse tables and changes that they name."""

    keep_last: int | None = Field(
        7,
        ge=LEAST_KEPT,
        description="So many publications are kept, at least two, for a night that is done again "
        "builds on the one before; null: two, and what keep_days keeps.",
    )
    keep_days: int | None = Field(
        30,
        ge=0,
        description="What was published less than so many days ago is kept; null: keep_last alone "
        "decides. What neither keeps is removed after a refresh; with both null, nothing is.",
    )


class RefreshSection(Settings):
    """What a refresh does beyond a run."""

    max_age_days: int | None = Field(
        None,
        ge=1,
        description="Days after which a score is made anew although nothing changed; about one "
        "query in so many is due each night. null: scores are good until something changes.",
    )
    gates: GatesConfig = GatesConfig()
    retention: RetentionConfig = RetentionConfig()
    feeds: tuple[FeedConfig, ...] = Field(
        (),
        description="Targets that get each publication's changes: a name, a kind and the settings "
        "of that kind, see docs/feeds.md.",
    )


class RefreshConfig(JobConfig):
    """One nightly refresh: the root of ``conf/refresh.yaml``."""

    refresh: RefreshSection = RefreshSection()

    @model_validator(mode="after")
    def _one_folder_for_all_nights(self) -> RefreshConfig:
        if names_date(self.output.path):
            raise ValueError(
                f"output.path: '{self.output.path}': the publications of all nights lie in one "
                "folder, where each is compared with the one before; remove {date}"
            )
        return self

    def job(self, night: date) -> JobConfig:
        """The reranking job of one night, with its date in the paths of the input."""

        def filled(paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
            return None if paths is None else tuple(with_date(path, night) for path in paths)

        sections = {name: getattr(self, name) for name in JobConfig.model_fields}
        names = ("path", "corpus", "queries")
        dated = {name: filled(getattr(self.input, name)) for name in names}
        sections["input"] = self.input.model_copy(update=dated)
        return JobConfig(**sections)
