"""sentence-transformers' CrossEncoder: all pairs in one call, or one call per query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.harness.contender import Contender, pairs_of
from pipeline import schema
from pipeline.bench.engines import Scored
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists


class _Library(Contender):
    """A loaded CrossEncoder that counts the tokens its network works on."""

    def __init__(self, subject: Subject) -> None:
        import torch
        from sentence_transformers import CrossEncoder

        sigmoid = subject.shape.family != "cross_encoder"
        self.activation: Any = torch.nn.Sigmoid() if sigmoid else torch.nn.Identity()
        self.model = CrossEncoder(
            str(subject.twin),
            device=subject.device.type,
            max_length=subject.shape.settings.get("max_length"),
            model_kwargs={"dtype": subject.torch_dtype},
            local_files_only=True,
        )
        self.computed = 0
        # The library calls the network's forward by name, past hooks on the network itself.
        network: Any = self.model.model
        network.get_input_embeddings().register_forward_pre_hook(self._count)

    def _count(self, _: Any, args: tuple[Any, ...]) -> None:
        self.computed += args[0].numel()


class Predict(_Library):
    """``predict`` over everything: sorted by characters, fixed batches, padded."""

    def __init__(self, subject: Subject, *, batch_size: int) -> None:
        super().__init__(subject)
        self.batch_size = batch_size
        self.name = "st-predict" if batch_size == 32 else f"st-predict-{batch_size}"
        self.about = f"sentence-transformers, predict() in one call, batches of {batch_size}"

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """All units in one call."""
        self.computed = 0
        pairs = [pair for lists in units for pair in pairs_of(lists)]
        scores = self.model.predict(
            pairs,
            batch_size=self.batch_size,
            activation_fn=self.activation,
            show_progress_bar=False,
        )
        return Scored(scores=np.asarray(scores, dtype=np.float32), computed=self.computed)


class Rank(_Library):
    """``rank`` for each query."""

    name = "st-rank"
    about = "sentence-transformers, rank() per query, batches of 32"

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """One call per list."""
        self.computed = 0
        scores = []
        for lists in units:
            queries = lists.queries.column(schema.QUERY).to_pylist()
            texts = lists.documents.column(schema.TEXT).to_pylist()
            for place, query in enumerate(queries):
                documents = texts[lists.offsets[place] : lists.offsets[place + 1]]
                found = np.empty(len(documents), dtype=np.float32)
                for row in self.model.rank(
                    query, documents, activation_fn=self.activation, show_progress_bar=False
                ):
                    found[int(row["corpus_id"])] = float(row["score"])
                scores.append(found)
        return Scored(scores=np.concatenate(scores), computed=self.computed)
