"""An output folder among the files of the input: the next run would read what this one wrote."""

from __future__ import annotations

from typing import Final

from pipeline.config import JobConfig
from pipeline.errors import ConfigurationError
from pipeline.execution.runs.run_folder import RANKED
from pipeline.storage.patterns import PathPattern, has_wildcards, is_data
from pipeline.storage.places import place_of
from pipeline.storage.store import join

#: Files of a run that an input may be of the format of; only where they lie counts.
_ENDINGS: Final = (".parquet", ".csv", ".tsv", ".jsonl", ".trec")


def refuse_own_output(config: JobConfig) -> None:
    """Refuse an output folder that a folder or glob of the input takes files of.

    The first run would be right. The same job again would find its files among the candidates, so
    it would be another run: one that cannot be read, or has candidates twice.

    Raises:
        ConfigurationError: names both settings.
    """
    section = config.input
    named = {"path": section.path, "corpus": section.corpus, "queries": section.queries}
    output = place_of(config.output.path)[1].rstrip("/")
    for setting, paths in named.items():
        for path in paths or ():
            if _takes(path, output):
                raise ConfigurationError(
                    f"output.path: {config.output.path} lies within input.{setting}: {path}, so "
                    "the same job again would read what it wrote. Choose a folder outside, or one "
                    "whose name begins with _, which no input takes"
                )


def _takes(path: str, output: str) -> bool:
    """Whether an input's path takes the files of a run in an output folder."""
    place = place_of(path)[1].rstrip("/")
    files = [join(output, "0" * 16, RANKED, f"unit{ending}") for ending in _ENDINGS]
    if has_wildcards(place):
        pattern = PathPattern(place, _ENDINGS)
        return any(map(pattern.takes, files))
    inside = f"{place}/"
    return any(
        file.startswith(inside) and is_data(file.removeprefix(inside), _ENDINGS) for file in files
    )
