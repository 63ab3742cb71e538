"""Language models that answer with a token: its logit after a prompt of a query and a document.

    score = logit[true_token] - logit[false_token]      # or the first alone; float32

at the last token of the prompt. Prompt, tokens, limits and scale are data: settings, which a card
may give, or files that sentence-transformers 5.4 and later write beside a network (``LogitScore``).
A list as ``template`` is tokenised in parts and cut as vendors' code does; one text, or a
checkpoint's chat template, is tokenised as a whole, and where it does not fit the document is cut
and no word of the prompt. sentence-transformers cuts the rendered prompt there, and writes the
prompt's last words over what is left; scores of prompts that fit are the same.

The networks are causal, so padding on the right changes nothing and needs no mask.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from pipeline.checkpoints.sentence_transformers import logit_score
from pipeline.errors import ConfigurationError, ModelError
from pipeline.networks.decoders.loading import (
    PACKABLE,
    can_pack,
    can_share,
    load_log_odds,
    read_log_odds,
)
from pipeline.prompts.chat_template import ChatTemplate, message_format
from pipeline.prompts.long_documents import LongDocumentSettings
from pipeline.prompts.pairs import decode_pairs
from pipeline.prompts.token_prompts import PromptLimits, TokenPrompt
from pipeline.prompts.token_template import Place, PromptTemplate, template_of
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokenizer_rules import tokenizer_limit
from pipeline.tokenization.tokens import TextTokenizer, resolve_max_length

if TYPE_CHECKING:
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

_TEMPLATE: Final = "model.settings.template"


class TokenLogitSettings(LongDocumentSettings):
    """Settings of the token_logit family."""

    template: str | tuple[str, ...] | None = Field(
        None,
        description="The prompt, with {query}, {document} and perhaps {instruction}; default: the "
        "checkpoint's chat template. A list is tokenised in parts, and of a part that is too "
        "long words are cut as well; one text is tokenised as a whole, and its words are kept.",
    )
    instructed_template: str | tuple[str, ...] | None = Field(
        None,
        description="The prompt where there is an instruction, if that is another one; with "
        "template only.",
    )
    instruction: str | None = Field(
        None,
        description="What counts as relevant; default: the default prompt of the checkpoint's "
        "files, if it has one and the prompt is its own. Empty: none.",
    )
    true_token: str | int | None = Field(
        None,
        description="The token whose logit is the score, by its text or its id; default: as the "
        "checkpoint's LogitScore says.",
    )
    false_token: str | int | None = Field(
        None, description="The token whose logit is taken off it; with true_token only."
    )
    add_special_tokens: bool = Field(
        False, description="Whether the tokenizer puts its special tokens around, such as <s>."
    )
    max_length: int | None = Field(
        None, ge=8, description="Tokens per sequence; default: what the checkpoint allows."
    )
    max_length_counts: Literal["prompt", "content", "flag_embedding"] = Field(
        "prompt",
        description="What max_length limits: all of the prompt; content: query, document and what "
        "stands between them, as mxbai-rerank; flag_embedding: as FlagEmbedding, which limits the "
        "document so, and lets the whole be longer by the words behind it.",
    )
    query_share: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of max_length that the query's part is cut to before anything else; "
        "with a list as template only.",
    )
    activation: Literal["none", "sigmoid", "scaled_sigmoid"] | None = Field(
        None,
        description="none: logits; sigmoid of them; scaled_sigmoid: sigmoid((logit - "
        "activation_shift) / activation_scale). Default: as the checkpoint's files say, if the "
        "prompt is its own, else none.",
    )
    activation_scale: float = Field(1.0, gt=0, description="With activation: scaled_sigmoid.")
    activation_shift: float = Field(0.0, description="With activation: scaled_sigmoid.")


class TokenLogit(WeightedReranker):
    """Rerankers that are asked for a token: mxbai-rerank v2, zerank, ctxl-rerank, bge gemma, ...

    Attributes:
        yes: id of the token whose logit counts.
        no: id of the token whose logit is taken off it, or None.
        prompt: the template, and what it makes of lists.
        limits: how much of them is read.
    """

    Settings = TokenLogitSettings
    pointwise = True

    def __init__(self, *, checkpoint: Checkpoint, settings: Any) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.config = checkpoint.config
        self.kind = _supported(checkpoint)
        self.can_pack = can_pack(self.config)
        self.shares_prefixes = can_share(self.config)
        self.asked = self.recipe()
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.yes, self.no = self._answers()
        self.activation = self._activation()
        self.score_scale = "logit" if self.activation == "none" else "probability"
        self.prompt = self._prompt()
        self.limits = self._limits()
        self.network: Any = None

    def recipe(self) -> TokenLogitSettings:
        """How the model is asked; families with settings of their own say it in these."""
        settings: TokenLogitSettings = self.settings
        return settings

    @cached_property
    def _files(self) -> logit_score.LogitScoreFiles:
        """What the checkpoint says where settings do not."""
        if logit_score.is_logit_score(self.checkpoint):
            return logit_score.read_logit_score(self.checkpoint)
        raise ConfigurationError(
            f"{self.checkpoint.folder}: no modules.json with a LogitScore, so nothing says how the "
            f"model is asked; set {_TEMPLATE} and model.settings.true_token"
        )

    def _answers(self) -> tuple[int, int | None]:
        yes, no = self.asked.true_token, self.asked.false_token
        if yes is None and no is None:
            yes, no = self._files.yes, self._files.no
        if yes is None:
            raise ConfigurationError(
                "model.settings.false_token is used with model.settings.true_token only"
            )
        return self._token(yes), None if no is None else self._token(no)

    def _token(self, asked: str | int) -> int:
        where, size = self.checkpoint.folder, self.config.get("vocab_size")
        if isinstance(asked, int):
            if not 0 <= asked < (size if isinstance(size, int) else 0):
                raise ConfigurationError(
                    f"{where}: the answer's token {asked} is none of the {size} that the model has"
                )
            return asked
        ids = self.tokenizer.words([asked]).token_ids
        unknown = getattr(self.tokenizer.library.model, "unk_token", None)
        if len(ids) == 1 and (
            asked == unknown or self.tokenizer.library.id_to_token(int(ids[0])) != unknown
        ):
            return int(ids[0])
        raise ModelError(
            f"{where}/tokenizer.json: no token '{asked}' ({len(ids)} tokens spell it); the answer "
            "is read from one, so this checkpoint cannot be asked this way"
        )

    def _activation(self) -> str:
        if self.asked.activation is not None:
            return self.asked.activation
        if self.asked.template is None:
            return logit_score.activation(self.checkpoint)
        return "none"

    def _prompt(self) -> TokenPrompt:
        given, instruction = self.asked.template, self.asked.instruction
        if given is None:
            if instruction is None:
                instruction = self._files.instruction
            template, where = self._chat_template(instructed=bool(instruction))
        else:
            where = _TEMPLATE
            if instruction and self.asked.instructed_template is not None:
                given, where = self.asked.instructed_template, "model.settings.instructed_template"
            template = template_of(given, setting=where)
        if instruction and Place.INSTRUCTION not in template.places:
            raise ConfigurationError(
                f"model.settings.instruction: {where} has no place {{instruction}} for one"
            )
        if instruction is None and Place.INSTRUCTION in template.places:
            raise ConfigurationError(
                f"model.settings.instruction: {where} has a place for one, and none is given"
            )
        return TokenPrompt(
            template,
            self.tokenizer,
            instruction=instruction or "",
            add_special_tokens=self.asked.add_special_tokens,
            where=where,
        )

    def _chat_template(self, *, instructed: bool) -> tuple[PromptTemplate, str]:
        files = self._files
        if self.asked.instructed_template is not None or self.asked.add_special_tokens:
            raise ConfigurationError(
                "model.settings.instructed_template and add_special_tokens are used with "
                f"{_TEMPLATE} only; a chat template says both itself"
            )
        found = logit_score.chat_template(self.checkpoint)
        if found is None:
            raise ModelError(
                f"{self.checkpoint.folder}: no chat_template.jinja, and no chat_template in "
                f"tokenizer_config.json; set {_TEMPLATE}"
            )
        source, where = found
        form = files.message_format
        chat = ChatTemplate(
            source=source,
            message_format=message_format(source, kind=self.kind) if form == "auto" else form,
            variables={**logit_score.special_tokens(self.checkpoint), **files.variables},
            where=where,
        )
        return chat.prompt(instructed=instructed), where

    def _limits(self) -> PromptLimits:
        asked, frame = self.asked, self.prompt.frame
        stated = self._files.max_length if asked.template is None else None
        positions = self.config.get("max_position_embeddings")
        if stated is None and asked.max_length is None:
            limit = tokenizer_limit(self.checkpoint, self.tokenizer.truncation)
        else:
            limit = stated
        length = resolve_max_length(
            asked.max_length,
            tokenizer=limit,
            positions=positions,
        )
        beside, document = 0, None
        if self.prompt.template.joined and (
            asked.query_share is not None or asked.max_length_counts != "prompt"
        ):
            raise ConfigurationError(
                "model.settings.query_share and max_length_counts are for a template in parts: "
                f"give a list as {_TEMPLATE}, whose parts are cut as wholes"
            )
        if asked.max_length_counts == "content":
            beside = len(frame.pieces[0]) + len(frame.pieces[2])
        elif asked.max_length_counts == "flag_embedding":
            # FlagEmbedding, inference/reranker/decoder_only/base.py: what comes before the last
            # words may be as long as max_length and they; they follow.
            beside, document = 2 * len(frame.pieces[2]), length
        total = length + beside
        if isinstance(positions, int) and total > positions:
            if stated is None:
                total, length = positions, positions - beside
            else:
                raise ConfigurationError(
                    f"model.settings.max_length: {length} and the prompt's {beside} tokens beside "
                    f"are more than the model's {positions} positions"
                )
        if total - frame.specials < 1:
            raise ConfigurationError(
                f"model.settings.max_length: {length} leaves no room beside the prompt's "
                f"{frame.specials} tokens; raise it"
            )
        share = asked.query_share
        return PromptLimits(
            total=total,
            query=None if share is None else int(length * share),
            document=document,
            long_documents=self.settings.long_documents,
            overlap=self.settings.chunk_overlap,
        )

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """The body, and of its vocabulary the answers' rows, or their difference."""
        if self.kind in PACKABLE:
            self.network = load_log_odds(
                self.checkpoint,
                kind=self.kind,
                answers=(self.yes, self.no),
                packed=self.packed,
                device=device,
                dtype=dtype,
            )
            return
        from pipeline.networks.decoders.causal_lm import load_causal_lm

        rows = [self.yes] if self.no is None else [self.yes, self.no]
        self.network = load_causal_lm(self.checkpoint, device=device, dtype=dtype, rows=rows)

    def encode(self, lists: CandidateLists) -> Sequences:
        """One prompt per document, or per chunk of it; read out at its last token."""
        return self.prompt.encode(lists, self.limits)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit, or the log-odds, after each prompt."""
        if self.kind in PACKABLE:
            return read_log_odds(self.network, batch, packed=self.packed)
        from pipeline.networks.decoders.causal_lm import read_rows

        logits = read_rows(self.network, batch)
        return logits if self.no is None else logits[:, :1] - logits[:, 1:]

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """Logits, or what the activation makes of them; of a chunked document, the aggregate."""
        activation: Literal["none", "sigmoid"] = "none" if self.activation == "none" else "sigmoid"
        if self.activation == "scaled_sigmoid":
            shift, scale = self.asked.activation_shift, self.asked.activation_scale
            readouts = (readouts - np.float32(shift)) / np.float32(scale)
        return decode_pairs(sequences, readouts, activation=activation, settings=self.settings)


def _supported(checkpoint: Checkpoint) -> str:
    config, where = checkpoint.config, checkpoint.folder / "config.json"
    kind, stated = str(config.get("model_type")), config.get("architectures")
    names = [str(name) for name in stated] if isinstance(stated, list) else []
    if any(not name.endswith("ForCausalLM") for name in names) or (
        "auto_map" in config and (kind not in PACKABLE)
    ):
        raise ModelError(
            f"{where}: architectures {names} of model_type '{kind}'; the token_logit family runs "
            "language models of text (…ForCausalLM) that transformers has itself"
        )
    if config.get("use_bidirectional_attention"):
        raise ModelError(
            f"{where}: use_bidirectional_attention is set; the token_logit family runs networks "
            "that see what came before"
        )
    return kind
