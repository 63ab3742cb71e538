"""What an engine did, in numbers that add up over replicas."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from pipeline.sequences.batch import Batch


@dataclass(kw_only=True)
class Statistics:
    """Totals since the engine was built.

    Attributes:
        units: units scored.
        batches: forward passes that ended well.
        sequences: sequences that went through the model, shared beginnings among them.
        tokens: their tokens.
        computed_tokens: tokens that the network worked on, padding among them.
        halved: batches that did not fit in memory and were cut in two.
        too_large: sequences that did not fit even alone.
        rescored: sequences that came out as NaN or infinity and were scored again in float32.
        device_s: seconds that the device spent on forward passes; on CPU the seconds that they
            took.
        collect_s: seconds of the one copy per round from the device, the wait for it among them.
    """

    units: int = 0
    batches: int = 0
    sequences: int = 0
    tokens: int = 0
    computed_tokens: int = 0
    halved: int = 0
    too_large: int = 0
    rescored: int = 0
    device_s: float = 0.0
    collect_s: float = 0.0

    def add(self, batch: Batch, *, computed: int) -> None:
        """Count one forward pass that worked on ``computed`` tokens."""
        self.batches += 1
        self.sequences += len(batch.lengths)
        self.tokens += len(batch.token_ids)
        self.computed_tokens += computed

    def as_dict(self) -> dict[str, float]:
        """The totals by name."""
        return asdict(self)


def padding_waste(totals: dict[str, float]) -> float:
    """Share of the computed tokens that were padding."""
    computed = totals.get("computed_tokens", 0)
    return 1 - totals["tokens"] / computed if computed else 0.0


class Stopwatch:
    """Seconds that a block kept the device busy, without making the host wait for the device.

    On CUDA by two events in the stream, read once the block has ended in a copy to the host; on CPU
    by the clock.
    """

    def __init__(self, device: torch.device) -> None:
        self.cuda = device.type == "cuda"
        self._marks: list[Any] = []

    def __enter__(self) -> Stopwatch:
        self._mark()
        return self

    def __exit__(self, *_: object) -> None:
        self._mark()

    def _mark(self) -> None:
        if not self.cuda:
            self._marks.append(time.perf_counter())
            return
        import torch

        event: Any = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record()
        self._marks.append(event)

    @property
    def seconds(self) -> float:
        """Between the two ends of the block."""
        first, last = self._marks
        if not self.cuda:
            return float(last - first)
        last.synchronize()
        return float(first.elapsed_time(last)) / 1000
