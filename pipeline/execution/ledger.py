"""The driver's counts of every unit, and the checks that it makes as units are committed."""

from __future__ import annotations

import logging
import time
from array import array
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from pipeline.candidates.reading import split_query_error
from pipeline.candidates.reasons import OF_QUERIES
from pipeline.errors import QuarantineError, RunFailedError
from pipeline.execution.live.snapshot import MODEL_RAISED, STORE_RETRIED, UNIT_SUSPECTED
from pipeline.execution.preparation import Prepared
from pipeline.execution.progress import Progress
from pipeline.execution.replicas.choice import PlacementChoice
from pipeline.execution.runs import attempts
from pipeline.execution.runs.packed_counts import PackedCounts
from pipeline.execution.runs.run_files import read_sealed
from pipeline.execution.runs.run_folder import RunFolder
from pipeline.execution.runs.unit_counts import Totals, UnitCounts, query_hashes
from pipeline.execution.startup import REPLICA, Startup
from pipeline.execution.unit_notes import report_of
from pipeline.execution.units import rows
from pipeline.execution.units.device_time import DeviceTime
from pipeline.execution.units.replica_notes import ReplicaNotes
from pipeline.execution.units.rows import Statistics, SuspectUnit
from pipeline.hashes import HashSet
from pipeline.schema import QUERY_ID
from pipeline.storage import counters

logger = logging.getLogger("pipeline")

#: A unit that takes longer loses more than half a minute of work when its worker is preempted.
_LONG_UNIT_S: Final = 30.0

#: Queries of a large run are compared with those before them many at a time, which takes less than
#: half the time: up to this part of those before, so that no error comes much later.
_MOST_UNSEEN: Final = 256


class Ledger:
    """Counts of every committed unit and of this session's work.

    Attributes:
        units: counts of all of them.
        suspects: units set aside because they killed their workers or made the model raise.
        progress: the counters that are shown.
        startup: when each phase of the start was reached.
        placement: where units were worked on last, and by how many replicas; None before that.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.units = PackedCounts(unit.name for unit in prepared.plan.units)
        self.suspects: dict[str, SuspectUnit] = {}
        self.progress = Progress(
            units=len(prepared.plan.units), documents_planned=prepared.plan.documents
        )
        self.startup = Startup(prepared.begun)
        self.placement: PlacementChoice | None = None
        self._replicas = ReplicaNotes()
        self._folder: RunFolder = prepared.folder
        self._limits = prepared.config.quarantine
        self._queries = HashSet()
        self._unseen: list[UnitCounts] = []
        self._unseen_queries = 0
        self._held = Totals()
        self._totals: Statistics = {}
        self._device_time = DeviceTime()
        self._unit_seconds = array("d")
        self._different: list[str] = []
        self._repaired: list[str] = []
        self._agreement: dict[str, float] | None = None
        self._failures = self._raised = self._set_aside = 0
        counters.take()  # what happened before this session is not its own
        self._cpu_before = time.process_time()

    def add(self, counts: UnitCounts, *, resumed: bool = False) -> None:
        """Count one committed unit.

        Raises:
            InputContractError: it, or one of those before it that were not looked at yet, holds a
                query that another unit holds.
            QuarantineError: too many of its candidates were quarantined.
        """
        if counts.unit in self.units:
            return  # a retried task reports again, a repaired unit is the same
        self.units.add(counts)
        self._held.add(counts)
        self.suspects.pop(counts.unit, None)
        self.progress.add(counts, resumed=resumed)
        self._unseen.append(counts)
        self._unseen_queries += len(counts.query_hashes)
        if self._unseen_queries > len(self._queries) // _MOST_UNSEEN:
            self.refuse_repeated_queries()
        self._refuse_bad_unit(counts)

    def note(self, unit: str, stats: Statistics) -> None:
        """Add what the workers noted about a unit that this session finished."""
        self._failures = 0
        ready = self._replicas.take(stats)
        if ready is not None:
            self.startup.reached(REPLICA, at=ready)
        agreement = stats.pop(rows.AGREEMENT, None)  # no number of which sums mean anything
        if agreement is not None:
            self._note_agreement(agreement)
        self._totals = rows.added(self._totals, stats)
        self._device_time.add(stats)
        self._unit_seconds.append(sum(stats.get(rows.SECONDS, {}).values(), 0.0))
        events = stats.get(rows.UNIT_EVENTS, {})
        if events.get("nondeterministic"):
            self._different.append(unit)
            logger.error(
                "NOT DETERMINISTIC: unit %s was committed before, and scoring it again gave other "
                "bytes; the first file stands. The model gives different scores on this hardware "
                "from one time to the next: set engine.deterministic, and do not mix kinds of GPU",
                unit,
            )
        if events.get("repaired"):
            self._repaired.append(unit)
            logger.warning("unit %s: its file was damaged, and is whole again", unit)

    def note_store_events(self, stats: Statistics) -> None:
        """Add the store events of a row that is no committed unit's."""
        self._totals = rows.added(self._totals, rows.store_events(stats))

    def set_aside(self, suspect: SuspectUnit) -> None:
        """Set a unit aside for later.

        Raises:
            RunFailedError: workers keep failing, and no unit is finished in between.
        """
        self.suspects[suspect.unit] = suspect
        self._failures += suspect.failures
        if suspect.failures > 1:
            self._set_aside += 1
        else:
            self._raised += 1
        why = attempts.in_a_line(suspect.stderr_tail)
        logger.warning("unit %s: set aside (failures: %d): %s", suspect.unit, suspect.failures, why)
        if self._failures > self._limits.max_crashes:
            raise RunFailedError(
                f"workers failed {self._failures} times and no unit was finished in between, more "
                f"than quarantine.max_crashes = {self._limits.max_crashes}; finished units are "
                f"kept. Last words:\n{suspect.stderr_tail or '(none)'}"
            )

    def refuse_repeated_queries(self) -> None:
        """Look at the queries of units that were added and not looked at yet.

        Raises:
            InputContractError: two units hold the same one.
        """
        units, self._unseen, self._unseen_queries = self._unseen, [], 0
        for counts, new in zip(units, self._new_queries(units), strict=True):
            repeated = counts.query_hashes[~new]
            if len(repeated):
                raise split_query_error(self._query_id(counts, repeated[0]), "over several units")

    def _new_queries(self, units: list[UnitCounts]) -> list[npt.NDArray[np.bool_]]:
        """bool [queries] for each of some units: that no unit before has the query."""
        if not units:
            return []
        hashes = [counts.query_hashes for counts in units]
        new = self._queries.add(np.concatenate(hashes))
        return np.split(new, np.cumsum([len(some) for some in hashes[:-1]]))

    def refuse_too_many_errors(self, path: str) -> None:
        """Check the share of bad candidates of the whole run.

        Raises:
            QuarantineError: more candidates were quarantined than ``max_error_rate`` allows.
        """
        held = self._held
        if held.documents and held.quarantined / held.documents > self._limits.max_error_rate:
            raise self._too_many(path, held, "max_error_rate")

    def retries(self) -> dict[str, int]:
        """What was tried again in this session, as far as the rows of units tell."""
        store = self._totals.get(rows.STORAGE, {})
        return {
            MODEL_RAISED: self._raised,
            UNIT_SUSPECTED: self._set_aside,
            STORE_RETRIED: int(sum(n for event, n in store.items() if "retries" in event)),
        }

    def report(self) -> dict[str, Any]:
        """What this session did, in numbers."""
        totals = self._totals
        driver = {rows.STORAGE: dict[str, float](counters.take())}
        store = rows.added(driver, rows.store_events(totals))[rows.STORAGE]
        cpu = totals.get(rows.CPU_SECONDS, {}) | {"driver": time.process_time() - self._cpu_before}
        seconds, busy = self._unit_seconds, self._device_time.busy
        return {
            "units_done_before": len(self.units) - len(seconds),
            "units_done_now": len(seconds),
            "units_suspected": {
                unit: suspect.stderr_tail for unit, suspect in self.suspects.items()
            },
            "units_not_deterministic": sorted(self._different),
            "units_repaired": sorted(self._repaired),
            "documents_per_s": round(self.progress.documents_per_s, 1) if seconds else 0.0,
            "documents_reused": self.progress.reused_now,
            "seconds": round(self.progress.elapsed_s, 1) if seconds else 0.0,
            "unit_seconds": _percentiles(seconds),
            "cpu_seconds": {name: round(value, 3) for name, value in cpu.items()},
            "storage": {name: int(number) for name, number in sorted(store.items())},
            "engine": {name: round(v, 3) for name, v in totals.get(rows.ENGINE, {}).items()},
            "device_busy": None if busy is None else round(busy, 3),
            "rescored_in_float32": int(totals.get(rows.UNIT_EVENTS, {}).get("rescored", 0)),
            "replicas": self._replicas.report(),
            "place": None if self.placement is None else self.placement.place,
            "placement": None if self.placement is None else str(self.placement),
            "startup": self.startup.seconds,
            "agreement": self._agreement,
            "quarantined": self._held.reasons,
            "special_tokens": self._held.special_tokens,
            **report_of(totals),
        }

    def warn_if_units_are_long(self) -> None:
        """Warn when a preemption would cost more than half a minute of work."""
        longest = _percentiles(self._unit_seconds)["p95"]
        if longest > _LONG_UNIT_S:
            logger.warning(
                "95 %% of the units took up to %.0f s; a worker that is preempted loses one. Lower "
                "units.documents to stay within %.0f s",
                longest,
                _LONG_UNIT_S,
            )

    def _note_agreement(self, found: dict[str, float]) -> None:
        """Keep the worst of all replicas, number by number; of documents how many they compared."""
        logger.info(
            "a replica's quantised scores and the reference's, on %d documents: largest difference "
            "%.2g, overlap of the best %.3f, Kendall's tau %.3f",
            found["documents"],
            found["most"],
            found["overlap"],
            found["tau"],
        )
        worst = self._agreement or {"documents": 0, "most": 0.0, "overlap": 1.0, "tau": 1.0}
        self._agreement = {
            "documents": worst["documents"] + found["documents"],
            "most": max(worst["most"], found["most"]),
            "overlap": min(worst["overlap"], found["overlap"]),
            "tau": min(worst["tau"], found["tau"]),
        }

    def _query_id(self, counts: UnitCounts, wanted: np.uint64) -> object:
        """The query of a unit that has a hash; one without candidates is in its quarantine."""
        paths = self._folder.files(counts.unit, counts.parts)
        if OF_QUERIES & counts.reasons.keys():
            paths.append(self._folder.quarantine(counts.unit))
        for path in paths:
            ids = read_sealed(path, columns=[QUERY_ID]).column(0).drop_null().unique()
            places = np.flatnonzero(query_hashes(ids) == wanted)
            if len(places):
                return ids[int(places[0])].as_py()
        return "(one that the unit's files do not name)"

    def _refuse_bad_unit(self, counts: UnitCounts) -> None:
        allowed = max(self._limits.max_unit_error_rate, self._limits.max_error_rate)
        if counts.documents and counts.quarantined / counts.documents > allowed:
            path = self._folder.quarantine(counts.unit)
            raise self._too_many(path, Totals.of([counts]), "max_unit_error_rate")

    def _too_many(self, path: str, held: Totals, setting: str) -> QuarantineError:
        quarantined, documents = held.quarantined, held.documents
        named = ", ".join(
            f"{code} {n}" for code, n in held.reasons.items() if code not in OF_QUERIES
        )
        return QuarantineError(
            f"{path}: {quarantined} of {documents} candidates ({quarantined / documents:.1%}) "
            f"could not be scored ({named}), more than quarantine.{setting} = "
            f"{getattr(self._limits, setting):g}; the run is not published. Repair the input, or "
            "raise the limit and run again: finished units are kept"
        )


def _percentiles(seconds: array[float]) -> dict[str, float]:
    if not seconds:
        return {"p50": 0.0, "p95": 0.0}
    middle, high = np.percentile(seconds, [50, 95])
    return {"p50": round(float(middle), 3), "p95": round(float(high), 3)}
