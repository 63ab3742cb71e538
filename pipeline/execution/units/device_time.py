"""How much of their time the replicas' devices were at work."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.execution.units import rows


@dataclass(kw_only=True)
class _Window:
    """From a replica's first unit to its last: epoch seconds, and seconds of work between."""

    began: float
    ended: float
    busy_s: float


class DeviceTime:
    """The devices' work, added up from what each unit's row says.

    The units of a replica have its device one after the other, also where several are in the
    replica at one time, so their times on it add up to those at which it was busy.
    """

    def __init__(self) -> None:
        self._windows: dict[str, _Window] = {}

    @staticmethod
    def of_unit(replica: str, *, began: float, ended: float, busy_s: float) -> rows.Statistics:
        """What a row says of one unit.

        Args:
            replica: the replica's own name.
            began: epoch seconds at which the replica took the unit.
            ended: epoch seconds at which it was through with it.
            busy_s: seconds of the device's work on it.
        """
        return {
            rows.BEGAN: {replica: began},
            rows.ENDED: {replica: ended},
            rows.BUSY: {replica: busy_s},
        }

    def add(self, noted: rows.Statistics) -> None:
        """Add one unit."""
        for replica, began in noted.get(rows.BEGAN, {}).items():
            ended, busy_s = noted[rows.ENDED][replica], noted[rows.BUSY][replica]
            window = self._windows.setdefault(
                replica, _Window(began=began, ended=ended, busy_s=0.0)
            )
            window.began, window.ended = min(window.began, began), max(window.ended, ended)
            window.busy_s += busy_s

    @property
    def busy(self) -> float | None:
        """Share of the replicas' time, from first to last unit, with the device at work."""
        whole = sum(window.ended - window.began for window in self._windows.values())
        busy_s = sum(window.busy_s for window in self._windows.values())
        return min(1.0, busy_s / whole) if whole > 0 else None
