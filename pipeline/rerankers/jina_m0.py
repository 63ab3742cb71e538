"""jina-reranker-m0: texts and images on either side of a pair, Qwen2-VL with a score head.

The score is ``sigmoid(logit - 2.65)`` in float32, what upstream's ``compute_score()`` returns in
its first version; later versions take the sigmoid in bfloat16, which ties what is not equal. The
document stands before the query, without a chat template. Upstream scores texts and images of a
list in separate calls; here they are ranked together.

A document with an image is its image, unless ``prefer: text`` and it has a text; so is a query.
Upstream scores one of the two and the model was trained so. ``prefer: both`` is this family's own:
the image stands where it would alone, and the text right behind it. Images that cannot be used
reject their own document only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np
from pydantic import Field, model_validator

from pipeline import schema
from pipeline.candidates.reasons import IMAGE_LIMIT
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
from pipeline.tokenization.tokens import TextTokenizer, TokenArena, distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s

#: Ends every sequence and is read out: the byte 0xA7, which no text alone ends with.
_SCORE_TOKEN: Final = 100

#: Subtracted from the logit; a constant of upstream's code.
_BIAS: Final = np.float32(2.65)

_BEFORE_DOCUMENT: Final = "**Document**:\n"
_AFTER_DOCUMENT: Final = "\n"
_BEFORE_QUERY: Final = "**Query**:\n"


class JinaM0Settings(SpecialTokenSettings, ImageSettings):
    """Settings of the jina_m0 family."""

    max_length: int = Field(10_240, ge=8, description="Tokens per pair, images included.")
    max_query_length: int = Field(
        512,
        ge=1,
        description="Tokens left to the query when max_doc_length is not set. As upstream, a query "
        "is not cut to it: the end of the whole prompt is cut.",
    )
    max_doc_length: int | None = Field(
        None,
        ge=1,
        description="Tokens of a text document; default: max_length less max_query_length, and at "
        "least max_query_length.",
    )
    max_pixels: int = Field(
        602_112, ge=784, description="Larger images are reduced; 602,112 pixels are 768 tokens."
    )
    min_pixels: int = Field(3_136, ge=784, description="Smaller images are enlarged.")
    prefer: Literal["image", "text", "both"] = Field(
        "image",
        description="What a document or query is scored by that has an image and a text. both: the "
        "text behind the image, which upstream has no form for; measure it before you use it.",
    )

    @property
    def document_tokens(self) -> int:
        """Tokens that a text document is cut to."""
        if self.max_doc_length is not None:
            return self.max_doc_length
        return max(self.max_length - self.max_query_length, self.max_query_length)

    @model_validator(mode="after")
    def _lengths_fit(self) -> JinaM0Settings:
        if self.document_tokens + self.max_query_length > self.max_length:
            raise ValueError(
                f"max_doc_length {self.document_tokens} and max_query_length "
                f"{self.max_query_length} are more than max_length {self.max_length} together"
            )
        return self


class JinaM0(WeightedReranker):
    """Qwen2-VL in the layout of jina-reranker-m0."""

    Settings = JinaM0Settings
    pointwise = True
    reads_images = True
    can_pack = True
    shares_prefixes = True
    score_scale = "probability"

    def __init__(self, *, checkpoint: Checkpoint, settings: JinaM0Settings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.layout = Layout.of(checkpoint)
        self.processing = ImageProcessing.of(checkpoint, self.layout)
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.size = ImageSize(
            factor=self.layout.factor,
            min_pixels=settings.min_pixels,
            max_pixels=settings.max_pixels,
        )
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Build transformers' Qwen2-VL and the score head, which runs in float32."""
        from torch import nn

        width = int(flat_config(self.checkpoint)["hidden_size"])
        self.network = load_qwen_vl(
            self.checkpoint,
            layout=self.layout,
            levels=self.processing.levels,
            head=lambda: nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 1)),
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """``**Document**:`` and the document, ``**Query**:`` and the query, the score token.

        The prompt is tokenised in two pieces, which is exact: the line break before ``**Query``
        ends a word of Qwen2's tokenizer whatever stands before it. So every distinct text is
        tokenised once, and a document is read once for all its queries of a unit.
        """
        images = DistinctImages(self.images, self.size)
        before, after, ask = self._fixed()
        pictured = images.places(self._images(lists.queries, schema.QUERY))
        asked = zip(pictured, self._queries(lists), self._query_behind(lists), strict=True)
        queries = [_side(image, text, [ask], behind) for image, text, behind in asked]
        texts, cut = self._documents(lists)
        shown = images.places(self._images(lists.documents, schema.TEXT))
        sizes = [len(self.layout.ids(images.kept[i])) if isinstance(i, int) else 0 for i in shown]
        behind_image, cut_behind = self._document_behind(lists, sizes, after)
        builder = PromptBuilder(self.layout, images.kept, len(texts))
        rejected: dict[int, str] = {}
        for document, query in enumerate(lists.query_of_document):
            first = _side(shown[document], texts[document], [before], behind_image[document])
            second = queries[query]
            if isinstance(first, str) or isinstance(second, str):
                rejected[document] = first if isinstance(first, str) else str(second)
            elif not builder.add(
                document,
                [*first, *second],
                opening=len(first),
                room=self.settings.max_length - 1,
                ending=np.array([_SCORE_TOKEN], dtype=np.int32),
                truncated=(cut if shown[document] is None else cut_behind)[document],
            ):
                rejected[document] = IMAGE_LIMIT
        return builder.build(rejected)

    def _images(self, table: pa.Table, text: str) -> Iterator[object]:
        """The image of each row, None where there is none or the text is scored."""
        if schema.IMAGE not in table.column_names:
            yield from [None] * table.num_rows
            return
        for image, beside in zip(table.column(schema.IMAGE), table.column(text), strict=True):
            by_text = self.settings.prefer == "text" and beside.as_py()
            yield None if by_text else image.as_py()

    def _fixed(self) -> list[Int32s]:
        """Ids of the prompt around images: before a document, after it, before a query."""
        arena = self.tokenizer.words([_BEFORE_DOCUMENT, _AFTER_DOCUMENT, _BEFORE_QUERY])
        return [_text(arena, i) for i in range(3)]

    def _queries(self, lists: CandidateLists) -> list[Int32s]:
        """Ids of each query [Q] as text, with the prompt before it."""
        texts, places = distinct(lists.queries.column(schema.QUERY))
        arena = self.tokenizer.encode([_BEFORE_QUERY + text for text in texts])
        return [_text(arena, place) for place in places]

    def _documents(self, lists: CandidateLists) -> tuple[list[Int32s], list[bool]]:
        """Ids of each document [N] as text, with the prompt around it, and whether it was cut.

        A text that reaches the limit is replaced by what its first tokens decode to, as upstream
        does; a character that is cut in the middle becomes U+FFFD.
        """
        texts, places = distinct(lists.documents.column(schema.TEXT))
        limit = self.settings.document_tokens
        alone = self.tokenizer.encode(texts)
        for long in np.flatnonzero(alone.lengths >= limit):
            ids = _text(alone, int(long))[:limit].tolist()
            texts[long] = self.tokenizer.library.decode(ids, skip_special_tokens=False)
        arena = self.tokenizer.encode([f"{_BEFORE_DOCUMENT}{t}{_AFTER_DOCUMENT}" for t in texts])
        cut = alone.lengths > limit
        return [_text(arena, place) for place in places], [bool(cut[place]) for place in places]

    def _query_behind(self, lists: CandidateLists) -> list[list[Int32s]]:
        """What stands behind the image of each query [Q]: its text, with ``prefer: both``."""
        if self.settings.prefer != "both":
            return [[]] * lists.queries.num_rows
        texts, places = distinct(lists.queries.column(schema.QUERY))
        arena = self.tokenizer.encode(texts)
        return [[_text(arena, place)] for place in places]

    def _document_behind(
        self, lists: CandidateLists, sizes: list[int], after: Int32s
    ) -> tuple[list[list[Int32s]], list[bool]]:
        """What stands behind the image of each document [N], and whether text of it was cut.

        With ``prefer: both`` that is its text, and image and text together have no more tokens than
        a text alone may have; ``sizes`` are the tokens of the images.
        """
        if self.settings.prefer != "both":
            return [[after]] * len(sizes), [False] * len(sizes)
        texts, places = distinct(lists.documents.column(schema.TEXT))
        arena = self.tokenizer.encode([f"{text}{_AFTER_DOCUMENT}" for text in texts])
        behind, cut = [], []
        for place, size in zip(places, sizes, strict=True):
            ids, room = _text(arena, place), max(0, self.settings.document_tokens - size)
            cut.append(len(ids) - len(after) > room)
            behind.append([ids[:room], after] if cut[-1] else [ids])
        return behind, cut

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the logit of each sequence, without the bias."""
        readouts: torch.Tensor = self.network(batch)
        return readouts

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The sigmoid of the logit less its bias; NaN for rejected documents."""
        scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
        scores[sequences.links[DOCUMENT]] = sigmoid(readouts[:, 0] - _BIAS)
        return scores


def _side(
    image: int | str | None, text: Int32s, before: list[Int32s], after: list[Int32s]
) -> list[Int32s | int] | str:
    """One side of a prompt: ids and possibly an image among them; or why there is none."""
    if image is None:
        return [text]
    return image if isinstance(image, str) else [*before, image, *after]


def _text(arena: TokenArena, place: int) -> Int32s:
    return arena.token_ids[arena.offsets[place] : arena.offsets[place + 1]]
