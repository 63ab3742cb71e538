"""jina-reranker-v2's ``compute_score`` as it batches: 32 pairs in the order in which they come.

Every batch is tokenised pair by pair by transformers' tokenizer in the thread that launches the
kernels, padded to its longest, and its scores are fetched before the next batch begins. v1's
``compute_score`` does the same, and so do most libraries. The network is transformers' own; where
transformers has none (JinaBERT) it is this package's, which computes the last layer at the first
token only, so the peer is a little faster than upstream's code.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.harness.contender import Contender, pairs_of
from pipeline.bench.engines import Scored
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists

if TYPE_CHECKING:
    import torch

_BATCH: Final = 32


class ArrivalOrder(Contender):
    """Batches of 32 in arrival order, one fetch each."""

    name = "jina-v2-policy"
    about = "upstream's compute_score(): arrival order, batches of 32, one sync each"

    def __init__(self, subject: Subject) -> None:
        from transformers import AutoTokenizer

        folder = subject.twin or subject.folder
        self.tokenizer: Any = AutoTokenizer.from_pretrained(str(folder), local_files_only=True)
        self.max_length = subject.shape.settings.get("max_length", 1024)
        self.sigmoid = subject.shape.family != "cross_encoder"
        self.device = subject.device
        self.logits = _transformers(subject) if subject.twin else _jina_bert(subject)

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Batches run over the borders of lists, as in one call with all pairs."""
        import torch

        pairs = [pair for lists in units for pair in pairs_of(lists)]
        scores, computed = [], 0
        with torch.inference_mode():
            for start in range(0, len(pairs), _BATCH):
                batch = self.tokenizer(
                    pairs[start : start + _BATCH],
                    padding=True,
                    truncation=True,
                    max_length=self.max_length,
                    return_tensors="pt",
                ).to(self.device)
                computed += batch["input_ids"].numel()
                logits = self.logits(dict(batch)).float().view(-1)
                scores.append((logits.sigmoid() if self.sigmoid else logits).cpu().numpy())
        return Scored(scores=np.concatenate(scores), computed=computed)


def _transformers(subject: Subject) -> Callable[[dict[str, Any]], torch.Tensor]:
    from transformers import AutoModelForSequenceClassification

    network: Any = AutoModelForSequenceClassification.from_pretrained(
        str(subject.twin), dtype=subject.torch_dtype, local_files_only=True
    )
    network.to(subject.device).eval()

    def logits(batch: dict[str, Any]) -> torch.Tensor:
        found: torch.Tensor = network(**batch).logits
        return found

    return logits


def _jina_bert(subject: Subject) -> Callable[[dict[str, Any]], torch.Tensor]:
    from pipeline.engine.build import build_reranker
    from pipeline.engine.packing import gather
    from pipeline.sequences.sequences import Sequences

    reranker = build_reranker(subject.model)
    reranker.load(device=subject.device, dtype=subject.torch_dtype, packed=False)

    def logits(batch: dict[str, Any]) -> torch.Tensor:
        ids, mask = (batch[name].cpu().numpy() for name in ("input_ids", "attention_mask"))
        sequences = Sequences.one_readout_each(
            ids[mask == 1].astype(np.int32), np.append(0, np.cumsum(mask.sum(axis=1)))
        )
        found = reranker.forward(gather(sequences, np.arange(len(ids)), subject.device))
        assert not isinstance(found, np.ndarray), "a network gives tensors"
        return found

    return logits
