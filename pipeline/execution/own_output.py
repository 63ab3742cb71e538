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
    """Refuse an output folder, or one of staged copies, of which the input takes the files.

    The first run would be right. The same job again would find its files among the candidates, so
    it would be another run: one that cannot be read, or has candidates twice.

    Raises:
        ConfigurationError: names both settings.
    """
    section = config.input
    named = {"path": section.path, "corpus": section.corpus, "queries": section.queries}
    made = {"output.path": config.output.path, "input.staging": section.staging}
    for setting, folder in made.items():
        for role, paths in named.items():
            for path in paths or ():
                if folder is not None and _takes(path, folder):
                    raise ConfigurationError(
                        f"{setting}: {folder} lies within input.{role}: {path}, so the same job "
                        "again would read what it wrote. Choose a folder outside, or one whose "
                        "name begins with _, which no input takes"
                    )


def _takes(path: str, folder: str) -> bool:
    """Whether an input's path takes files of a run, or of a copy, in a folder."""
    place, made = (place_of(one)[1].rstrip("/") for one in (path, folder))
    files = [join(made, "0" * 16, RANKED, f"unit{ending}") for ending in _ENDINGS]
    if has_wildcards(place):
        pattern = PathPattern(place, _ENDINGS)
        return any(map(pattern.takes, files))
    inside = f"{place}/"
    return any(
        file.startswith(inside) and is_data(file.removeprefix(inside), _ENDINGS) for file in files
    )
