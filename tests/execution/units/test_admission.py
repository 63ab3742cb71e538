"""Who is in a process together: no more than its slots, and nobody beside one that is alone."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice

import pytest

from pipeline.execution.units.admission import Admission

PATIENCE_S = 60.0


def test_as_many_as_there_are_slots_are_together() -> None:
    admission, together = Admission(slots=2), threading.Barrier(2)

    def unit() -> None:
        with admission.beside_others():
            together.wait(PATIENCE_S)

    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(unit) for _ in range(2)]:
            done.result(PATIENCE_S)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_nobody_is_beside_one_that_is_alone(slots: int) -> None:
    admission = Admission(slots)
    inside: list[str] = []
    seen: list[tuple[str, ...]] = []

    def unit(how: str) -> None:
        with admission.alone() if how == "alone" else admission.beside_others():
            inside.append(how)
            seen.append(tuple(inside))
            inside.remove(how)

    units = list(islice(cycle(["beside", "alone", "beside", "beside", "alone"]), 400))
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(unit, units))
    assert len(seen) == len(units)
    assert all(len(together) <= slots for together in seen)
    assert all(together == ("alone",) for together in seen if "alone" in together)


def test_a_unit_that_fails_makes_room() -> None:
    admission = Admission()
    for enter in (admission.beside_others, admission.alone, admission.beside_others):
        with pytest.raises(ValueError, match="no"), enter():
            raise ValueError("no")
