"""Qwen3-VL-Reranker: texts and images on either side, the log-odds of "yes" against "no".

The prompt, the cut and the readout are those of the script that is published with the weights:

    score = sigmoid(h · (E_yes - E_no))     # h: the last state of the last token; float32

Of a side that holds an image and a text both are read, the image first; an empty side is the word
NULL. A prompt that is too long loses words behind what fits, and neither a special token nor a part
of an image. The script cuts all but the last five ids of a prompt, so a prompt may have
``max_length`` and five. Videos are not read. Images that cannot be used reject their own document
only, where the script would score a prompt without query and document.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
from pydantic import Field

from pipeline import schema
from pipeline.candidates.reasons import IMAGE_LIMIT
from pipeline.checkpoints.sentence_transformers.module_chain import modules
from pipeline.checkpoints.values import whole_number
from pipeline.errors import ModelError
from pipeline.images.decoding import ImageSize
from pipeline.images.distinct import DistinctImages
from pipeline.images.settings import ImageSettings
from pipeline.networks.decoders.qwen2_vl_loading import load_qwen_vl
from pipeline.prompts.image_processing import ImageProcessing
from pipeline.prompts.pairs import Activation, sigmoid
from pipeline.prompts.qwen2_vl import DOCUMENT, Layout, PromptBuilder, flat_config
from pipeline.rerankers.base import WeightedReranker
from pipeline.sequences.arrays import Floats
from pipeline.sequences.batch import Batch
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.plain_texts import SpecialTokenSettings
from pipeline.tokenization.tokens import TextTokenizer, distinct

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    import torch

    from pipeline.candidates.lists import CandidateLists
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.sequences.arrays import Int32s, Int64s

_KIND: Final = "qwen3_vl"

#: scripts/qwen3_vl_reranker.py of Qwen/Qwen3-VL-Reranker-2B, through the chat template beside it.
HEAD: Final = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and "
    'the Instruct provided. Note that the answer can only be "yes" or "no".<|im_end|>\n'
    "<|im_start|>user\n"
)
TAIL: Final = "<|im_end|>\n<|im_start|>assistant\n"
INSTRUCTION: Final = "Given a search query, retrieve relevant candidates that answer the query."
_BEFORE_DOCUMENT: Final = "<Document>:"
_NOTHING: Final = "NULL"

#: Ids at the end of a prompt that the script does not cut.
_SPARED: Final = 5

#: Parts of a prompt: ids, or the number of an image.
Parts = list["Int32s | int"]


class Qwen3VLRerankerSettings(SpecialTokenSettings, ImageSettings):
    """Settings of the qwen3_vl_reranker family."""

    instruction: str = Field(
        INSTRUCTION, description="What counts as relevant, in English; the script's by default."
    )
    max_length: int = Field(
        8192,
        ge=64,
        description="Tokens per prompt, images included and its last five not counted. Special "
        "tokens and images are never cut.",
    )
    max_pixels: int | None = Field(
        None,
        ge=1024,
        description="Larger images are reduced; default: as preprocessor_config.json says. 1,024 "
        "pixels are a token.",
    )
    min_pixels: int | None = Field(
        None,
        ge=1024,
        description="Smaller images are enlarged; default: as preprocessor_config.json says.",
    )
    activation: Activation = Field(
        "sigmoid",
        description="sigmoid: the probability of yes, as the script returns; none: its log-odds, "
        "as sentence-transformers returns.",
    )


class Qwen3VLReranker(WeightedReranker):
    """Qwen3-VL-Reranker 2B and 8B."""

    Settings = Qwen3VLRerankerSettings
    pointwise = True
    reads_images = True
    can_pack = True
    shares_prefixes = True

    def __init__(self, *, checkpoint: Checkpoint, settings: Qwen3VLRerankerSettings) -> None:
        super().__init__(checkpoint=checkpoint, settings=settings)
        self.score_scale = "probability" if settings.activation == "sigmoid" else "logit"
        self.config = flat_config(checkpoint, _KIND)
        self.layout = Layout.of(checkpoint, _KIND)
        self.processing = ImageProcessing.of(checkpoint, self.layout)
        self.size = ImageSize(
            factor=self.layout.factor,
            min_pixels=settings.min_pixels or self.processing.min_pixels,
            max_pixels=settings.max_pixels or self.processing.max_pixels,
            steps="qwen_vl_utils",
        )
        self.tokenizer = TextTokenizer(checkpoint, special_tokens=settings.special_tokens)
        self.answers = _answers(checkpoint, self.tokenizer)
        self.special = _special(self.tokenizer)
        self.network: Any = None

    def load_network(self, *, device: torch.device, dtype: torch.dtype) -> None:
        """Both towers, and the difference of two rows of the output layer, in float32."""
        from torch import nn

        output = "lm_head.weight"
        if self.config["tie_word_embeddings"]:
            output = "model.language_model.embed_tokens.weight"

        def difference(name: str, tensor: torch.Tensor) -> Iterator[tuple[str, torch.Tensor]]:
            if name == output:
                yes, no = (tensor[token].float() for token in self.answers)
                yield "score.weight", (yes - no)[None]

        self.network = load_qwen_vl(
            self.checkpoint,
            kind=_KIND,
            layout=self.layout,
            levels=self.processing.levels,
            head=lambda: nn.Linear(int(self.config["hidden_size"]), 1, bias=False),
            of_head=difference,
            packed=self.packed,
            device=device,
            dtype=dtype,
        )

    def encode(self, lists: CandidateLists) -> Sequences:
        """One prompt per document; prompts of one query share all that stands before the document.

        A prompt is tokenised in pieces, which is exact: special tokens stand around images, and
        the line break before ``<Document>:`` ends a word of Qwen's tokenizer whatever stands
        before it. So every distinct text is tokenised once.
        """
        images = DistinctImages(self.images, self.size)
        queries = self._queries(lists.queries, images)
        documents = self._documents(lists.documents, images)
        head, tail = (self.tokenizer.words([words]).token_ids for words in (HEAD, TAIL))
        builder = PromptBuilder(self.layout, images.kept, len(documents), kept=self.special)
        rejected: dict[int, str] = {}
        for place, query in enumerate(lists.query_of_document):
            asked, document = queries[query], documents[place]
            if isinstance(asked, str) or isinstance(document, str):
                rejected[place] = document if isinstance(document, str) else str(asked)
            elif not builder.add(
                place,
                [head, *asked, *document, tail[:-_SPARED]],
                opening=1 + len(asked),
                room=self.settings.max_length,
                ending=tail[-_SPARED:],
                truncated=False,
            ):
                rejected[place] = IMAGE_LIMIT
        return builder.build(rejected)

    def _queries(self, table: pa.Table, images: DistinctImages) -> list[Parts | str]:
        """The parts of each query [Q], instruction and line break included, or why it has none."""
        before = f"<Instruct>: {self.settings.instruction}<Query>:"
        return self._sides(table, schema.QUERY, images, before=before, after="\n")

    def _documents(self, table: pa.Table, images: DistinctImages) -> list[Parts | str]:
        """The parts of each document [N], or why it has none."""
        return self._sides(table, schema.TEXT, images, before=_BEFORE_DOCUMENT, after="")

    def _sides(
        self, table: pa.Table, column: str, images: DistinctImages, *, before: str, after: str
    ) -> list[Parts | str]:
        """Of each row what stands between ``before`` and ``after``, both included."""
        texts, which = distinct(table.column(column))
        alone = self._ids([f"{before}{text or _NOTHING}{after}" for text in texts])
        if schema.IMAGE not in table.column_names:
            return [[alone[text]] for text in which]
        shown = images.places(value.as_py() for value in table.column(schema.IMAGE))
        beside = self._ids([f"{text}{after}" for text in texts])
        (opening,) = self._ids([before])
        return [
            [alone[text]] if image is None else _with(image, [opening], [beside[text]])
            for text, image in zip(which, shown, strict=True)
        ]

    def _ids(self, texts: list[str]) -> list[Int32s]:
        arena = self.tokenizer.encode(texts)
        return np.split(arena.token_ids, arena.offsets[1:-1])

    def forward(self, batch: Batch) -> torch.Tensor:
        """float32 [b, 1]: the log-odds of yes against no after each prompt."""
        readouts: torch.Tensor = self.network(batch)
        return readouts

    def decode(self, lists: CandidateLists, sequences: Sequences, readouts: Floats) -> Floats:
        """The probability of yes, or its log-odds; NaN for rejected documents."""
        scores = np.full(lists.documents.num_rows, np.nan, dtype=np.float32)
        logits = readouts[:, 0]
        is_logit = self.settings.activation == "none"
        scores[sequences.links[DOCUMENT]] = logits if is_logit else sigmoid(logits)
        return scores


def _with(image: int | str, before: Parts, after: Parts) -> Parts | str:
    """A side with an image among its parts, or why the image is none."""
    return image if isinstance(image, str) else [*before, image, *after]


def _special(tokenizer: TextTokenizer) -> Int64s:
    """Ids of the special tokens, which no cut takes."""
    added = tokenizer.library.get_added_tokens_decoder()
    return np.array(sorted(i for i, token in added.items() if token.special), dtype=np.int64)


def _answers(checkpoint: Checkpoint, tokenizer: TextTokenizer) -> tuple[int, int]:
    """Ids of yes and no: as the checkpoint's LogitScore says, else the tokens of these words.

    Raises:
        ModelError: there are no such tokens.
    """
    for module in modules(checkpoint):
        if module.kind == "LogitScore":
            name = f"{module.folder}/config.json"
            config, where = checkpoint.table(name), checkpoint.folder / name
            yes, no = (
                whole_number(config, key, where=where, least=0)
                for key in ("true_token_id", "false_token_id")
            )
            return yes, no
    first, second = (tokenizer.library.token_to_id(word) for word in ("yes", "no"))
    if first is None or second is None:
        raise ModelError(
            f"{checkpoint.folder}/tokenizer.json: no tokens 'yes' and 'no'; the answer is read "
            "from them, so this is not a checkpoint of the qwen3_vl_reranker family"
        )
    return int(first), int(second)
