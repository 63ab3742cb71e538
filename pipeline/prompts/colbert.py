"""ColBERT's way with texts: markers, mask padding and the skip list, in each of its layouts.

``artifact.metadata``, as in colbert-ai (colbert/modeling/tokenization, HF_ColBERT.mask):

* query: ``[CLS] [marker] query [SEP]``, cut and then padded with mask tokens to ``query_maxlen``;
  the mask tokens are scored, and attended to where ``attend_to_mask_tokens`` says so;
* document: ``[CLS] [marker] document [SEP]``, cut to ``doc_maxlen``; tokens on the skip list are
  attended to and not scored, and neither is a literal padding token.

PyLate and sentence-transformers differ in the skip list: the id of the word itself and not the
first id of its encoding, which with SentencePiece is often a bare "▁". Words that are no token are
left out, as sentence-transformers has it; PyLate takes the unknown token for them, and so loses
every unknown token of a document.
"""

from __future__ import annotations

import string
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from pipeline.checkpoints.values import whole_number, yes_or_no
from pipeline.errors import ModelError
from pipeline.prompts.token_vectors import Filling, SideRules, TokenVectorTokenizer

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint
    from pipeline.checkpoints.sentence_transformers.multi_vector import MultiVector, Side
    from pipeline.tokenization.tokens import TextTokenizer

#: Tokens that a text has with its special ones and its marker, and one of its own.
_SHORTEST: Final = 4


@dataclass(frozen=True)
class Metadata:
    """What ``artifact.metadata`` says; colbert-ai's defaults where it is silent.

    Attributes:
        dim: length of a token's vector.
        query_length: tokens of every query.
        document_length: tokens of a document at most.
        attend_to_masks: whether other tokens attend to a query's mask tokens.
        mask_punctuation: whether punctuation is on the skip list.
        query_marker: token after the first one of a query.
        document_marker: token after the first one of a document.
    """

    dim: int
    query_length: int
    document_length: int
    attend_to_masks: bool
    mask_punctuation: bool
    query_marker: str
    document_marker: str

    @classmethod
    def read(cls, checkpoint: Checkpoint) -> Metadata:
        """Of a checkpoint folder.

        Raises:
            ModelError: there is none, it asks for another similarity than cosine, or a value is
                not what it must be.
        """
        data = checkpoint.table("artifact.metadata", required=True)
        if data.get("similarity", "cosine") != "cosine":
            raise ModelError(
                f"{checkpoint.folder}/artifact.metadata: similarity '{data['similarity']}'; the "
                "late_interaction family computes cosine"
            )
        where = checkpoint.folder / "artifact.metadata"
        return cls(
            dim=whole_number(data, "dim", where=where, default=128),
            query_length=whole_number(
                data, "query_maxlen", where=where, default=32, least=_SHORTEST
            ),
            document_length=whole_number(
                data, "doc_maxlen", where=where, default=220, least=_SHORTEST
            ),
            attend_to_masks=yes_or_no(data, "attend_to_mask_tokens", where=where, default=False),
            mask_punctuation=yes_or_no(data, "mask_punctuation", where=where, default=True),
            query_marker=str(data.get("query_token_id", "[unused0]")),
            document_marker=str(data.get("doc_token_id", "[unused1]")),
        )


def colbert_ai_tokenizer(
    checkpoint: Checkpoint, texts: TextTokenizer, metadata: Metadata
) -> TokenVectorTokenizer:
    """Texts as colbert-ai reads them.

    Raises:
        ModelError: a token that the metadata or tokenizer_config.json names is none.
    """
    pad, mask = (_special(checkpoint, texts, name) for name in ("pad_token", "mask_token"))
    marks = texts.words(list(string.punctuation) if metadata.mask_punctuation else [])
    # The first id of each mark alone, not the mark's own id.
    skipped = np.unique(marks.token_ids[marks.offsets[:-1][marks.lengths > 0]])
    return TokenVectorTokenizer(
        texts,
        query=SideRules(marker=_token(checkpoint, texts, metadata.query_marker)),
        document=SideRules(
            marker=_token(checkpoint, texts, metadata.document_marker),
            skipped=tuple(skipped.tolist()),
        ),
        filling=Filling(token=mask, attended=metadata.attend_to_masks),
        padding=pad,
    )


def multi_vector_tokenizer(
    checkpoint: Checkpoint, texts: TextTokenizer, described: MultiVector
) -> TokenVectorTokenizer:
    """Texts as PyLate and sentence-transformers read them.

    Raises:
        ModelError: a marker, or what fills queries, is no token of the tokenizer.
    """
    found = (texts.library.token_to_id(word) for word in described.skipped)
    skipped = tuple(sorted({token for token in found if token is not None}))
    filling, expansion = None, described.expansion
    if expansion is not None:
        token = (
            _special(checkpoint, texts, "mask_token", "eos_token")
            if expansion.token is None
            else _token(checkpoint, texts, expansion.token)
        )
        filling = Filling(token=token, attended=expansion.attended)
    sides = []
    for side in (described.query, described.document):
        marker, prompt = _marker(checkpoint, texts, side)
        skips = skipped if side.skips else ()
        sides.append(SideRules(marker=marker, prompt=prompt, skipped=skips))
    return TokenVectorTokenizer(
        texts, query=sides[0], document=replace(sides[1], kept=described.kept), filling=filling
    )


def _marker(checkpoint: Checkpoint, texts: TextTokenizer, side: Side) -> tuple[int | None, str]:
    """The token behind the first special one, and the text before every text.

    PyLate inserts a marker by its id: spelled before the text it may not be found there, as
    normalisers change its letters. A prompt that begins with an added token is taken apart in the
    same way, where that makes no difference to the ids.
    """
    if side.marker:
        words = side.marker.split(None, 1)
        known = texts.library.token_to_id(side.marker) is not None or not words
        name = side.marker if known else words[0]
        return _token(checkpoint, texts, name), side.marker.removeprefix(name) + side.prompt

    def ids(text: str) -> list[int]:
        return list(texts.library.encode(text, add_special_tokens=False).ids)

    first = ids(f"{side.prompt}a")[0]
    added = texts.library.get_added_tokens_decoder().get(first)
    if added is not None and side.prompt.startswith(added.content):
        rest = side.prompt.removeprefix(added.content)
        if all(ids(side.prompt + text) == [first, *ids(rest + text)] for text in ("a", " a")):
            return first, rest
    return None, side.prompt


def _special(checkpoint: Checkpoint, texts: TextTokenizer, *kinds: str) -> int:
    """The first of some special tokens that tokenizer_config.json names, such as mask_token."""
    names = {
        **checkpoint.table("special_tokens_map.json"),
        **checkpoint.table("tokenizer_config.json", required=True),
    }
    return _token(checkpoint, texts, next((names[kind] for kind in kinds if names.get(kind)), None))


def _token(checkpoint: Checkpoint, texts: TextTokenizer, name: Any) -> int:
    text = name.get("content") if isinstance(name, dict) else name
    token = texts.library.token_to_id(text) if isinstance(text, str) else None
    if token is None:
        raise ModelError(
            f"{checkpoint.folder}: the model's files or tokenizer_config.json name the token "
            f"{text!r}, which tokenizer.json lacks; fetch the checkpoint again"
        )
    return int(token)
