"""What judgements and a run have in common, and what an evaluation of the run does not see."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from pipeline.errors import InputContractError
from pipeline.plurals import agreeing, counted
from pipeline.ranking.id_forms import NearIds, matched, near_ids
from pipeline.ranking.others import Others, Qrels
from pipeline.ranking.qrels import shown
from pipeline.ranking.runs import Run

#: Lists whose ids are compared at once.
_AT_ONCE: Final = 1_000


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Of a run by judgements.

    Attributes:
        run: its name.
        queries: judged queries.
        absent: those that the run does not hold; they count as 0 in every mean.
        blank: those that it holds with a list none of whose documents is judged.
        others: queries of the run without judgements, which count nowhere.
        judged: judged documents of the queries that the run holds.
        judged_found: those of them that are in their query's list.
        relevant: as ``judged``, of a grade above 0.
        relevant_found: as ``judged_found``, of a grade above 0; no order of the lists finds more.
        near_queries: absent queries that differ from queries of the run by the form of ids alone.
        near_documents: judged documents that are in no list, and differ so from one in their list.
        examples: an id of a query and of a document on either side, for messages.
    """

    run: str
    queries: int
    absent: tuple[str, ...]
    blank: tuple[str, ...]
    others: int
    judged: int
    judged_found: int
    relevant: int
    relevant_found: int
    near_queries: tuple[NearIds, ...]
    near_documents: tuple[NearIds, ...]
    examples: Mapping[str, str | None]

    @property
    def held(self) -> int:
        """Judged queries that the run holds."""
        return self.queries - len(self.absent)

    def refuse(self) -> None:
        """Refuse to evaluate what was joined wrongly.

        Raises:
            InputContractError: see :meth:`wrong`.
        """
        why = self.wrong()
        if why is not None:
            raise InputContractError(why)

    def wrong(self) -> str | None:
        """Why a mean over this join would say nothing; None where it says something.

        That is: no judged query is in the run, no judged document in any list, or ids that differ
        by form alone are more than those that meet, which then meet by chance.
        """
        if not self.held:
            return self._no_query()
        if self.judged and not self.judged_found:
            return self._no_document()
        for what, near, met in (
            ("queries", self.near_queries, self.held),
            ("documents", self.near_documents, self.judged_found),
        ):
            missed = sum(each.count for each in near)
            if missed > met:
                return (
                    f"run '{self.run}': {missed:,} judged {what} differ from its {what} "
                    f"{_told(near)}, and {met:,} alone are written alike; write them alike: ids "
                    "are compared character by character"
                )
        return None

    def _no_query(self) -> str:
        example = {name: _example(value) for name, value in self.examples.items()}
        return (
            f"run '{self.run}': none of its queries ({self.others:,}) is judged; expected query "
            f"ids as in the judgements (such as {example['judged_query']}), found such as "
            f"{example['query']}{hint(self.near_queries)}"
        )

    def _no_document(self) -> str:
        example = {name: _example(value) for name, value in self.examples.items()}
        return (
            f"run '{self.run}': none of the documents in the lists of its {self.held:,} judged "
            f"queries is judged, so there is nothing to measure; expected document ids as in the "
            f"judgements (query {example['query']}: such as "
            f"{example['judged_document']}), found such as {example['document']}"
            f"{hint(self.near_documents)}; ids are compared character by character"
        )


def coverage(run: Run, qrels: Qrels, others: Others | None = None) -> Coverage:
    """Compare the ids of a run with those of judgements.

    Args:
        run: its lists; of queries without judgements only where ``others`` is None.
        qrels: relevance by query id and document id.
        others: the run's queries without judgements, noted as they were read.
    """
    lists = {query: ranking for query, ranking in run.rankings.items() if ranking}
    if others is None:
        others = Others(qrels)
        others.add(sorted(lists.keys() - qrels.keys()))
    held = sorted(lists.keys() & qrels.keys())
    absent = tuple(sorted(qrels.keys() - lists.keys()))
    grades = [
        (grade, doc in found)
        for query in held
        for found in (set(lists[query]),)
        for doc, grade in qrels[query].items()
    ]
    return Coverage(
        run=run.name,
        queries=len(qrels),
        absent=absent,
        blank=tuple(query for query in held if qrels[query].keys().isdisjoint(lists[query])),
        others=others.count,
        judged=len(grades),
        judged_found=sum(found for _, found in grades),
        relevant=sum(grade > 0 for grade, _ in grades),
        relevant_found=sum(found for grade, found in grades if grade > 0),
        near_queries=others.near(absent),
        near_documents=_near_documents(lists, qrels, held),
        examples=_examples(lists, qrels, held, others.example),
    )


def _near_documents(
    lists: Mapping[str, Sequence[str]], qrels: Qrels, held: Sequence[str]
) -> tuple[NearIds, ...]:
    pairs: list[tuple[str, str]] = []
    waiting = iter(held)
    while some := list(islice(waiting, _AT_ONCE)):
        missed = [
            (query, doc)
            for query in some
            for found in (set(lists[query]),)
            for doc in qrels[query]
            if doc not in found
        ]
        incomplete = {query for query, _ in missed}
        there = [
            (query, doc)
            for query in some
            if query in incomplete
            for doc in lists[query]
            if doc not in qrels[query]
        ]
        pairs += matched(missed, there)
    return near_ids(pairs)


def _examples(
    lists: Mapping[str, Sequence[str]], qrels: Qrels, held: Sequence[str], other: str | None
) -> dict[str, str | None]:
    query = next((query for query in held if qrels[query]), None)
    if query is None:
        return {"query": other, "judged_query": min(qrels, default=None)}
    return {"query": query, "document": min(lists[query]), "judged_document": min(qrels[query])}


def hint(near: Sequence[NearIds]) -> str:
    """What ids differ by, in brackets, as the end of a message; nothing where none do."""
    if not near:
        return ""
    number = sum(each.count for each in near)
    return f" ({number:,} {agreeing(number, 'differ')} {_told(near)})"


def _told(near: Sequence[NearIds]) -> str:
    return "; ".join(each.described("the judgements", "the run") for each in near)


def warnings(found: Coverage) -> Iterator[str]:
    """What an evaluation of this run does not see, a sentence each."""
    if found.absent:
        yield (
            f"{len(found.absent):,} of {counted(found.queries, 'judged query')} "
            f"{agreeing(len(found.absent), 'are')} not in it and "
            f"{agreeing(len(found.absent), 'count')} as 0, such as {_some(found.absent)}"
        )
    for each in found.near_queries:
        some = f"{each.count:,} of these {agreeing(each.count, 'differ')}"
        yield f"{some} from its ids {_told([each])}"
    if found.blank:
        most = (
            ""
            if 2 * len(found.blank) <= found.held
            else ("; that is most of them: are these the judgements of this collection?")
        )
        yield (
            f"{counted(len(found.blank), 'list')} {agreeing(len(found.blank), 'hold')} no judged "
            f"document, such as those of {_some(found.blank)}{most}"
        )
    for each in found.near_documents:
        documents = f"{counted(each.count, 'judged document')} {agreeing(each.count, 'differ')}"
        yield f"{documents} from ids in their lists {_told([each])}"
    if found.others:
        queries = counted(found.others, "query")
        yield f"{queries} without judgements {agreeing(found.others, 'are')} left out"


def _example(name: str | None) -> str:
    return shown(name) if name is not None else str(None)


def _some(names: Sequence[str]) -> str:
    return ", ".join(map(shown, names[:3]))
