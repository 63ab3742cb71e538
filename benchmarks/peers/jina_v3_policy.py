"""jina-reranker-v3's ``rerank`` as it batches: one window of one query per forward pass.

Every text is tokenised alone for its length, the window's prompt is built as one string and
tokenised again, the whole prompt goes through the network with all hidden states kept, and the
readouts are fetched before the next window. Prompt, limits and the merge of windows follow the code
published with the weights. The projector runs in float32, as in this package, so that scores differ
by batching alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from benchmarks.harness.contender import Contender
from pipeline import schema
from pipeline.bench.engines import Scored
from pipeline.bench.subject import Subject
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.networks.loading import build, load_weights
from pipeline.prompts.listwise_prompt import DOCUMENT_READOUT, HEAD, QUERY_READOUT

if TYPE_CHECKING:
    import numpy.typing as npt

    Floats = npt.NDArray[np.float32]

_TAIL: Final = "\n</query><|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_WINDOW, _LONGEST_DOCUMENT, _LONGEST_QUERY = 125, 2_048, 512


class WindowByWindow(Contender):
    """One window at a time."""

    name = "jina-v3-policy"
    about = "upstream's rerank(): one window per forward pass, batch 1, one sync each"

    def __init__(self, subject: Subject) -> None:
        import torch
        from transformers import AutoTokenizer, Qwen3Model

        from pipeline.networks.network_config import network_config

        checkpoint = Checkpoint(subject.folder)
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            str(subject.folder), local_files_only=True
        )
        self.room = int(checkpoint.json("tokenizer_config.json")["model_max_length"])
        special = self.tokenizer.get_added_vocab()
        self.readouts = [special[token] for token in (DOCUMENT_READOUT, QUERY_READOUT)]
        self.device = subject.device
        where = checkpoint.folder / "config.json"
        config = network_config(checkpoint.config, kind="qwen3", where=where)
        width = config.hidden_size
        self.network: Any = build(
            lambda: torch.nn.ModuleDict(
                {
                    "model": Qwen3Model(config),
                    "projector": torch.nn.Sequential(
                        torch.nn.Linear(width, width // 2, bias=False),
                        torch.nn.ReLU(),
                        torch.nn.Linear(width // 2, 512, bias=False),
                    ),
                }
            ),
            dtype=subject.torch_dtype,
        )
        load_weights(self.network, checkpoint, heads=("projector",), device=subject.device)

    def score(self, units: Sequence[CandidateLists]) -> Scored:
        """Query by query, window by window."""
        import torch

        scores, computed = [], 0
        with torch.inference_mode():
            for lists in units:
                queries = lists.queries.column(schema.QUERY).to_pylist()
                texts = lists.documents.column(schema.TEXT).to_pylist()
                for place, query in enumerate(queries):
                    documents = texts[lists.offsets[place] : lists.offsets[place + 1]]
                    found, tokens = self._list(query, documents)
                    scores.append(found)
                    computed += tokens
        return Scored(scores=np.concatenate(scores), computed=computed)

    def _list(self, query: str, documents: list[str]) -> tuple[Floats, int]:
        asked = len(self.tokenizer(query, truncation=True, max_length=_LONGEST_QUERY)["input_ids"])
        vectors, questions, weights, window, computed = [], [], [], [], 0
        left = self.room - 2 * asked
        for number, document in enumerate(documents, 1):
            window.append(document)
            left -= len(
                self.tokenizer(document, truncation=True, max_length=_LONGEST_DOCUMENT)["input_ids"]
            )
            full = len(window) >= _WINDOW or left <= _LONGEST_DOCUMENT
            if full or number == len(documents):
                ids = self.tokenizer(prompt(query, window), return_tensors="pt")["input_ids"]
                computed += ids.numel()
                found, question = self._window(ids)
                vectors.append(found)
                questions.append(question)
                weights.append((1 + cosines(found, question).max()) / 2)
                window, left = [], self.room - 2 * asked
        merged = np.average(np.stack(questions), axis=0, weights=weights)
        return cosines(np.concatenate(vectors), merged.astype(np.float32)), computed

    def _window(self, ids: Any) -> tuple[Floats, Floats]:
        """float32 [n, 512] and [512]: the documents' vectors and the query's."""
        put = ids.to(self.device)
        hidden = self.network["model"](
            input_ids=put, use_cache=False, output_hidden_states=True
        ).hidden_states[-1][0]
        document, question = ((put[0] == token).nonzero()[:, 0] for token in self.readouts)
        project = self.network["projector"]
        return (
            project(hidden[document]).float().cpu().numpy(),
            project(hidden[question])[0].float().cpu().numpy(),
        )


def prompt(query: str, documents: list[str]) -> str:
    """A window's prompt; the texts of a workload hold no readout tokens."""
    passages = "".join(
        f'<passage id="{number}">\n{document}{DOCUMENT_READOUT}\n</passage>\n'
        for number, document in enumerate(documents)
    )
    return (
        f"{HEAD}I will provide you with {len(documents)} passages, each indicated by a numerical "
        f"identifier. Rank the passages based on their relevance to query: {query}\n"
        f"{passages}<query>\n{query}{QUERY_READOUT}{_TAIL}"
    )


def cosines(rows: Floats, other: Floats) -> Floats:
    """float32 [n]: cosine of each row [n, D] with ``other`` [D]."""
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(other)
    cosine: Floats = (rows @ other / scale).astype(np.float32)
    return cosine
