"""What a replica's host does for a unit, without its network: ``python -m benchmarks.host_cost``.

The family's forward pass makes everything that a packed cross-encoder takes and gives zeros back,
so what is left is the work around the network. While a GPU computes one unit, another is unpacked,
prepared and put away; ``launch`` alone keeps the device from the next unit. Without a GPU the
device is torch's ``meta``, on which operations are queued as on a GPU and cost nothing.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import typer

from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.engine.engine import Engine
from pipeline.engine.rounds import Readouts
from pipeline.engine.statistics import Statistics
from pipeline.execution.units import rows, stages
from pipeline.rerankers.base import Reranker
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

    from pipeline.sequences.arrays import Floats
    from pipeline.sequences.batch import Batch

#: Documents of a list.
_LIST: Final = 100

#: Tokens of one forward pass, as on a GPU.
_BUDGET: Final = 131_072

#: Units that take turns, so that none is found in the processor's caches.
_UNITS: Final = 6

STEPS: Final = ("unpack", "prepare", "launch", "collect", "put_away")


class NoNetwork(Reranker):
    """Packs a batch as a cross-encoder with token types does; every score is 0."""

    pointwise = True
    can_pack = True

    def encode(self, lists: CandidateLists) -> Sequences:
        """Ids at random, as many as msmarco's passages have under MiniLM: about 89 a pair."""
        random = np.random.default_rng(lists.documents.num_rows)
        spaces = pc.count_substring(lists.documents.column(schema.TEXT), " ").to_numpy()
        lengths = np.clip(((spaces + 1) * 1.35 + 12).astype(np.int64), 20, 512)
        offsets = np.append(0, np.cumsum(lengths)).astype(np.int64)
        ids = random.integers(0, 30_000, int(offsets[-1])).astype(np.int32)
        return Sequences.one_readout_each(
            ids,
            offsets,
            segment_ids=(ids % 7 > 1).astype(np.int8),
            links={"n_tokens": lengths, "truncated": np.zeros(len(lengths), dtype=np.int64)},
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [r, 1]."""
        import torch

        from pipeline.networks.packed import pack

        pack(batch)
        device = "cpu" if batch.device.type == "meta" else batch.device
        return torch.zeros(len(batch.readout_positions), 1, device=device)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Zeros."""
        return readouts[:, 0]


def encoded_unit(documents: int, number: int, reranker: Reranker) -> pa.Table:
    """The row of an encoded unit of made-up texts of 20 to 180 words."""
    random = np.random.default_rng(number)
    letters = np.array(list("abcdefghijklmnopqrstuvwxyz"))
    words = ["".join(random.choice(letters, size)) for size in random.integers(3, 9, 3_000)]
    sizes = np.clip(random.lognormal(4.0, 0.35, documents), 20, 180).astype(int)
    texts = [" ".join(words[i] for i in random.integers(0, 3_000, size)) for size in sizes]
    queries = -(-documents // _LIST)
    ranks = np.arange(documents) % _LIST + 1
    lists = CandidateLists(
        queries=pa.table(
            {
                schema.QUERY_ID: [f"q{i}" for i in range(queries)],
                schema.QUERY: [f"what is {i} and how does it work" for i in range(queries)],
            }
        ),
        offsets=np.minimum(np.arange(queries + 1, dtype=np.int64) * _LIST, documents),
        documents=pa.table(
            {
                schema.DOC_ID: [f"d{i:08d}" for i in range(documents)],
                schema.TEXT: texts,
                schema.FIRST_STAGE_SCORE: pa.array(random.random(documents)),
                schema.FIRST_STAGE_RANK: pa.array(ranks, pa.int32()),
                schema.REASON: pa.nulls(documents, pa.string()),
            }
        ),
    )
    row = rows.row({schema.UNIT: f"unit-{number:08d}", stages.LISTS: lists.to_ipc()})
    return rows.append(row, stages.SEQUENCES, reranker.encode(lists).to_ipc())


def _put_away(
    batch: pa.Table, sequences: Sequences, readouts: Readouts, counted: Statistics
) -> pa.Table:
    scored = stages.pack_readouts(batch, sequences, readouts)
    return rows.with_statistics(scored, {rows.ENGINE: counted.as_dict()})


def measure(documents: int, rounds: int) -> dict[str, Any]:
    """CPU milliseconds of each step for a unit: the median over all units and rounds."""
    import torch

    torch.set_num_threads(1)
    pa.set_cpu_count(1)
    device = torch.device("cuda" if torch.cuda.is_available() else "meta")
    reranker = NoNetwork(settings=None)
    reranker.load(device=device, dtype=torch.float32, packed=True)
    engine = Engine(reranker, device=device, token_budget=_BUDGET)
    units = [encoded_unit(documents, number, reranker) for number in range(_UNITS)]
    spent: dict[str, list[float]] = {step: [] for step in STEPS}

    def timed(step: str, work: Callable[..., Any], *arguments: Any) -> Any:
        began = time.thread_time()
        done = work(*arguments)
        spent[step].append((time.thread_time() - began) * 1e3)
        return done

    tokens = 0
    for _ in range(rounds):
        for batch in units:
            counted = Statistics(units=1)
            _, sequences = timed("unpack", stages.unpack, batch, reranker)
            prepared = timed("prepare", engine.prepare, sequences, counted)
            launched = timed("launch", engine.launch, prepared, counted)
            readouts = timed("collect", engine.collect, launched, counted)
            timed("put_away", _put_away, batch, sequences, readouts, counted)
            tokens = counted.tokens
    milliseconds = {step: round(float(np.median(times)), 3) for step, times in spent.items()}
    return {
        "documents": documents,
        "tokens": tokens,
        "device": str(device),
        "torch": torch.__version__,
        "cpu_ms_per_unit": milliseconds,
        "cpu_ms_in_all": round(sum(milliseconds.values()), 3),
        "cpu_ms_with_the_device": milliseconds["launch"],
    }


def main(
    documents: Annotated[int, typer.Option(min=1, help="Documents of a unit.")] = 5_000,
    rounds: Annotated[int, typer.Option(min=1, help="Times that each unit is taken.")] = 10,
) -> None:
    """Measure what the host does around the network, and print it as one JSON object."""
    print(json.dumps(measure(documents, rounds), indent=2))


if __name__ == "__main__":
    typer.run(main)
