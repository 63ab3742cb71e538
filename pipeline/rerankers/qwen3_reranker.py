"""Qwen3-Reranker: the log-odds of "yes" against "no" after an instruction, a query and a document.

The prompt is that of the model card's transformers recipe: a fixed head, a body and a fixed tail,
tokenised apart from each other, and the body alone is cut. Two published recipes differ and are
not followed: one puts blank lines between instruction, query and document, another leaves the chat
template out. Only the last token's hidden state and two rows of the vocabulary are needed:

    score = sigmoid(h · (E_yes - E_no))     # = softmax over the two logits, in float32

The network is causal, so padding on the right changes nothing and needs no mask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.decoders import can_pack, can_share, load_log_odds, read_log_odds
from pipeline.prompts.long_documents import (
    LongDocumentSettings,
    Pieces,
    first_pieces,
    head_tail,
    windows,
)
from pipeline.prompts.pairs import Activation, decode_pairs, spent
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.sequences.shared_prefixes import groups, share_beginnings
from pipeline.tokenization.tokens import (
    Template,
    TextTokenizer,
    TokenArena,
    distinct,
    resolve_max_length,
)

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int64s

#: Model card of Qwen3-Reranker, section "Transformers Usage"; the last line ends in two newlines.
PREFIX: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
SUFFIX: Final = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
INSTRUCTION: Final = "Given a web search query, retrieve relevant passages that answer the query"


class Qwen3RerankerSettings(LongDocumentSettings):
    """Settings of the qwen3_reranker family."""

    instruction: str = Field(
        INSTRUCTION, description="What counts as relevant, in English; the model card's by default."
    )
    max_length: int = Field(
        8192, ge=8, description="Tokens per sequence, prompt and instruction included."
    )
    activation: Activation = Field(
        "sigmoid",
        description="sigmoid: the probability of yes, as upstream returns; none: its log-odds.",
    )


class Qwen3Reranker(WeightedReranker):
    """Qwen3-Reranker 0.6B, 4B and 8B."""

    Settings = Qwen3RerankerSettings
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: Qwen3RerankerSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = checkpoint.config
        kind = self.config.get("model_type")
        if kind != "qwen3":
            raise ModelError(
                f"{checkpoint.folder}/config.json: model_type '{kind}'; the qwen3_reranker family "
                "runs qwen3. See `rerank models` for the family of your checkpoint"
            )
        self.can_pack = can_pack(self.config)
        self.shares_prefixes = can_share(self.config)
        self.score_scale = "probability" if settings.activation == "sigmoid" else "logit"
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.template_of_ids = _frame(self.tokenizer)
        self.max_length = resolve_max_length(
            settings.max_length,
            tokenizer=None,
            positions=self.config.get("max_position_embeddings"),
        )
        self.room = self.max_length - self.template_of_ids.specials
        if self.room < 1:
            raise ConfigurationError(
                f"model.settings.max_length: {self.max_length} leaves no room beside the prompt's "
                f"{self.template_of_ids.specials} tokens; raise it"
            )
        self.yes, self.no = (_single(self.tokenizer, checkpoint, word) for word in ("yes", "no"))
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Qwen3's body, and the difference of two rows of its vocabulary."""
        self.network = load_log_odds(
            self.checkpoint,
            kind="qwen3",
            answers=(self.yes, self.no),
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per document, or per chunk of it; read out at its last token.

        Prompts of one query share all that stands before the document. The body is tokenised in two
        parts that meet before the space after ``<Document>:``, where Qwen's pre-tokeniser always
        cuts, so each distinct text is tokenised once.
        """
        queries, query_text = distinct(lists.queries.column(schema.QUERY))
        documents, document_text = distinct(lists.documents.column(schema.TEXT))
        heads = self.tokenizer.encode([body_head(self.settings.instruction, q) for q in queries])
        tails = self.tokenizer.encode([" " + document for document in documents])
        query_of = query_text[lists.query_of_document]
        head, whole = heads.lengths[query_of], tails.lengths[document_text]
        links: dict[str, Int64s]
        if self.settings.long_documents == "truncate":
            head = np.minimum(head, self.room)
            kept = np.minimum(whole, self.room - head)
            ids, offsets, _ = self.template_of_ids.assemble(
                [(heads, query_of, head), (tails, document_text, kept)]
            )
            links = spent(np.diff(offsets), kept < whole)
            asked, begun = query_of, head
        else:
            head = np.minimum(head, np.maximum(self.room // 2, self.room - whole))
            pieces = self._pieces(tails, document_text, self.room - head)
            of = pieces.document
            every = np.arange(len(of), dtype=np.int64)
            ids, offsets, _ = self.template_of_ids.assemble(
                [(heads, query_of[of], head[of]), (pieces.arena, every, pieces.arena.lengths)]
            )
            first = first_pieces(of, len(whole))
            cut = (self.settings.long_documents == "head_tail") & (whole > self.room - head)
            links = {"first": first, **spent(np.diff(offsets[first]), cut)}
            asked, begun = query_of[of], head[of]
        last = (np.diff(offsets) - 1).astype(np.int32)
        sequences = Sequences.one_readout_each(ids, offsets, positions=last, links=links)
        shared = begun + len(self.template_of_ids.pieces[0])
        return share_beginnings(sequences, groups(asked, begun), shared)

    def _pieces(self, arena: TokenArena, texts: Int64s, room: Int64s) -> Pieces:
        lengths = arena.lengths[texts]
        if self.settings.long_documents == "head_tail":
            return Pieces.cut(arena, texts, head_tail(lengths, room))
        return Pieces.cut(arena, texts, windows(lengths, room, self.settings.chunk_overlap))

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the log-odds of yes against no after each sequence."""
        return read_log_odds(self.network, batch, packed=self.packed)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The probability of yes, or its log-odds; of a chunked document, the aggregate."""
        return decode_pairs(
            sequences, readouts, activation=self.settings.activation, settings=self.settings
        )


def body_head(instruction: str, query: str) -> str:
    """The body of the prompt up to the space that comes before the document."""
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"


def _frame(tokenizer: TextTokenizer) -> Template:
    """Prompt tokens around the two parts of a body."""
    arena = tokenizer.words([PREFIX, SUFFIX])
    cut = int(arena.offsets[1])
    pieces = (arena.token_ids[:cut], arena.token_ids[:0], arena.token_ids[cut:])
    types = tuple(np.zeros(len(piece), dtype=np.int8) for piece in pieces)
    return Template(pieces, types, (0, 0))


def _single(tokenizer: TextTokenizer, checkpoint: Checkpoint, word: str) -> int:
    token = tokenizer.library.token_to_id(word)
    if token is None:
        raise ModelError(
            f"{checkpoint.folder}/tokenizer.json: no token '{word}'; the answer is read from it, "
            "so this is not a checkpoint of the qwen3_reranker family"
        )
    return int(token)
