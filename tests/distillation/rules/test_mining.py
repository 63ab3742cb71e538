from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.distill import NegativesConfig, PositivesConfig
from pipeline.distillation.rules import reasons
from pipeline.distillation.rules.candidates import Candidates
from pipeline.distillation.rules.mining import Mined, mine, requests
from pipeline.distillation.rules.texts import normalised
from pipeline.hashes import stable_hashes

# Ties, both zeros, both signs, and the ends of float32.
SCORES = st.sampled_from([-3.4e38, -20.0, -2.0, -1.9, -0.0, 0.0, 1e-30, 0.5, 1.0, 7.5, 3.4e38])
WORDS = ["red", "green", "blue", "grey"]


def candidates(
    scores: list[float],
    *,
    relevance: dict[int, int] | None = None,
    texts: list[str | None] | None = None,
    images: list[bytes | str | None] | None = None,
    query: int = 1,
) -> Candidates:
    """Documents d0, d1, … with their own texts, unless told otherwise."""
    count, judged = len(scores), relevance or {}
    return Candidates(
        scores=np.array(scores, dtype=np.float64),
        relevance=np.array([judged.get(i, 0) for i in range(count)], dtype=np.int64),
        judged=np.array([i in judged for i in range(count)], dtype=bool),
        texts=texts if texts is not None else [f"text number {i}" for i in range(count)],
        images=images if images is not None else [None] * count,
        keys=stable_hashes(f"d{i}" for i in range(count)),
        query=query,
    )


def run(
    found: Candidates, positives: dict[str, Any] | None = None, *, seed: int = 0, **negatives: Any
) -> Mined:
    rules = {"source": "teacher", **(positives or {})}
    if rules["source"] != "teacher":
        rules["qrels"] = "qrels.tsv"
    return mine(
        found,
        PositivesConfig.model_validate(rules),
        NegativesConfig.model_validate(negatives),
        seed=seed,
    )


@st.composite
def queries(draw: st.DrawFn) -> Candidates:
    scores = sorted(draw(st.lists(SCORES, max_size=14)), reverse=True)
    scores += [math.nan] * draw(st.integers(0, 2))
    judged = draw(
        st.dictionaries(st.integers(0, max(len(scores) - 1, 0)), st.integers(-1, 3), max_size=5)
    )
    # What has no score is there because it was judged relevant.
    judged |= {i: 1 for i, score in enumerate(scores) if math.isnan(score)}
    texts = [" ".join(draw(st.lists(st.sampled_from(WORDS), max_size=2))) for _ in scores]
    return candidates(scores, relevance=judged, texts=texts, query=draw(st.integers(0, 2**64 - 1)))


RULES = st.fixed_dictionaries(
    {
        "num_negatives": st.integers(1, 6),
        "min_negatives": st.integers(0, 1),
        "sampling_strategy": st.sampled_from(["top", "random"]),
        "range_min": st.integers(0, 3),
        "range_max": st.one_of(st.none(), st.integers(4, 9)),
        "max_score": st.one_of(st.none(), st.sampled_from([0.0, 0.5, 7.5])),
        "min_score": st.one_of(st.none(), st.sampled_from([-20.0, -2.0, 0.0])),
        "absolute_margin": st.one_of(st.none(), st.sampled_from([0.0, 0.1, 3.0])),
        "relative_margin": st.one_of(st.none(), st.sampled_from([0.0, 0.05, 1.0])),
        "false_negatives": st.sampled_from(["drop", "relabel"]),
        "max_relevance": st.integers(0, 1),
        "near_duplicates": st.sampled_from([None, 0.9]),
    }
)
POSITIVES = st.fixed_dictionaries(
    {
        "source": st.sampled_from(["teacher", "qrels", "both"]),
        "min_relevance": st.integers(1, 2),
        "teacher_top": st.integers(1, 3),
        "max_positives": st.one_of(st.none(), st.integers(1, 3)),
    }
)


def breaks(found: Candidates, mined: Mined, rules: dict[str, Any], place: int) -> set[str]:
    """Every rule that speaks against a candidate as a negative, written down once more."""
    score, judged = float(found.scores[place]), bool(found.judged[place])
    scored = [float(found.scores[p]) for p in mined.positives if not np.isnan(found.scores[p])]
    lowest = min(scored, default=None)
    others = [i for i in range(len(found)) if i not in mined.positives]
    rank = others.index(place)
    wrong = set()
    if judged and found.relevance[place] > rules["max_relevance"]:
        wrong.add(reasons.JUDGED_RELEVANT)
    most = math.inf if rules["range_max"] is None else rules["range_max"]
    if not rules["range_min"] <= rank < most:
        wrong.add(reasons.OUT_OF_RANGE)
    if rules["max_score"] is not None and score > rules["max_score"]:
        wrong.add(reasons.MAX_SCORE)
    if rules["min_score"] is not None and score < rules["min_score"]:
        wrong.add(reasons.MIN_SCORE)
    if lowest is not None:
        if rules["absolute_margin"] is not None and score > lowest - rules["absolute_margin"]:
            wrong.add(reasons.ABSOLUTE_MARGIN)
        relative = rules["relative_margin"]
        if relative is not None and score > lowest - abs(lowest) * relative:
            wrong.add(reasons.RELATIVE_MARGIN)
        if rules["false_negatives"] == "drop" and not judged and score > lowest:
            wrong.add(reasons.FALSE_NEGATIVE)
    return wrong


@given(queries(), POSITIVES, RULES, st.integers(0, 2**32))
def test_every_candidate_is_used_by_the_rules_or_rejected_with_a_true_reason(
    found: Candidates, positives: dict[str, Any], rules: dict[str, Any], seed: int
) -> None:
    mined = run(found, positives, seed=seed, **rules)
    places = range(len(found))
    used = [*mined.positives, *mined.negatives]
    assert len(set(used)) == len(used)
    assert {i for i in places if mined.reasons[i] is None} == set(used)
    if mined.failure is not None:
        assert used == []
        return
    assert mined.positives == sorted(mined.positives)
    assert rules["min_negatives"] <= len(mined.negatives) <= rules["num_negatives"]
    contents = {normalised(str(found.texts[i])) for i in mined.positives}
    for place in mined.negatives:
        assert not breaks(found, mined, rules, place)
        content = normalised(str(found.texts[place]))
        assert content not in contents
        contents.add(content)
    checked = set(reasons.CANDIDATE_REASONS) - {
        reasons.SURPLUS_POSITIVE, reasons.DUPLICATE_OF_POSITIVE, reasons.DUPLICATE_OF_NEGATIVE,
        reasons.NEAR_DUPLICATE_OF_POSITIVE, reasons.NOT_SAMPLED,
    }  # fmt: skip
    for place in places:
        code = mined.reasons[place]
        if code in checked:
            assert code in breaks(found, mined, rules, place), (place, code)
        if code == reasons.NOT_SAMPLED:
            assert len(mined.negatives) == rules["num_negatives"]
            assert not breaks(found, mined, rules, place)


@given(queries(), RULES, st.integers(0, 2**32))
def test_top_takes_the_best_that_are_allowed(
    found: Candidates, rules: dict[str, Any], seed: int
) -> None:
    mined = run(found, seed=seed, **(rules | {"sampling_strategy": "top"}))
    skipped = [i for i, code in enumerate(mined.reasons) if code == reasons.NOT_SAMPLED]
    assert mined.negatives == sorted(mined.negatives)
    if skipped and mined.failure is None:
        assert max(mined.negatives) < min(skipped)


@given(queries(), RULES)
def test_the_same_arguments_give_the_same_choice(found: Candidates, rules: dict[str, Any]) -> None:
    rules = rules | {"sampling_strategy": "random"}
    assert run(found, seed=5, **rules) == run(found, seed=5, **rules)


def test_random_draws_by_seed_query_and_document() -> None:
    scores = [float(-i) for i in range(200)]
    rules = {"sampling_strategy": "random", "num_negatives": 5}
    chosen = {
        (seed, query): tuple(run(candidates(scores, query=query), seed=seed, **rules).negatives)
        for seed in (0, 1)
        for query in (1, 2)
    }
    assert len(set(chosen.values())) == 4
    # A document that is not chosen may go without any other choice changing.
    kept = [i for i in range(200) if i in (0, *chosen[0, 1]) or i % 2]
    fewer = Candidates(
        scores=np.array(scores)[kept],
        relevance=np.zeros(len(kept), np.int64),
        judged=np.zeros(len(kept), bool),
        texts=[f"text number {i}" for i in kept],
        images=[None] * len(kept),
        keys=stable_hashes(f"d{i}" for i in kept),
        query=1,
    )
    assert tuple(kept[i] for i in run(fewer, seed=0, **rules).negatives) == chosen[0, 1]
    drawn = [p for q in range(300) for p in run(candidates(scores, query=q), **rules).negatives]
    assert abs(np.mean(drawn) - 100) < 6  # uniform over places 1 to 199


def test_a_relative_margin_holds_negatives_below_a_negative_positive() -> None:
    found = candidates([-2.0, -2.05, -2.1, -2.2])
    mined = run(found, relative_margin=0.05)
    assert mined.negatives == [2, 3]  # -2 - 2 * 0.05 = -2.1; p * (1 - m) would allow up to -1.9
    assert mined.reasons[1] == reasons.RELATIVE_MARGIN


def test_topk_percpos_is_95_percent_of_the_lowest_positive() -> None:
    found = candidates([0.9, 0.8, 0.77, 0.76, 0.5], relevance={0: 1, 1: 1})
    mined = run(found, {"source": "qrels"}, preset="topk_percpos", num_negatives=2)
    assert mined.positives == [0, 1]
    assert mined.negatives == [3, 4]  # 0.8 * 0.95 = 0.76
    same = run(found, {"source": "qrels"}, relative_margin=0.05, num_negatives=2)
    assert same == mined


@pytest.mark.parametrize(
    ("handling", "positives", "negatives", "reason"),
    [
        ("drop", [2], [3, 4], reasons.FALSE_NEGATIVE),
        ("keep", [2], [0, 1, 3], None),
        ("relabel", [0, 1, 2], [3, 4], None),
    ],
)
def test_documents_above_the_lowest_positive(
    handling: str, positives: list[int], negatives: list[int], reason: str | None
) -> None:
    found = candidates([5.0, 4.0, 3.0, 3.0, 1.0], relevance={2: 1})
    mined = run(found, {"source": "qrels"}, false_negatives=handling)
    assert (mined.positives, mined.negatives) == (positives, negatives)
    assert mined.reasons[0] == reason
    assert mined.from_qrels == [place == 2 for place in positives]


def test_a_judgement_of_not_relevant_is_believed() -> None:
    found = candidates([5.0, 4.0, 3.0, 2.0], relevance={0: 0, 1: 1})
    mined = run(found, {"source": "both"}, num_negatives=3)
    assert mined.positives == [1]  # judged, and the best of those not judged irrelevant
    assert mined.negatives == [0, 2, 3]  # 0 scores above the positive, but somebody looked at it


@pytest.mark.parametrize(
    ("found", "positives", "rules", "failure"),
    [
        (candidates([]), {}, {}, reasons.NO_POSITIVE),
        (candidates([1.0]), {}, {}, reasons.TOO_FEW_NEGATIVES),
        (candidates([1.0, 0.0]), {"source": "qrels"}, {}, reasons.NO_POSITIVE),
        (candidates([1.0, 0.0]), {"teacher_min_score": 2.0}, {}, reasons.NO_POSITIVE),
        (candidates([1.0] * 3), {"teacher_top": 3}, {}, reasons.TOO_FEW_NEGATIVES),
        (
            candidates([1.0, math.nan], relevance={1: 1}),
            {"source": "qrels"},
            {"absolute_margin": 0.1},
            reasons.NO_SCORED_POSITIVE,
        ),
        (candidates([3.0, 1.0]), {}, {"min_negatives": 2}, reasons.TOO_FEW_NEGATIVES),
    ],
)
def test_queries_that_are_left_out(
    found: Candidates, positives: dict[str, Any], rules: dict[str, Any], failure: str
) -> None:
    mined = run(found, positives, **rules)
    assert mined.failure == failure
    assert set(mined.reasons) <= {failure, *reasons.CANDIDATE_REASONS}


def test_a_judged_positive_outside_the_lists_is_used_where_no_margin_needs_its_score() -> None:
    found = candidates([1.0, 0.5, math.nan], relevance={2: 1})
    mined = run(found, {"source": "qrels"})
    assert (mined.positives, mined.negatives) == ([2], [0, 1])


def test_all_positive_or_fewer_than_asked() -> None:
    everything = run(candidates([2.0, 1.0]), {"teacher_top": 5}, min_negatives=0)
    assert (everything.positives, everything.negatives) == ([0, 1], [])
    few = run(candidates([2.0, 1.0, 0.0]), num_negatives=50)
    assert few.negatives == [1, 2]


def test_duplicates_of_positives_and_of_negatives_are_not_negatives() -> None:
    words = [f"word{i}" for i in range(13)]
    text = " ".join(words)
    near = " ".join([*words, "fourteen"])
    texts = [text, text.upper() + ".", near, "another text", "Another  text!", "a third"]
    mined = run(candidates([6.0, 5.0, 4.0, 3.0, 2.0, 1.0], texts=list(texts)))
    assert mined.negatives == [3, 5]
    assert mined.reasons[1] == reasons.DUPLICATE_OF_POSITIVE
    assert mined.reasons[2] == reasons.NEAR_DUPLICATE_OF_POSITIVE
    assert mined.reasons[4] == reasons.DUPLICATE_OF_NEGATIVE
    exact_only = run(candidates([6.0, 5.0, 4.0], texts=texts[:3]), near_duplicates=None)
    assert exact_only.negatives == [2]


def test_images_are_told_apart_by_bytes_or_place() -> None:
    found = candidates(
        [4.0, 3.0, 2.0, 1.0],
        texts=[None, None, None, "caption"],
        images=["s3://b/a.png", "s3://b/a.png", b"\x89PNG", b"\x89PNG"],
    )
    mined = run(found)
    assert mined.negatives == [2, 3]
    assert mined.reasons[1] == reasons.DUPLICATE_OF_POSITIVE


def test_surplus_positives_are_rejected_judged_ones_last() -> None:
    found = candidates([4.0, 3.0, 2.0, 1.0, 0.0], relevance={2: 1, 3: 3})
    mined = run(found, {"source": "both", "max_positives": 2})
    assert mined.positives == [2, 3]
    assert mined.from_qrels == [True, True]
    assert mined.reasons[0] == reasons.SURPLUS_POSITIVE
    relabelled = run(found, {"source": "qrels", "max_positives": 3}, false_negatives="relabel")
    assert relabelled.positives == [0, 2, 3]
    assert relabelled.reasons[1] == reasons.SURPLUS_POSITIVE


def test_what_was_granted_is_taken_and_what_was_not_is_said_so() -> None:
    found = candidates([float(-i) for i in range(10)])
    config = NegativesConfig(num_negatives=2)
    assert requests(config) == 4
    asked = mine(found, PositivesConfig(), config, seed=0, wanted=requests(config))
    assert asked.negatives == [1, 2, 3, 4]
    granted = frozenset(int(found.keys[i]) for i in (2, 4))
    mined = mine(found, PositivesConfig(), config, seed=0, granted=granted)
    assert mined.negatives == [2, 4]
    assert [i for i, code in enumerate(mined.reasons) if code == reasons.DOCUMENT_CAP] == [1, 3]
    assert mined.reasons[5:] == [reasons.NOT_SAMPLED] * 5
    nothing = mine(found, PositivesConfig(), config, seed=0, granted=frozenset())
    assert nothing.failure == reasons.TOO_FEW_NEGATIVES
    assert nothing.reasons.count(reasons.DOCUMENT_CAP) == 4
