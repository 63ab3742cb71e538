"""What people should know of an input before they pay for a run over it, in sentences."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from pipeline.candidates.lists import CandidateLists
from pipeline.config import JobConfig
from pipeline.inspection.contents import distinct_values
from pipeline.plurals import agreeing, counted

#: Ids of a sample that are compared with each other; more differ by what these do.
_MOST_COMPARED: Final = 200_000

#: Shares from which something is worth a sentence.
_NOTABLE: Final = 0.01
_CUT: Final = 0.05


def oddities(
    facts: dict[str, Any], lists: Sequence[CandidateLists], config: JobConfig
) -> list[str]:
    """Sentences about an input that is read.

    Args:
        facts: of the input, as :func:`pipeline.inspection.inspect.inspect` gathers them.
        lists: the sample that they are from.
        config: the job.
    """
    return [
        *_of_order(facts["order"]),
        *_of_lists(facts),
        *_of_contents(facts, config),
        *_of_ids(lists),
        *_of_tokens(facts["units"]),
    ]


def _of_order(order: dict[str, Any]) -> Iterator[str]:
    if order["kind"] == "scattered":
        example = order["example"]
        places = " and ".join(
            f"{example[place]['path']}, row {example[place]['row']}"
            for place in ("first", "second")
        )
        yield (
            f"scattered: rows of query_id {example['query_id']!r} stand apart ({places}), so a run "
            "has to bring the rows of each query together first; sort the input by query_id once "
            "to save that"
        )
    elif order["kind"] == "grouped":
        yield "the queries are grouped but not sorted by query_id, which is all that a run needs"
    if order["checked"] == "sample" and order["kind"] != "scattered":
        yield "the order was seen in a sample of the row groups; a run refuses what it finds apart"


def _of_lists(facts: dict[str, Any]) -> Iterator[str]:
    for giant in facts["giants"]:
        yield (
            f"query_id {giant['query_id']!r} alone has {giant['candidates']:,} candidates: they "
            "are one unit, which one replica scores and holds in memory"
        )
    per_query = facts["candidates_per_query"]
    if per_query is None:
        return
    single = sum(n for low, high, n in per_query["histogram"] if low <= 1 and high <= 1)
    if single > _NOTABLE * per_query["count"]:
        yield (
            f"{counted(single, 'query')} {agreeing(single, 'have')} at most one candidate, so "
            "there is nothing to rank there"
        )


def _of_contents(facts: dict[str, Any], config: JobConfig) -> Iterator[str]:
    contents, read = facts["contents"], facts["sample"]["candidates"]
    share, most = contents["share_not_scored"], config.quarantine.max_error_rate
    if share > most:
        yield (
            f"{share:.1%} of the candidates that were read would not be scored, more than "
            f"quarantine.max_error_rate = {most:g}: a run would end with exit code 6, unpublished"
        )
    texts = contents["texts"]
    if texts["empty"]:
        yield f"{texts['empty']:,} of {read:,} texts are empty or blank, and scored as such"
    if texts["identical"] > _NOTABLE * read:
        yield (
            f"{texts['identical']:,} of {read:,} documents have the text of an earlier one in the "
            "same list, under another doc_id"
        )
    if number := contents["query_texts"]["empty"]:
        yield f"{counted(number, 'query')} of the sample {agreeing(number, 'are')} empty or blank"
    if contents["images"] is not None or contents["query_images"] is not None:
        yield "there are images; only multimodal models read them (docs/models.md)"


def _of_ids(lists: Sequence[CandidateLists]) -> Iterator[str]:
    for name, values in (
        ("query_id", distinct_values(lists, lambda one: one.queries.column("query_id"))),
        ("doc_id", distinct_values(lists, lambda one: one.documents.column("doc_id"))),
    ):
        texts = [value for value in values if isinstance(value, str)][:_MOST_COMPARED]
        pair = _alike(texts)
        if pair is not None:
            yield (
                f"{name}s {pair[0]!r} and {pair[1]!r} differ only by case, white space or Unicode "
                "normal form; they are two ids"
            )
        if any(value == "" for value in texts):
            yield f"one {name} is the empty text, which TREC files cannot hold"
        elif any(any(map(str.isspace, value)) for value in texts):
            yield f"{name}s hold white space, which TREC files cannot hold (output.formats)"


def _alike(texts: Iterable[str]) -> tuple[str, str] | None:
    seen: dict[str, str] = {}
    for text in texts:
        plain = "".join(unicodedata.normalize("NFKC", text).casefold().split())
        if seen.setdefault(plain, text) != text:
            return seen[plain], text
    return None


def _of_tokens(units: dict[str, Any]) -> Iterator[str]:
    tokens, limit = units["tokens"], units["max_tokens"]
    if tokens is not None and limit is not None and tokens["at_limit"] > _CUT * tokens["count"]:
        share = tokens["at_limit"] / tokens["count"]
        yield (
            f"{share:.0%} of the sequences reach the {limit:,} tokens that {units['model']} reads "
            "at most, so their texts are cut there"
        )
