"""MonoQwen2-VL: is a page image relevant to a query, True or False? Qwen2-VL with a LoRA adapter.

The score is P(True) among the two answers, in float32, as ``rerankers.MonoVLMRanker`` computes it
(its ``return_logits`` is ``activation: none``). ``model.weights`` is the base model,
``model.adapter`` the adapter, which is merged when the weights are loaded; without it,
``model.weights`` is a checkpoint that has been merged already.

The model reads images only: a document without one is rejected. Images in the queries are not
part of its prompt.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.candidates.reasons import IMAGE_FETCH, IMAGE_LIMIT
from pipeline.checkpoints.values import whole_number
from pipeline.errors import ModelError
from pipeline.images.decoding import ImageSize
from pipeline.images.distinct import DistinctImages
from pipeline.images.settings import ImageSettings
from pipeline.networks.decoders.qwen2_vl_loading import load_qwen_vl
from pipeline.prompts.image_processing import ImageProcessing
from pipeline.prompts.pairs import sigmoid
from pipeline.prompts.qwen2_vl import (
    DOCUMENT,
    Layout,
    PromptBuilder,
    flat_config,
)
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokens import TextTokenizer, distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint

#: Qwen2-VL's chat template for one user turn of an image and a text.
_BEFORE_IMAGE: Final = (
    "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
)
_QUESTION: Final = (
    "Assert the relevance of the previous image document to the following query, answer True or "
    "False. The query is: "
)
_ENDING: Final = "<|im_end|>\n<|im_start|>assistant\n"

#: Columns of a readout.
_ANSWERS: Final = ("True", "False")


class MonoQwen2VLSettings(SpecialTokenSettings, ImageSettings):
    """Settings of the mono_qwen2_vl family."""

    max_length: int | None = Field(
        None, ge=64, description="Tokens per pair; default: the model's positions."
    )
    max_pixels: int | None = Field(
        None,
        ge=784,
        description="Larger images are reduced; default: as preprocessor_config.json says.",
    )
    min_pixels: int | None = Field(
        None,
        ge=784,
        description="Smaller images are enlarged; default: as preprocessor_config.json says.",
    )
    activation: Literal["softmax", "none"] = Field(
        "softmax", description="softmax gives P(True); none gives the logit of True."
    )


class MonoQwen2VL(WeightedReranker):
    """Qwen2-VL asked for True or False."""

    Settings = MonoQwen2VLSettings
    pointwise = True
    reads_images = True
    can_pack = True
    shares_prefixes = True
    score_scale = "probability"

    def __init__(self, *, checkpoint: Checkpoint, settings: MonoQwen2VLSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.score_scale = "probability" if settings.activation == "softmax" else "logit"
        self.config = flat_config(checkpoint)
        self.layout = Layout.of(checkpoint)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.max_length = settings.max_length or whole_number(
            self.config, "max_position_embeddings", where=checkpoint.folder / "config.json"
        )
        self.processing = ImageProcessing.of(checkpoint, self.layout)
        self.size = ImageSize(
            factor=self.layout.factor,
            min_pixels=settings.min_pixels or self.processing.min_pixels,
            max_pixels=settings.max_pixels or self.processing.max_pixels,
        )
        self.answers = [self._one_token(answer) for answer in _ANSWERS]
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build transformers' Qwen2-VL; of its output layer only the two answers, in float32."""
        from torch import nn

        output = "lm_head.weight"
        if self.config.get("tie_word_embeddings", False):
            output = "model.language_model.embed_tokens.weight"

        def answers(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
            if name == output:
                yield "score.weight", tensor[self.answers]

        self.network = load_qwen_vl(
            self.checkpoint,
            layout=self.layout,
            levels=self.processing.levels,
            head=lambda: nn.Linear(int(self.config["hidden_size"]), len(_ANSWERS), bias=False),
            of_head=answers,
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """Qwen2-VL's chat with the page and the question; a query that is too long is cut."""
        images = DistinctImages(self.images, self.size)
        count = lists.documents.num_rows
        column: Any = [None] * count
        if schema.IMAGE in lists.documents.column_names:
            column = (value.as_py() for value in lists.documents.column(schema.IMAGE))
        pages = images.places(column)
        texts, query_text = distinct(lists.queries.column(schema.QUERY))
        asked = self.tokenizer.encode([_QUESTION + text for text in texts])
        questions = np.split(asked.token_ids, asked.offsets[1:-1])
        before, ending = (self.tokenizer.words([w]).token_ids for w in (_BEFORE_IMAGE, _ENDING))
        builder = PromptBuilder(self.layout, images.kept, count)
        rejected: dict[int, str] = {}
        for document, query in enumerate(lists.query_of_document):
            page = pages[document]
            if page is None or isinstance(page, str):
                rejected[document] = page or IMAGE_FETCH
            elif not builder.add(
                document,
                [before, page, questions[query_text[query]]],
                opening=2,
                room=self.max_length - len(ending),
                ending=ending,
                truncated=False,
            ):
                rejected[document] = IMAGE_LIMIT
        return builder.build(rejected)

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 2]: the logits of True and False after each prompt."""
        readouts: torch.Tensor = self.network(batch)
        return readouts

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """P(True) among the two answers, or its logit; NaN for rejected documents."""
        scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
        said_true, said_false = readouts[:, 0], readouts[:, -1]
        softmax = self.settings.activation == "softmax"
        scores[sequences.links[DOCUMENT]] = (
            sigmoid(said_true - said_false) if softmax else said_true
        )
        return scores

    def _one_token(self, answer: str) -> int:
        ids = self.tokenizer.words([answer]).token_ids
        if len(ids) != 1:
            raise ModelError(
                f"{self.checkpoint.folder}: the tokenizer has no single token for '{answer}'; is "
                "this the tokenizer of Qwen2-VL?"
            )
        return int(ids[0])
