"""What is worth knowing before a run is paid for, in a sentence each."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from pipeline.forecast.sample import Sample
from pipeline.forecast.subject import Subject

#: A longest hundredth with more than this share of all tokens is a long tail; it has 1 % of the
#: tokens where all sequences are equal, and about 4 % in web passages.
_TAIL_SHARE: Final = 0.10

#: Share of candidates that are cut, or whose text stands in their list before, from which it is
#: worth a word.
_CUT_SHARE: Final = 0.05
_COPIES_SHARE: Final = 0.01

#: Licences that do not allow commercial use, by how they are written.
_NOT_COMMERCIAL: Final = re.compile(r"\bNC\b|non-?commercial|research only", re.I)


def remarks(subject: Subject, sample: Sample | None) -> Iterator[str]:
    """Warnings about a planned job, the gravest first."""
    # Without weights there is no licence of any; a checkpoint without a card does not say its own.
    if subject.licence == "unknown" or (subject.digest and not subject.licence):
        yield f"licence: that of {subject.model} is not known; find out before its scores are used"
    elif _NOT_COMMERCIAL.search(subject.licence):
        yield (
            f"licence: {subject.licence} of {subject.model} does not allow commercial use, or only "
            "on terms of its own; `rerank models` lists others"
        )
    if sample is None:
        return
    yield from _of_lengths(sample)
    yield from _of_texts(subject, sample)


def _of_lengths(sample: Sample) -> Iterator[str]:
    if sample.tail_share > _TAIL_SHARE:
        yield (
            f"long tail: the longest 1 % of the sequences ({sample.quantile(0.99):,} tokens and "
            f"more; half have at most {sample.quantile(0.5):,}) hold {sample.tail_share:.0%} of "
            "all tokens; a lower max_length saves most of that"
        )


def _of_texts(subject: Subject, sample: Sample) -> Iterator[str]:
    cuts = [piece.truncated for piece in sample.pieces if piece.truncated is not None]
    cut = sum(cuts) / sample.documents
    if cut > _CUT_SHARE:
        yield (
            f"cut: {cut:.0%} of the documents are longer than {subject.model} reads; what stands "
            "behind the limit has no say in their scores"
        )
    copies = sum(piece.duplicates for piece in sample.pieces) / sample.documents
    if copies > _COPIES_SHARE:
        yield (
            f"duplicates: {copies:.0%} of the candidates have a text that stands in their list "
            "before, and tie with it; remove them from the lists to make room for others"
        )
