from __future__ import annotations

import threading
from collections.abc import Iterator

from pipeline.execution.runs import reading


def test_results_come_in_order_and_few_items_wait() -> None:
    taken: list[int] = []
    lock = threading.Lock()

    def items() -> Iterator[int]:
        for number in range(3 * reading._AT_ONCE):
            with lock:
                taken.append(number)
            yield number

    coming = reading.mapped(lambda number: -number, items(), threads=4)
    assert next(coming) == 0
    assert len(taken) == reading._AT_ONCE
    assert list(coming) == [-number for number in range(1, 3 * reading._AT_ONCE)]
