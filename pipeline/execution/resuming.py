"""From a run's folder back to the job that it is, or a refusal that names what has changed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pipeline.config import JobConfig, load_config
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.execution.preparation import Prepared, prepare
from pipeline.execution.run_folder import RunFolder


def prepare_again(
    folder: RunFolder,
    overrides: Sequence[str] = (),
    *,
    allow_code: frozenset[str] = frozenset(),
) -> Prepared:
    """Prepare the job of ``run.json`` for the same folder.

    Args:
        folder: the run, wherever it lies now.
        overrides: ``KEY=VALUE``; they may change replicas, Ray and limits, but no score.
        allow_code: modules outside this package that the user allows to be imported.

    Raises:
        InputContractError: an input file has changed, is new or is gone; names it.
        ConfigurationError: something else changed that changes scores; names it. Or the folder
            was renamed.
        DamagedRunError: ``run.json`` is damaged.
    """
    described = folder.describe()
    run_id, name = described["run_id"], folder.path.rpartition("/")[2]
    if name != run_id:
        raise ConfigurationError(
            f"{folder.path}: this is run {run_id}, which lies in a folder of that name; rename it "
            f"back to {run_id} to resume it"
        )
    config = load_config(
        JobConfig, described["config"], source=f"{folder.path}/run.json", overrides=overrides
    )
    here = config.output.model_copy(update={"path": folder.path.rpartition("/")[0]})
    config = config.model_copy(update={"output": here})
    prepared = prepare(config, allow_code=allow_code)
    if prepared.plan.run_id != described["run_id"]:
        _refuse(folder, described, prepared)
    return prepared


def _refuse(folder: RunFolder, described: dict[str, Any], prepared: Prepared) -> None:
    now = prepared.description()
    before_files = {file["path"]: file for file in described["input"]}
    now_files = {file["path"]: file for file in now["input"]}
    for path in sorted(before_files.keys() | now_files.keys()):
        if before_files.get(path) != now_files.get(path):
            what = "is new" if path not in before_files else "has changed"
            raise InputContractError(
                f"{path}: {what if path in now_files else 'is gone'} since this run was planned, "
                f"so {folder.path} cannot be resumed; start the job anew, which makes a run of its "
                "own and leaves this one as it is"
            )
    changed = sorted(
        f"{section}.{name}"
        for section in ("model", "versions", "config")
        for name in described[section].keys() | now[section].keys()
        if described[section].get(name) != now[section].get(name)
    )
    before, after = (model.get("files", {}) for model in (described["model"], now["model"]))
    files = sorted(n for n in before.keys() | after.keys() if before.get(n) != after.get(n))
    if files:
        changed[changed.index("model.files")] = f"model.files ({', '.join(files)})"
    raise ConfigurationError(
        f"{folder.path}: cannot be resumed, for the scores would change; different now: "
        f"{', '.join(changed)}. Start the job anew, which makes a run of its own"
    )
