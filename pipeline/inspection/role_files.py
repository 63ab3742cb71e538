"""The files of a role that can be read together, and what a run would say of the others."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from pipeline.config import InputConfig
from pipeline.errors import InputContractError, RerankError
from pipeline.inspection.files import Refusal
from pipeline.sources.listing import files_of
from pipeline.sources.source import Role, Source, open_source


def open_role(
    role: Role, paths: tuple[str, ...], config: InputConfig, *, pass_through: tuple[str, ...] = ()
) -> tuple[Source | None, list[Refusal]]:
    """Open a role as a run does, or without the files that a run would refuse.

    Where files are good one by one but do not agree, those are kept that agree with the first.

    Args:
        role: candidates, corpus or queries.
        paths: files, folders or globs.
        config: of the input.
        pass_through: columns that are copied to the output.

    Raises:
        ConfigurationError: a setting is wrong whatever the files are.
        NotFoundError: a path matches nothing.
    """

    def attempt(*names: str) -> Source | Refusal:
        try:
            return open_source(role, names, config, pass_through=pass_through)
        except RerankError as error:
            return Refusal(path=names[-1], message=str(error))

    try:
        return open_source(role, paths, config, pass_through=pass_through), []
    except InputContractError as error:
        whole = Refusal(path=paths[0], message=str(error))
    try:
        files = files_of(role, paths)
    except InputContractError:  # of the folder, not of its files
        return None, [whole]
    # Empty files are read past beside others, and are an error where there is nothing else.
    names = [file.path for file in files if file.size]
    if len(names) < 2:
        return None, [whole]
    with ThreadPoolExecutor(8) as pool:
        alone = list(pool.map(attempt, names))
    refusals = [one for one in alone if isinstance(one, Refusal)]
    good = [name for name, one in zip(names, alone, strict=True) if isinstance(one, Source)]
    if not good:
        return None, refusals
    together = attempt(*good)
    if isinstance(together, Refusal):
        pairs = {name: attempt(good[0], name) for name in good[1:]}
        refusals += [pair for pair in pairs.values() if isinstance(pair, Refusal)]
        together = attempt(good[0], *(n for n, pair in pairs.items() if isinstance(pair, Source)))
    if isinstance(together, Refusal):
        return None, [*refusals, together]
    return together, refusals or [whole]
