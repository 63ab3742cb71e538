"""Qwen3-Reranker: the log-odds of "yes" against "no" after an instruction, a query and a document.

The prompt is that of the model card's transformers recipe: a fixed head, a body and a fixed tail,
tokenised apart from each other, and the body alone is cut. Two published recipes differ and are
not followed: one puts blank lines between instruction, query and document, another leaves the chat
template out. Only the last token's hidden state and two rows of the vocabulary are needed:

    score = sigmoid(h · (E_yes - E_no))     # = softmax over the two logits, in float32

All that runs it is in :mod:`pipeline.rerankers.token_logit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from pydantic import Field

from pipeline.errors import ModelError
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Activation
from pipeline.rerankers.token_logit import TokenLogit, TokenLogitSettings

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

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


class Qwen3Reranker(TokenLogit):
    """Qwen3-Reranker 0.6B, 4B and 8B."""

    Settings = Qwen3RerankerSettings  # type: ignore[assignment]  # few of its base's
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: Qwen3RerankerSettings) -> None:
        kind = checkpoint.config.get("model_type")
        if kind != "qwen3":
            raise ModelError(
                f"{checkpoint.folder}/config.json: model_type '{kind}'; the qwen3_reranker family "
                "runs qwen3. See `rerank models` for the family of your checkpoint"
            )
        super().__init__(checkpoint=checkpoint, settings=settings)

    def recipe(self) -> TokenLogitSettings:
        """The model card's prompt and answers."""
        return TokenLogitSettings(
            template=(PREFIX, body_head("{instruction}", "{query}"), " {document}", SUFFIX),
            true_token="yes",
            false_token="no",
            **self.settings.model_dump(),
        )


def body_head(instruction: str, query: str) -> str:
    """The body of the prompt up to the space that comes before the document.

    Qwen's pre-tokeniser always cuts before that space, so each distinct text is tokenised once.
    """
    return f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>:"
