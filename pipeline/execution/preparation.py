"""From a configuration, or a run's folder, to a plan and a place to write: no Ray, no torch."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import pipeline
from pipeline.candidates.inputs import Input
from pipeline.candidates.planning import Plan, Unit, plan_units
from pipeline.candidates.reuse import ReuseTable
from pipeline.checkpoints.naming import settled
from pipeline.cluster.nodes import Nodes
from pipeline.config import JobConfig, ReplicasConfig, load_config
from pipeline.engine.build import build_reranker
from pipeline.errors import ConfigurationError, InputContractError
from pipeline.execution.calibrated_scores import FoundCalibration, found_calibration
from pipeline.execution.live.slow import told_while_slow
from pipeline.execution.own_output import refuse_own_output
from pipeline.execution.replicas.choice import PlacementChoice, chosen
from pipeline.execution.replicas.choice import settled as settled_replicas
from pipeline.execution.replicas.memory import replica_bytes
from pipeline.execution.replicas.nodes import nodes_for
from pipeline.execution.reused_scores import (
    FindTable,
    found_table,
    left_over,
    refuse_own_columns,
    table_of_run,
)
from pipeline.execution.runs.identity import (
    ModelIdentity,
    fingerprint,
    model_identity,
    score_fingerprint,
)
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.staged_input import OtherCopyError, StagedInput, opened
from pipeline.execution.unit_size import UnitSize, unit_size
from pipeline.outputs import finding
from pipeline.rerankers.base import WeightedReranker
from pipeline.storage.policy import set_retry_policy
from pipeline.storage.store import absolute, join

_PACKAGES = ("ray", "torch", "transformers", "tokenizers", "pyarrow", "numpy")


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A job that is ready to run.

    Attributes:
        config: the job with its model section resolved, and numbers in its section ``replicas``.
        asked: that section as it was asked for, but with the number of GPUs of each replica.
        nodes: what there is to compute on.
        replica_bytes: memory that a replica on CPU takes; None: not known.
        placement: where all units would be worked on, and by how many replicas.
        model: identity of the model.
        source: the opened input.
        plan: the units.
        size: how large units are, and why.
        folder: where the run is or will be.
        begun: when planning began, by :func:`time.time`.
        staged: the copy that is read in place of the input; None: the input itself is.
        reuse: the table of scores that are taken from an earlier run; None: none is.
        calibration: makes probabilities of scores; None: none are written.
        allow_code: modules outside this package that the user allows to be imported; never
            written down, so that a run's folder cannot say it.
    """

    config: JobConfig
    asked: ReplicasConfig
    nodes: Nodes
    replica_bytes: int | None
    placement: PlacementChoice
    model: ModelIdentity
    source: Input
    plan: Plan
    size: UnitSize
    folder: RunFolder
    begun: float
    staged: StagedInput | None = None
    reuse: ReuseTable | None = None
    calibration: FoundCalibration | None = None
    allow_code: frozenset[str] = frozenset()

    def placed(self, todo: Sequence[Unit]) -> PlacementChoice:
        """Where these units are worked on, and by how many replicas."""
        return chosen(
            self.config.model_copy(update={"replicas": self.asked}), self.nodes, self.size, todo,
            whole=self.source.documents, each=self.replica_bytes, network=bool(self.model.digest),
        )  # fmt: skip

    def description(self) -> dict[str, Any]:
        """Content of ``run.json``."""
        staged = {} if self.staged is None else {"staging": self.staged.described()}
        reuse = {} if self.reuse is None else {"reuse": self.reuse.described()}
        known = self.calibration
        calibration = {} if known is None else {"calibration": {"sha256": known.digest}}
        return (
            staged
            | reuse
            | calibration
            | {
                "run_id": self.plan.run_id,
                "fingerprint": self.plan.fingerprint,
                "score_fingerprint": score_fingerprint(self.model),
                "model": asdict(self.model),
                # Another machine shares its work out among other numbers of replicas.
                "config": self.config.model_dump(mode="json")
                | {"replicas": self.asked.model_dump(mode="json")},
                "input": [f.identity.described() | {"rows": f.rows} for f in self.source.files],
                "layout": self.source.columns.layout,
                "units": asdict(self.size),
                "versions": _versions(),
            }
        )


def prepare(
    config: JobConfig,
    *,
    allow_code: frozenset[str] = frozenset(),
    size: UnitSize | None = None,
    staying: ExitStack | None = None,
    copy_id: str | None = None,
    stage: bool = True,
    reuse: FindTable | None = None,
) -> Prepared:
    """Resolve the model, open the input, or a staged copy of it, cut it into units.

    Args:
        config: the job.
        allow_code: modules outside this package that the user allows to be imported.
        size: how the input was cut before; None: as the job says.
        staying: takes Ray over, where it was started to make a copy, or joined to see what a
            cluster has; None: it is ended before this returns.
        copy_id: the copy that must come of the input; None: any.
        stage: whether a copy may be made, or must be there.
        reuse: gives the table of scores that are taken from an earlier run; None: there is none.

    Raises:
        ConfigurationError, NotFoundError, ModelError, InputContractError: see their classes.
        DamagedRunError: the table is not as it was written.
        NotStagedError: there is no copy, and none may be made.
    """
    begun = time.time()
    set_retry_policy(config.storage)
    finding.find_all(config.output.formats)  # a wrong name is said before anything is opened
    refuse_own_output(config)
    if reuse is not None:
        refuse_own_columns(config)
    config = config.model_copy(update={"model": settled(config.model)})
    reranker = build_reranker(config.model, images=config.input.images, allow_code=allow_code)
    with ExitStack() as ending:
        nodes = nodes_for(config, staying or ending, starting=staying is not None)
        config = settled_replicas(config, nodes, network=isinstance(reranker, WeightedReranker))
        with told_while_slow("the files of the model: they are found, fetched if needed, hashed"):
            model = model_identity(config, reranker)
        calibration = found_calibration(config, model)
        with told_while_slow("the input to be opened, and a copy of it to be made if it needs one"):
            source, staged = opened(config, staying or ending, copy_id=copy_id, stage=stage)
    table = None if reuse is None else found_table(reuse, source, model, reranker)
    with told_while_slow("the plan: the input's footers, and a sample of its texts"):
        if size is None:
            size = left_over(unit_size(config, source, reranker), table)
        plan = plan_units(
            source,
            documents=size.documents,
            first=size.first,
            fingerprint=fingerprint(
                config,
                model,
                reuse=None if table is None else table.table_id,
                calibration=None if calibration is None else calibration.digest,
            ),
            limit=config.limit,
        )
    folder = RunFolder(join(absolute(config.output.path), plan.run_id))
    each = replica_bytes(reranker, model.dtype)
    placement = chosen(
        config, nodes, size, plan.units, whole=source.documents, each=each,
        network=bool(model.digest),
    )  # fmt: skip
    return Prepared(
        config=config.model_copy(update={"replicas": placement.replicas}),
        asked=config.replicas,
        nodes=nodes,
        replica_bytes=each,
        placement=placement,
        model=model,
        source=source,
        plan=plan,
        size=size,
        folder=folder,
        begun=begun,
        staged=staged,
        reuse=table,
        calibration=calibration,
        allow_code=allow_code,
    )


def prepare_again(
    folder: RunFolder,
    overrides: Sequence[str] = (),
    *,
    allow_code: frozenset[str] = frozenset(),
    staying: ExitStack | None = None,
) -> Prepared:
    """Prepare the job of ``run.json`` for the same folder.

    Args:
        folder: the run, wherever it lies now.
        overrides: ``KEY=VALUE``; they may change replicas, Ray and limits, but no score.
        allow_code: modules outside this package that the user allows to be imported.
        staying: as in :func:`prepare`.

    Raises:
        InputContractError: an input file has changed, is new or is gone; names it.
        ConfigurationError: something else changed that changes scores; names it. Or the folder
            was renamed.
        NotFoundError: the run's reuse table is gone.
        DamagedRunError: ``run.json`` or that table is damaged.
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
    staging = described.get("staging")
    try:
        prepared = prepare(
            config,
            allow_code=allow_code,
            size=_size_before(described, config),
            staying=staying,
            copy_id=None if staging is None else staging["copy_id"],
            reuse=table_of_run(described, here.path),
        )
    except OtherCopyError as error:
        raise _changed_sources(folder, described["staging"], error.sources) from None
    if prepared.plan.run_id != described["run_id"]:
        _refuse_changed(folder, described, prepared)
    return prepared


def _size_before(described: dict[str, Any], config: JobConfig) -> UnitSize | None:
    """How the run was cut; None where that is not written down, or is to be changed."""
    units = described.get("units")
    before = described["config"].get("units", {}).get("documents")
    if units is None or before != config.units.documents:
        return None
    return UnitSize(**{name: units[name] for name in ("documents", "first", "reason", "seconds")})


def _changed_sources(
    folder: RunFolder, staging: dict[str, Any], now: list[dict[str, Any]]
) -> InputContractError:
    """The refusal of a run whose sources are not those that its staged copy was made of."""
    files = (
        [f for source in sources for f in source["files"]] for sources in (staging["sources"], now)
    )
    return _difference(folder, *files) or InputContractError(
        f"{folder.path}: cannot be resumed, for what its staged copy was made of is read "
        "differently now; start the job anew, which makes a run of its own"
    )


def _difference(
    folder: RunFolder, before: list[dict[str, Any]], now: list[dict[str, Any]]
) -> InputContractError | None:
    """The refusal that names the first file that is not as it was."""
    before_files = {file["path"]: file for file in before}
    now_files = {file["path"]: file for file in now}
    for path in sorted(before_files.keys() | now_files.keys()):
        if before_files.get(path) != now_files.get(path):
            what = "is new" if path not in before_files else "has changed"
            return InputContractError(
                f"{path}: {what if path in now_files else 'is gone'} since this run was planned, "
                f"so {folder.path} cannot be resumed; start the job anew, which makes a run of its "
                "own and leaves this one as it is"
            )
    return None


def _refuse_changed(folder: RunFolder, described: dict[str, Any], prepared: Prepared) -> None:
    now = prepared.description()
    different = _difference(folder, described["input"], now["input"])
    if different is not None:
        raise different
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
    if described.get("calibration") != now.get("calibration"):
        changed.append("the file of output.calibration")
    raise ConfigurationError(
        f"{folder.path}: cannot be resumed, for the scores would change; different now: "
        f"{', '.join(changed)}. Start the job anew, which makes a run of its own"
    )


def _versions() -> dict[str, str]:
    versions = {"rerank-pipeline": pipeline.__version__, "python": sys.version.split()[0]}
    for name in _PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions
