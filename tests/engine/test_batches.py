"""Batches count once the device is through with them, in the order in which it gets them."""

from __future__ import annotations

from typing import Any

from pipeline.engine.batches import BatchesDone


class Watch:
    def __init__(self) -> None:
        self.ended = False

    def wait(self) -> float:
        assert self.ended, "it would wait for the device"
        return 0.5


def test_a_batch_counts_when_its_work_has_ended() -> None:
    batches = BatchesDone()
    first, second = Watch(), Watch()
    watches: list[Any] = [first, second]
    for watch, sequences in zip(watches, (3, 4), strict=True):
        batches.add(watch, sequences=sequences, tokens=10 * sequences)
    assert (batches.sequences, batches.tokens, batches.busy_s) == (0, 0, 0)
    second.ended = True  # a device is through with what was queued first, first
    assert batches.sequences == 0
    first.ended = True
    assert (batches.sequences, batches.tokens, batches.busy_s) == (7, 70, 1.0)
    assert batches.busy_s == 1.0
