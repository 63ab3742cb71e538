"""Decoders with a classification head: transformers' ``*ForSequenceClassification``.

Qwen2, Qwen3, Llama, Mistral and Gemma, with one label or two:

    logits = score.weight · h + score.bias      # h: the last token's state, normalised; in float32

h is read at the last token that is not ``pad_token_id``, as transformers looks for it to find where
padding begins: a sequence that ends in that token itself, as where it is also what ends texts, is
read before it. Without one, h is the last token's. The networks are causal, so padding on the right
changes nothing.

What it reads is a prompt of the settings (``template``), or the chat template that
sentence-transformers would render, or else query and document as the tokenizer makes a pair, which
is what transformers gives such a network. Many were trained on a prompt that none of their files
holds: Qwen3-Reranker converted to one label needs that of Qwen3-Reranker.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

from pydantic import Field

from pipeline.checkpoints.heads import HeadSettings, score_scale, scored_labels
from pipeline.checkpoints.sentence_transformers.classified_messages import Messages, messages_of
from pipeline.checkpoints.sentence_transformers.cross_encoder_files import (
    applied_activation,
    chain_of,
)
from pipeline.checkpoints.sentence_transformers.files import max_seq_length
from pipeline.checkpoints.sentence_transformers.logit_score import special_tokens
from pipeline.checkpoints.sentence_transformers.module_chain import MODULES
from pipeline.checkpoints.sentence_transformers.prompts import query_prompt
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.decoders.classifier import load_classifier, read_last
from pipeline.networks.decoders.loading import can_pack, can_share
from pipeline.prompts.chat_template import ChatTemplate, message_format
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import Limits, decode_pairs, encode_pairs
from pipeline.prompts.token_prompts import PromptLimits, TokenPrompt
from pipeline.prompts.token_template import Place, PromptTemplate, template_of
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.last_tokens import read_before
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, Truncation, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

_TEMPLATE: Final = "model.settings.template"

#: Bodies, by ``model_type``.
KINDS: Final = ("gemma", "gemma2", "gemma3_text", "llama", "mistral", "qwen2", "qwen3")

#: ``pad_token_id`` where config.json does not say, by transformers' configurations.
_PADDING: Final = {"gemma": 0, "gemma2": 0, "gemma3_text": 0}

#: What makes transformers' network look at what follows, and the value that does not.
_BOTH_WAYS: Final = {"is_causal": True, "use_bidirectional_attention": False}


class DecoderClassifierSettings(HeadSettings, LongDocumentSettings):
    """Settings of the decoder_classifier family."""

    max_length: int | None = Field(
        None, ge=8, description="Tokens per pair; default: what tokenizer and positions allow."
    )
    template: str | tuple[str, ...] | None = Field(
        None,
        description="The prompt, with {query}, {document} and perhaps {instruction} in it. A list "
        "is tokenised in parts, and of a part that is too long words are cut as well; one text is "
        "tokenised as a whole, and its words are kept. Default: the checkpoint's chat template, "
        "where it has one for pairs, else the tokenizer's pair.",
    )
    add_special_tokens: bool = Field(
        False,
        description="Whether the tokenizer puts its special tokens around a template, such as <s>.",
    )
    instruction: str | None = Field(
        None,
        description="What counts as relevant: stands in its place of the template, in the system "
        "message of a chat template, or before the query of a pair. Default: the prompt that the "
        "checkpoint's default_prompt_name names, if the template is its own. Empty: none.",
    )
    truncation: Truncation = Field(
        "longest_first",
        description="How a pair is cut: longest_first as transformers does, which may cut the "
        "query; document never cuts the query while it fits. Both are for long_documents: "
        "truncate. Of a template the document is cut.",
    )
    activation: Literal["none", "sigmoid", "checkpoint"] = Field(
        "none",
        description="none gives raw logits; sigmoid gives probabilities; checkpoint applies what "
        "the checkpoint's files name, as sentence-transformers' predict does. Of a head with two "
        "labels, the logit is the log-odds of the second.",
    )


class DecoderClassifier(WeightedReranker):
    """Sequence-classification rerankers on decoders."""

    Settings = DecoderClassifierSettings
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: DecoderClassifierSettings) -> None:
        _check(settings)
        if settings.template is None:  # what is resolved is what a run's identity holds
            prompt = query_prompt(checkpoint, given=settings.instruction)
            settings = settings.model_copy(update={"instruction": prompt})
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = _supported(checkpoint)
        self.can_pack = can_pack(self.config)
        self.shares_prefixes = self.can_pack and can_share(self.config)
        self.labels = scored_labels(checkpoint, grades=settings.grades)
        self.activation = applied_activation(
            checkpoint,
            settings.activation,
            labels=self.labels,
            given="activation" in settings.model_fields_set,
        )
        self.score_scale = score_scale(self.activation, grades=settings.grades)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.messages = messages_of(checkpoint) if settings.template is None else None
        self.prompt = self._prompt()
        self.max_length = self._max_length()
        self.network: Any = None

    def _prompt(self) -> TokenPrompt | None:
        """The prompt; None for the tokenizer's pair."""
        settings, instruction = self.settings, self.settings.instruction
        if settings.template is not None:
            template, where = template_of(settings.template, setting=_TEMPLATE), _TEMPLATE
        elif self.messages is not None:
            template, where = self._of_messages(self.messages, bool(instruction))
        else:
            return None
        if instruction is None and Place.INSTRUCTION in template.places:
            raise ConfigurationError(
                f"model.settings.instruction: {where} has a place for one, and none is given"
            )
        if instruction and Place.INSTRUCTION not in template.places:
            raise ConfigurationError(
                f"model.settings.instruction: {where} has no place {{instruction}} for one"
            )
        return TokenPrompt(
            template,
            self.tokenizer,
            instruction=instruction or "",
            add_special_tokens=settings.add_special_tokens,
            where=where,
        )

    def _of_messages(self, messages: Messages, instructed: bool) -> tuple[PromptTemplate, str]:
        form = messages.message_format
        if form == "auto":
            form = message_format(messages.source, kind=str(self.config["model_type"]))
        chat = ChatTemplate(
            source=messages.source,
            message_format=form,
            variables={**special_tokens(self.checkpoint), **messages.variables},
            where=messages.where,
        )
        return chat.prompt(instructed=instructed), messages.where

    def _max_length(self) -> int:
        """Tokens of a sequence: as asked, else as the files say of what they describe."""
        stated = None
        if self.messages is not None:
            stated = self.messages.max_length
        elif self.prompt is None:
            stated = max_seq_length(
                self.checkpoint,
                task="sequence-classification",
                lowercases=self.tokenizer.lowercases,
            )
        of_tokenizer = tokenizer_limit(self.checkpoint, self.tokenizer.truncation)
        length = resolve_max_length(
            self.settings.max_length,
            tokenizer=of_tokenizer if stated is None else stated,
            positions=self.config.get("max_position_embeddings"),
        )
        words = 0 if self.prompt is None else self.prompt.frame.specials
        if length <= words:
            raise ConfigurationError(
                f"model.settings.max_length: {length} leaves no room beside the prompt's {words} "
                "tokens; raise it"
            )
        return length

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The decoder's body, and its head in float32."""
        self.network = load_classifier(
            self.checkpoint,
            kind=str(self.config["model_type"]),
            labels=self.labels,
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One sequence per document or chunk of it, read out at its end."""
        sequences = self._sequences(lists)
        padding = self.config.get("pad_token_id", _PADDING.get(str(self.config["model_type"])))
        return sequences if padding is None else read_before(sequences, int(padding))

    def _sequences(self, lists: CandidateLists) -> Sequences:
        settings = self.settings
        how = {"long_documents": settings.long_documents, "overlap": settings.chunk_overlap}
        if self.prompt is not None:
            return self.prompt.encode(lists, PromptLimits(total=self.max_length, **how))
        limits = Limits(max_length=self.max_length, truncation=settings.truncation, **how)
        prompt = settings.instruction or ""
        return encode_pairs(lists, self.tokenizer, limits, causal=True, prompt=prompt)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, labels]: the logits after each sequence."""
        return read_last(self.network, batch, packed=self.packed)

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The logit itself, unless settings say otherwise."""
        return decode_pairs(
            sequences,
            readouts,
            activation=self.activation,
            settings=self.settings,
            grades=self.settings.grades,
        )


def _supported(checkpoint: Checkpoint) -> dict[str, Any]:
    config = checkpoint.config
    where = checkpoint.folder / "config.json"
    kind = config.get("model_type")
    if "auto_map" in config:
        raise ModelError(
            f"{where}: this checkpoint brings code of its own (auto_map), which is never run; if "
            f"its network is transformers' own {kind}, remove that key from a copy"
        )
    if kind not in KINDS:
        raise ModelError(
            f"{where}: model_type '{kind}' is not one of the decoder_classifier family's: "
            f"{', '.join(KINDS)}"
        )
    if chain_of(checkpoint) is not None:
        raise ModelError(
            f"{checkpoint.folder / MODULES}: modules behind the network; the decoder_classifier "
            "family runs a Transformer alone, whose head is transformers' own"
        )
    for key, causal in _BOTH_WAYS.items():
        if config.get(key, causal) not in (causal, None):
            raise ModelError(
                f"{where}: {key} {config[key]!r}: every token sees what follows it, and the "
                "decoder_classifier family runs causal decoders"
            )
    return config


def _check(settings: DecoderClassifierSettings) -> None:
    given = settings.model_fields_set
    if settings.template is None and settings.add_special_tokens:
        raise ConfigurationError(
            f"model.settings.add_special_tokens is used with {_TEMPLATE} only; a pair has those of "
            "the tokenizer, and a chat template those that it writes"
        )
    if settings.template is not None and "truncation" in given:
        raise ConfigurationError(
            f"model.settings.truncation is of pairs: of {_TEMPLATE} the document is cut; leave one "
            "of them out"
        )
