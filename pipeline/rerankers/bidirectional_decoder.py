"""NVIDIA's rerankers on Llama without its causal mask: llama-nemotron-rerank-1b-v2, nv-rerankqa.

    logit = score.weight · mean(h) / temperature        # h: the states of all tokens, in float32

Every token sees all of its sequence, and the mean is over every token, the first special one
included (``LlamaBidirectionalForSequenceClassification`` of the published checkpoint, whose code is
never run). The prompt is one string:

    question:{query} \\n \\n passage:{document}

It is tokenised in two parts that meet before the last colon, where Llama 3's pre-tokeniser always
cuts, so that each distinct text is tokenised once. What does not fit is cut from its end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pydantic import Field

from pipeline.checkpoints.heads import require_one_label
from pipeline.checkpoints.values import number
from pipeline.errors import ModelError
from pipeline.networks.decoders.classifier import load_classifier, read_pooled
from pipeline.networks.decoders.loading import can_pack
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Activation, decode_pairs
from pipeline.prompts.token_prompts import PromptLimits, TokenPrompt
from pipeline.prompts.token_template import template_of
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import TextTokenizer, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: ``model_type`` of the published configuration, and that of transformers' network.
_PUBLISHED, _KIND = "llama_bidirec", "llama"

#: In two parts, which are tokenised apart; see the module's text for the seam.
_PROMPT: Final = ("question:{query} \n \n passage", ":{document}")


class BidirectionalDecoderSettings(LongDocumentSettings):
    """Settings of the bidirectional_decoder family."""

    max_length: int = Field(
        8192, ge=8, description="Tokens per prompt; the model card's by default."
    )
    activation: Activation = Field(
        "none", description="none gives raw logits, as upstream does; sigmoid gives probabilities."
    )


class BidirectionalDecoder(WeightedReranker):
    """llama-nemotron-rerank-1b-v2 and its likes."""

    Settings = BidirectionalDecoderSettings
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: BidirectionalDecoderSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        where = checkpoint.folder / "config.json"
        self.temperature = number(self.config, "temperature", where=where, default=1.0)
        self.can_pack = can_pack(self.config | {"model_type": _KIND})
        self.score_scale = "probability" if settings.activation == "sigmoid" else "logit"
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.prompt = TokenPrompt(
            template_of(_PROMPT, setting="the prompt"),
            self.tokenizer,
            instruction="",
            add_special_tokens=True,
            where="the prompt",
        )
        self.limits = PromptLimits(
            total=resolve_max_length(
                settings.max_length,
                tokenizer=None,
                positions=self.config.get("max_position_embeddings"),
            ),
            long_documents=settings.long_documents,
            overlap=settings.chunk_overlap,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Llama's body without a mask of what follows, and the head in float32."""
        self.network = load_classifier(
            self.checkpoint,
            kind=_KIND,
            labels=1,
            causal=False,
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One prompt per document, or per chunk of it."""
        return self.prompt.encode(lists, self.limits).unshared()

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit of each prompt."""
        return read_pooled(self.network, batch, packed=self.packed) / self.temperature

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The logit itself, unless settings say otherwise."""
        return decode_pairs(
            sequences, readouts, activation=self.settings.activation, settings=self.settings
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    if config.get("model_type") != _PUBLISHED:
        raise ModelError(
            f"{where}: model_type '{config.get('model_type')}'; the bidirectional_decoder family "
            f"runs {_PUBLISHED}. See `rerank models` for the family of your checkpoint"
        )
    if config.get("pooling", "avg") != "avg":
        raise ModelError(
            f"{where}: pooling '{config['pooling']}'; the bidirectional_decoder family takes the "
            "mean of all states (avg)"
        )
    require_one_label(checkpoint)
    return config
