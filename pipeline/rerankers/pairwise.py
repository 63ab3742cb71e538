"""Pairwise preference: a chat model says which of two passages is more relevant, both ways round.

The answer is the log-odds of the tokens "A" and "B" after the prompt, averaged over the two orders
of the passages. A schedule decides which pairs are asked:

* ``sliding``: bubble passes from the back of the first-stage order to its front; ``k`` passes
  settle the first ``k`` places. Scores are derived from the final places and say no more than that.
* ``all_pairs``: everybody against everybody. A score is the mean share of its comparisons that the
  document wins: between 0 and 1, and 0.5 where a list has one document.

Scores depend on the list, so they compare documents of one query and never of two. Rounds of all
queries go through the model together; tokens and standings travel in links, and the last round
asks nothing and carries the result.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.errors import ConfigurationError
from pipeline.networks.decoders.loading import can_pack, can_share, load_log_odds, read_log_odds
from pipeline.prompts import preference
from pipeline.prompts.chat import (
    ChatSettings,
    PromptTokenizer,
    before_first_round,
    check_positions,
    texts_of,
)
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import groups, saved_tokens, share_beginnings
from pipeline.tokenization.tokens import Template

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int64s


class PairwiseSettings(ChatSettings):
    """Settings of the pairwise family."""

    schedule: Literal["sliding", "all_pairs"] = Field(
        "sliding",
        description="sliding: 2 * passes prompts per document at most; all_pairs: every pair of a "
        "list, which is n * (n - 1) prompts.",
    )
    passes: int = Field(
        10, ge=1, description="With schedule: sliding, how many of the first places are settled."
    )
    aggregate: Literal["probability", "wins"] = Field(
        "probability",
        description="With schedule: all_pairs, what a comparison is worth: the probability of "
        "being preferred, or 1, 0 and at a tie 0.5.",
    )


class Pairwise(WeightedReranker):
    """Preference prompts on any causal language model of transformers."""

    Settings = PairwiseSettings
    template = "2"  # added tokens that are not special are text, too
    pointwise = False
    score_scale = "preference"

    def __init__(self, *, checkpoint: Checkpoint, settings: PairwiseSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.kind = str(checkpoint.config.get("model_type"))
        self.can_pack = can_pack(checkpoint.config)
        self.shares_prefixes = can_share(checkpoint.config)
        self.tokenizer = PromptTokenizer(checkpoint, settings)
        words = list(preference.PROMPT)
        words[0], words[-1] = self.tokenizer.before + words[0], words[-1] + self.tokenizer.after
        pieces = tuple(self.tokenizer.fixed(part) for part in words)
        types = tuple(np.zeros(len(piece), dtype=np.int8) for piece in pieces)
        self.prompt = Template(pieces, types, (0, 0, 0))
        self.answers = (_answer(self.tokenizer, "A"), _answer(self.tokenizer, "B"))
        longest = settings.query_max_length + 2 * settings.document_max_length
        check_positions(checkpoint, self.prompt.specials + longest)
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The body, and of the output layer what tells the two answers apart, in float32."""
        if self.packed:
            self.network = load_log_odds(
                self.checkpoint,
                kind=self.kind,
                answers=self.answers,
                packed=True,
                device=device,
                dtype=dtype,
            )
            return
        from pipeline.networks.decoders.causal_lm import load_causal_lm

        self.network = load_causal_lm(
            self.checkpoint, device=device, dtype=dtype, rows=list(self.answers)
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """The first round: two prompts for each pair that it asks about."""
        count = lists.documents.num_rows
        state = before_first_round(lists, self.tokenizer, self.settings) | {
            "wins": np.zeros(count).view(np.int64),
            "compared": np.zeros(count, dtype=np.int64),
        }
        return self._ask(lists, state)

    def next_round(
        self, lists: CandidateLists, sequences: Sequences, readouts: Floats
    ) -> Sequences | None:
        """Take the answers in and ask about the next pairs; None after the round without any."""
        if len(sequences) == 0:
            return None
        state = dict(sequences.links)
        liked = preference.both_orders(readouts[:, 0])
        place, first, second = state["place"], state["first"], state["second"]
        heard = np.isfinite(liked)
        won = preference.win(liked, soft=self.settings.aggregate == "probability")[heard]
        wins, compared = state["wins"].view(np.float64).copy(), state["compared"].copy()
        for documents, share in ((first[heard], won), (second[heard], 1 - won)):
            np.add.at(wins, documents, share)
            np.add.at(compared, documents, 1)
        order = state["order"].copy()
        if self.settings.schedule == "sliding":
            # A document that gets no answers must not stand in the others' way: it sinks below
            # those that did, and at the bottom both unheard ones take turns at being carried on.
            known, bottom = state["compared"] > 0, np.isin(place + 2, lists.offsets)
            mute = ~heard & ~known[first] & (known[second] | bottom)
            swapped = place[(liked < -preference.TIE) | mute]
            order[swapped], order[swapped + 1] = order[swapped + 1], order[swapped]
        state |= {"order": order, "wins": wins.view(np.int64), "compared": compared}
        return self._ask(lists, state)

    def _ask(self, lists: CandidateLists, state: dict[str, Int64s]) -> Sequences:
        """Prompts of the next round; none where all schedules are through."""
        step = int(state["step"][0]) + 1
        pairs = [
            begin + self._places(int(count), step)
            for begin, count in zip(lists.offsets[:-1], np.diff(lists.offsets), strict=True)
        ]
        places = np.concatenate(pairs) if pairs else np.zeros((0, 2), dtype=np.int64)
        first, second = state["order"][places[:, 0]], state["order"][places[:, 1]]
        as_a = np.stack([first, second], axis=1).reshape(-1)
        as_b = np.stack([second, first], axis=1).reshape(-1)
        asked, read = texts_of(state, "query"), texts_of(state, "document")
        query = asked.texts[lists.query_of_document[as_a]]
        parts = [
            (asked.arena, query, asked.arena.lengths[query]),
            (read.arena, read.texts[as_a], read.lengths()[as_a]),
            (read.arena, read.texts[as_b], read.lengths()[as_b]),
        ]
        ids, offsets, _ = self.prompt.assemble(parts)
        lengths = np.diff(offsets)
        spent = state[schema.N_TOKENS].copy()
        np.add.at(spent, as_a, lengths // 2)
        np.add.at(spent, as_b, lengths - lengths // 2)
        state |= {
            "step": np.array([step]),
            "place": places[:, 0],
            "first": first,
            "second": second,
            schema.N_TOKENS: spent,
        }
        last = (lengths - 1).astype(np.int32)
        sequences = Sequences.one_readout_each(ids, offsets, positions=last, links=state)
        opened = (
            asked.arena.lengths[query] + len(self.prompt.pieces[0]) + len(self.prompt.pieces[1])
        )
        with_a = opened + read.lengths()[as_a]
        # A beginning may end before passage A or behind it; many pairs of a round may have one A.
        by_query, by_a = groups(query), groups(query, as_a)
        if saved_tokens(by_a, with_a) > saved_tokens(by_query, opened):
            return share_beginnings(sequences, by_a, with_a)
        return share_beginnings(sequences, by_query, opened)

    def _places(self, count: int, step: int) -> Int64s:
        """int64 [P, 2]: places of the current order that are compared in a round."""
        if self.settings.schedule == "all_pairs":
            return preference.circle(count, step)
        upper = preference.sliding(count, self.settings.passes, step)
        return np.stack([upper, upper + 1], axis=1)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the log-odds of A against B after each prompt."""
        if self.packed:
            return read_log_odds(self.network, batch, packed=True)
        from pipeline.networks.decoders.causal_lm import read_rows

        a_and_b = read_rows(self.network, batch)
        return a_and_b[:, :1] - a_and_b[:, 1:]

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Standings of the last round; NaN for a document of which no comparison had an answer."""
        links = sequences.links
        if self.settings.schedule == "sliding":
            scores = preference.place_scores(links["order"], lists.offsets)
        else:
            wins, compared = links["wins"].view(np.float64), links["compared"]
            share = wins / np.maximum(compared, 1)
            scores = np.where(preference.alone(lists.offsets), 0.5, share).astype(np.float32)
        return preference.scores_of_heard(scores, links["compared"], lists.offsets)


def _answer(tokenizer: PromptTokenizer, letter: str) -> int:
    ids = tokenizer.fixed(letter)
    if len(ids) != 1:
        raise ConfigurationError(
            f"model.weights: the tokenizer spells the answer '{letter}' with {len(ids)} tokens; "
            "the pairwise family needs one, so this model cannot be asked this way"
        )
    return int(ids[0])
