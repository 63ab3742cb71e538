"""What an engine did, in numbers that add up over units and replicas."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from pipeline.sequences.batch import Batch


@dataclass(kw_only=True)
class Statistics:
    """Totals of one unit, or of all since the engine was built.

    Attributes:
        units: units scored.
        batches: forward passes that ended well.
        sequences: sequences that went through the model, shared beginnings among them.
        tokens: their tokens.
        computed_tokens: tokens that the network worked on, padding among them.
        halved: batches that did not fit in memory and were cut in two.
        too_large: sequences that did not fit even alone.
        rescored: sequences that came out as NaN or infinity and were scored again in float32.
        prepare_s: seconds in which batches were made for the device, which another unit may have
            had meanwhile.
        launch_s: seconds in which forward passes were queued on the device, which no other unit
            had meanwhile; on CPU the seconds that they took.
        device_s: seconds that the device spent on forward passes; on CPU the seconds that they
            took. No two units of an engine have the device at one time, so sums count nothing
            twice.
        collect_s: seconds of the wait for the device, and of putting what came back in order.
    """

    units: int = 0
    batches: int = 0
    sequences: int = 0
    tokens: int = 0
    computed_tokens: int = 0
    halved: int = 0
    too_large: int = 0
    rescored: int = 0
    prepare_s: float = 0.0
    launch_s: float = 0.0
    device_s: float = 0.0
    collect_s: float = 0.0

    def add(self, batch: Batch, *, computed: int) -> None:
        """Count one forward pass that worked on ``computed`` tokens."""
        self.batches += 1
        self.sequences += len(batch.lengths)
        self.tokens += len(batch.token_ids)
        self.computed_tokens += computed

    def add_all(self, other: Statistics) -> None:
        """Add what was counted elsewhere."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def as_dict(self) -> dict[str, float]:
        """The totals by name."""
        return asdict(self)


def padding_waste(totals: dict[str, float]) -> float:
    """Share of the computed tokens that were padding."""
    computed = totals.get("computed_tokens", 0)
    return 1 - totals["tokens"] / computed if computed else 0.0


class Stopwatch:
    """Seconds that a block kept the device busy, without making the host wait for the device.

    On CUDA by two events in the stream; on CPU by the clock.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._marks: list[Any] = []

    def __enter__(self) -> Stopwatch:
        self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        self._mark()

    def _mark(self) -> None:
        if self.device.type != "cuda":
            self._marks.append(time.perf_counter())
            return
        import torch

        # A thread that waits for a blocking event sleeps, and leaves its core to others.
        event: Any = torch.cuda.Event(enable_timing=True, blocking=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self.device))
        self._marks.append(event)

    @property
    def ended(self) -> bool:
        """Whether the device is through with the block; does not wait for it."""
        if self.device.type != "cuda":
            return len(self._marks) == 2
        return len(self._marks) == 2 and bool(self._marks[1].query())

    def wait(self) -> float:
        """Seconds between the two ends of the block, once the device is through with it."""
        first, last = self._marks
        if self.device.type != "cuda":
            return float(last - first)
        last.synchronize()
        return float(first.elapsed_time(last)) / 1000
