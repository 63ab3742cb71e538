"""An input as plain data: everything that `rerank inspect` prints, and what a run would refuse."""

from __future__ import annotations

from typing import Any

from pipeline.candidates.inputs import Input
from pipeline.candidates.order import Order, order_of
from pipeline.config import InputConfig, JobConfig
from pipeline.errors import InputContractError, RerankError
from pipeline.inspection.by_reference import nothing_read, open_all, reference_facts
from pipeline.inspection.columns import column_facts
from pipeline.inspection.contents import content_facts
from pipeline.inspection.files import Files, Refusal, find_files
from pipeline.inspection.guesses import guessed_columns
from pipeline.inspection.oddities import oddities
from pipeline.inspection.queries import order_facts, query_facts
from pipeline.inspection.sample import take_sample
from pipeline.inspection.units import unit_facts
from pipeline.plurals import counted
from pipeline.sources.listing import files_of, resolved
from pipeline.storage.parquet import read_footer

#: Candidates that a sample has unless another number is asked for.
SAMPLE = 10_000


def inspect(config: JobConfig, *, sample: int = SAMPLE) -> dict[str, Any]:
    """What the input of a job is. Nothing is written, and no model is run.

    Files that a run would refuse are left out of the figures, and named with the sentence that the
    run would end with.

    Args:
        config: the job; its model is what units and tokens are estimated for.
        sample: candidates that are read for what footers and query ids do not tell.

    Returns:
        Plain data, as ``docs/inspect.md`` describes it. ``starts`` says whether a run would.

    Raises:
        ConfigurationError: a setting is wrong whatever the input is.
        NotFoundError: a path matches nothing.
    """
    try:
        named = config.model_copy(update={"input": resolved(config.input)})
    except InputContractError as error:
        refusal = Refusal(path=config.input.path[0], message=str(error))
        return _told(config, {"input": nothing_read(config)}, [refusal], [])
    if not _reads_as_it_is(named.input):
        sources, refusals = open_all(named.input, pass_through=config.output.columns)
        if not sources.only_parquet:
            facts = reference_facts(named, sources, refusals, sample=sample)
            return _told(config, facts, refusals, [])
    return _of_parquet(config, sample=sample)


def _of_parquet(config: JobConfig, *, sample: int) -> dict[str, Any]:
    """An input that is read as it is."""
    files = find_files(config.input, pass_through=config.output.columns)
    refusals = list(files.refusals)
    if files.usable is None:
        config, files = _with_guesses(config, files)
    facts: dict[str, Any] = {"input": _files_facts(config, files)}
    if files.usable is not None and files.usable.rows:
        facts |= _read_facts(config, files.usable, sample, refusals)
    return _told(config, facts, refusals, _links(files))


def _told(
    config: JobConfig, facts: dict[str, Any], refusals: list[Refusal], notes: list[str]
) -> dict[str, Any]:
    """The facts with what follows from them."""
    facts["refusals"] = [{"path": one.path, "message": one.message} for one in refusals]
    facts["starts"] = not refusals
    facts["warnings"] = notes + facts.get("warnings", [])
    facts["settings"] = _settings(config, facts)
    return facts


def _reads_as_it_is(config: InputConfig) -> bool:
    """Whether an input is Parquet with all that a candidate needs, by its settings and names."""
    if config.corpus or config.queries or config.filter:
        return False
    if config.format != "auto":
        return config.format == "parquet"
    files = [file for path in config.path for file in files_of("candidates", [path])]
    return any(file.path.endswith((".parquet", ".pq")) for file in files)


def with_guessed_columns(config: JobConfig) -> JobConfig:
    """The job with ``input.columns`` guessed where the input lacks columns that every input needs.

    Raises:
        ConfigurationError: a setting is wrong whatever the input is.
        NotFoundError: a path matches nothing.
    """
    try:
        if not _reads_as_it_is(resolved(config.input)):
            return config
    except InputContractError:
        return config
    files = find_files(config.input, pass_through=config.output.columns)
    return config if files.usable is not None else _with_guesses(config, files)[0]


def _with_guesses(config: JobConfig, files: Files) -> tuple[JobConfig, Files]:
    """The job and its files by guessed columns, where those can be read."""
    for file in files.listed:
        try:
            arrow = read_footer(file).schema
        except RerankError:
            continue
        columns = guessed_columns(arrow, config.input.columns)
        if columns is None or columns == config.input.columns:
            break
        source = config.input.model_copy(update={"columns": columns})
        guessed = config.model_copy(update={"input": source})
        found = find_files(source, pass_through=config.output.columns)
        return (config, files) if found.usable is None else (guessed, found)
    return config, files


def _files_facts(config: JobConfig, files: Files) -> dict[str, Any]:
    usable = files.usable
    found = {
        "path": list(config.input.path),
        "format": "parquet",
        "files": len(files.listed),
        "bytes": sum(file.size for file in files.listed),
        "layout": None,
        "row_groups": 0,
        "rows": 0,
        "files_read": 0,
        "files_without_rows": 0,
        "tables": [],
    }
    if usable is not None:
        found |= {
            "layout": usable.columns.layout,
            "row_groups": sum(len(file.row_groups) for file in usable.files),
            "rows": usable.rows,
            "files_read": len(usable.files),
            "files_without_rows": sum(file.rows == 0 for file in usable.files),
        }
    return found


def _read_facts(
    config: JobConfig, source: Input, documents: int, refusals: list[Refusal]
) -> dict[str, Any]:
    """Everything that needs the data; adds what a run would stop at to ``refusals``."""
    try:
        order = order_of(source)
    except InputContractError as error:
        refusals.append(Refusal(path="", message=str(error)))
        order = Order(kind="grouped", checked="sample")
    scattered = order.kind == "scattered"
    taken = take_sample(
        source,
        documents=documents,
        separator=config.input.text_separator,
        scattered=scattered,
    )
    total = source.documents
    known = {one.message for one in refusals}
    refusals += [one for one in taken.refusals if one.message not in known]
    facts: dict[str, Any] = {
        **column_facts(config, source),
        "order": order_facts(order),
        **query_facts(source, order, taken),
        "sample": {
            "candidates": taken.candidates,
            "queries": taken.queries,
            "whole": taken.whole,
        },
        "contents": content_facts(taken.lists, source.columns.candidate),
        "units": unit_facts(config, None if scattered else source, taken.lists, candidates=total),
    }
    return facts | {"warnings": oddities(facts, taken.lists, config)}


def _links(files: Files) -> list[str]:
    if not files.links:
        return []
    number = len(files.links)
    return [f"{counted(number, 'link')} to other files, each read once: {files.links[0]}"]


def _settings(config: JobConfig, facts: dict[str, Any]) -> dict[str, Any]:
    """Settings that fit the input, where the defaults do not or leave something to be found out."""
    settings: dict[str, Any] = {"input.path": list(config.input.path)}
    given = config.input.model_dump(mode="json", exclude_defaults=True, exclude={"path"})
    settings |= {f"input.{name}": value for name, value in given.items()}
    order = facts.get("order")
    if order is not None and order["kind"] == "scattered":
        settings["input.order"] = "scattered"
    elif order is not None and order["checked"] != "sample":
        settings["input.order"] = "grouped"
    return settings
