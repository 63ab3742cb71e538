"""Bring what serves the rankings to the current publication: ``rerank feed -c refresh.yaml``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.feed")

from typing import Annotated

import typer

from jobs.command import ConfigFile, Overrides, command, console, read_config, run_job
from pipeline.config import RefreshConfig
from pipeline.config.reading.loading import nearest
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.outputs.feeds.support.base import Feed
from pipeline.outputs.feeds.support.finding import build_all
from pipeline.refresh.changes.folder import Changes
from pipeline.refresh.changes.making import make_changes
from pipeline.refresh.feeding import Fed, feed_targets
from pipeline.refresh.publications.reading import root_of


def feed(
    path: Annotated[
        str | None,
        typer.Argument(help="The output folder with the publications; default: output.path."),
    ] = None,
    config: ConfigFile = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--feed", metavar="NAME", help="Only this feed. Repeatable."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="Load everything, whatever the target holds.")
    ] = False,
    overrides: Overrides = None,
) -> None:
    """Bring every target of refresh.feeds to the current publication; run again to continue."""
    with command():
        job = read_config(RefreshConfig, config, overrides)
        root = root_of(job.output.path if path is None else path)
        feeds = _chosen(build_all(job.refresh.feeds), only)

        def make(before: RunFolder | None, after: RunFolder) -> Changes:
            return make_changes(root, before, after, job)

        feed_targets(root, feeds, make=make, lease=job.lease, full=full, said=show_fed)


def show_fed(fed: Fed) -> None:
    """Say in a line what came of one feed."""
    stands = "nothing" if fed.generation is None else f"generation {fed.generation}"
    if fed.failure is not None:
        console.say(f"feed       {fed.name}: failed, stands at {stands}")
    elif fed.before == fed.generation:
        console.say(f"feed       {fed.name}: {stands}, as before")
    else:
        before = "nothing" if fed.before is None else f"generation {fed.before}"
        console.say(f"feed       {fed.name}: {stands}, from {before}")


def _chosen(feeds: list[Feed], only: list[str] | None) -> list[Feed]:
    known = [one.name for one in feeds]
    if not feeds:
        raise ConfigurationError(
            "refresh.feeds: is empty, so there is nothing to feed; see docs/feeds.md"
        )
    for name in only or []:
        if name not in known:
            raise ConfigurationError(f"--feed {name}: no such feed; {nearest(name, known)}")
    return [one for one in feeds if not only or one.name in only]


def main() -> None:
    """Entry point of ``python -m jobs.feed``."""
    run_job(feed)
