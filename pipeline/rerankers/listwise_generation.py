"""Listwise generation: a chat model writes a ranking like ``[3] > [1] > [2]``, window by window.

A window of the list slides from the back of the first-stage order to its front, so that a good
document can travel all the way. Windows of all queries go through the model together, one round per
position of the window; the last round asks nothing and carries the result.

Models do not always answer with a permutation. What is missing is appended in the order that it
had, repetitions and numbers out of range are dropped, and every answer that needed this is counted:
link ``repaired`` [Q] beside ``answers`` [Q].

A permutation has no scores. What is written is derived from the final place and from nothing else:
1 for the first document of a list, 1/n for the last of n.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import Field, model_validator

from pipeline import schema
from pipeline.prompts import permutation
from pipeline.prompts.chat import (
    ChatSettings,
    PromptTokenizer,
    before_first_round,
    check_positions,
    texts_of,
)
from pipeline.prompts.preference import place_scores, scores_of_heard
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.prompts.chat import Texts
    from pipeline.sequences.arrays import Int32s, Int64s


class ListwiseGenerationSettings(ChatSettings):
    """Settings of the listwise_generation family."""

    window: int = Field(20, ge=2, description="Documents that are ranked at once.")
    stride: int = Field(10, ge=1, description="How far the window moves to the front each time.")

    @model_validator(mode="after")
    def _no_gaps(self) -> ListwiseGenerationSettings:
        if self.stride >= self.window:
            raise ValueError(
                f"stride ({self.stride}) must be below window ({self.window}), so that the best of "
                "one window meet those of the next"
            )
        return self


class ListwiseGeneration(WeightedReranker):
    """Generated permutations, from any causal language model of transformers."""

    Settings = ListwiseGenerationSettings
    template = "2"  # added tokens that are not special are text, too
    pointwise = False
    score_scale = "preference"

    def __init__(self, *, checkpoint: Checkpoint, settings: ListwiseGenerationSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.tokenizer = PromptTokenizer(checkpoint, settings)
        longest = self.tokenizer.fixed(permutation.answer(tuple(range(settings.window))))
        # Room for a model that ends its answer with a full stop or a line of its own.
        self.answer_tokens = len(longest) + 8
        nothing = np.zeros(0, dtype=np.int32)
        words = len(self._prompt(nothing, [nothing] * settings.window))
        texts = 2 * settings.query_max_length + settings.window * settings.document_max_length
        check_positions(checkpoint, words + texts + self.answer_tokens)
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The whole model."""
        from pipeline.networks.decoders.causal_lm import load_causal_lm

        self.network = load_causal_lm(self.checkpoint, device=device, dtype=dtype)

    def encode(self, lists: CandidateLists) -> Sequences:
        """The first round: the window at the back of every list."""
        begun = before_first_round(
            lists, self.tokenizer, self.settings, clean=permutation.without_identifiers
        )
        state = begun | {
            "heard": np.zeros(lists.documents.num_rows, dtype=np.int64),
            "answers": np.zeros(len(lists), dtype=np.int64),
            "repaired": np.zeros(len(lists), dtype=np.int64),
        }
        return self._ask(lists, state)

    def next_round(
        self, lists: CandidateLists, sequences: Sequences, readouts: Floats
    ) -> Sequences | None:
        """Reorder every window by its answer and move on; None after the round without any."""
        if len(sequences) == 0:
            return None
        state = dict(sequences.links)
        order, heard = state["order"].copy(), state["heard"].copy()
        answers, repaired = state["answers"].copy(), state["repaired"].copy()
        for row, query, start, end in zip(
            readouts, state["asked"], state["start"], state["end"], strict=True
        ):
            if np.isnan(row).any():
                continue
            ids = row[row >= 0].astype(np.int64).tolist()
            found = permutation.repair(
                permutation.parse(self.tokenizer.decode(ids)), int(end - start)
            )
            order[start:end] = order[start:end][list(found.order)]
            heard[order[start:end]] += 1
            answers[query] += 1
            repaired[query] += found.repaired
        state |= {"order": order, "heard": heard, "answers": answers, "repaired": repaired}
        return self._ask(lists, state)

    def _ask(self, lists: CandidateLists, state: dict[str, Int64s]) -> Sequences:
        """Prompts of the next round; none where all windows have reached the front."""
        step = int(state["step"][0]) + 1
        queries, documents = texts_of(state, "query"), texts_of(state, "document")
        prompts: list[Int32s] = []
        asked: list[tuple[int, int, int]] = []
        spent = state[schema.N_TOKENS].copy()
        for query, (begin, count) in enumerate(
            zip(lists.offsets[:-1], np.diff(lists.offsets), strict=True)
        ):
            schedule = permutation.windows(
                int(count), size=self.settings.window, stride=self.settings.stride
            )
            if step >= len(schedule):
                continue
            start, end = (int(begin) + place for place in schedule[step])
            members = state["order"][start:end]
            prompts.append(self._prompt(queries[query], _tokens(documents, members)))
            asked.append((query, start, end))
            spent[members] += len(prompts[-1]) // len(members)
        places = np.array(asked, dtype=np.int64).reshape(-1, 3)
        lengths = np.array([len(prompt) for prompt in prompts], dtype=np.int64)
        state |= {
            "step": np.array([step]),
            "asked": places[:, 0],
            "start": places[:, 1],
            "end": places[:, 2],
            schema.N_TOKENS: spent,
        }
        return Sequences.one_readout_each(
            np.concatenate([np.zeros(0, dtype=np.int32), *prompts]),
            np.append(0, np.cumsum(lengths)).astype(np.int64),
            positions=(lengths - 1).astype(np.int32),
            links=state,
        )

    def _prompt(self, query: Int32s, documents: list[Int32s]) -> Int32s:
        """One turn that asks for a ranking of some documents."""
        count = len(documents)
        parts = [self.tokenizer.fixed(self.tokenizer.before + permutation.head(count)), query]
        for number, document in enumerate(documents, start=1):
            parts += [self.tokenizer.fixed(permutation.label(number)), document]
        parts += [self.tokenizer.fixed(permutation.AGAIN), query]
        parts += [self.tokenizer.fixed(permutation.tail(count) + self.tokenizer.after)]
        return np.concatenate(parts)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, answer_tokens]: generated ids, then -1."""
        from pipeline.networks.decoders.causal_lm import generate

        return generate(
            self.network, batch, stop=self.tokenizer.stop_tokens, tokens=self.answer_tokens
        )

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Scores by final place; NaN for a document of which no window had an answer."""
        scores = place_scores(sequences.links["order"], lists.offsets)
        return scores_of_heard(scores, sequences.links["heard"], lists.offsets)


def _tokens(documents: Texts, members: Int64s) -> list[Int32s]:
    return [documents[int(member)] for member in members]
