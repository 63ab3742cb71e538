"""Smoke training: honest measurement, and a student that learns what a set teaches."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline import load
from pipeline.config.student import StudentConfig
from pipeline.distillation.rules import canonical
from pipeline.distillation.student.dev_lists import judgements, ranking, read_dev_lists
from pipeline.distillation.student.training import read_rows, smoke_train
from pipeline.distillation.student.word_vectors import word_tokenizer
from pipeline.errors import ConfigurationError, InputContractError
from tests.distillation.formats.makers import DESCRIPTION, item, part, query

TOPICS = [f"topic{n}" for n in range(12)]
#: Few rows, so that each has to count.
LEARNER: dict[str, Any] = {
    "dimensions": 64, "vocabulary": 1_000, "epochs": 6, "learning_rate": 0.2
}  # fmt: skip
FILLER = [f"filler{n}" for n in range(30)]


def words(chance: random.Random, topic: str) -> str:
    """One word that matters among many that do not."""
    return " ".join(chance.sample([topic, *chance.choices(FILLER, k=8)], 9))


def topical_set(folder: Path, queries: dict[str, int]) -> str:
    """A set in which a document answers a query where they share the topic."""
    chance = random.Random(0)
    for split, count in queries.items():
        rows = []
        for number in range(count):
            topic, *others = chance.sample(TOPICS, 5)
            negatives = [
                item(f"{split}{number}n{n}", -1.0 - n / 8, text=words(chance, other))
                for n, other in enumerate(others)
            ]
            positive = item(f"{split}{number}p", 2.0, text=words(chance, topic))
            text = words(chance, topic)
            rows.append(query(f"{split}{number}", [positive], negatives, query=text))
        path = Path(canonical.part_path(str(folder), split, 0))
        path.parent.mkdir(parents=True)
        description = DESCRIPTION | {"split": split, "rules": {"negatives": {"num_negatives": 4}}}
        path.write_bytes(canonical.part_bytes(part(*rows), description))
    (folder / "_SUCCESS").touch()
    return str(folder)


@pytest.fixture(scope="module")
def topical(tmp_path_factory: pytest.TempPathFactory) -> str:
    return topical_set(tmp_path_factory.mktemp("set"), {"train": 160, "dev": 60})


def test_the_word_student_learns_which_words_matter(topical: str) -> None:
    config = StudentConfig(**LEARNER)
    trained = smoke_train(topical, config, temperature=1.0, seed=0)
    ndcg = trained.comparison.measures[0]
    assert ndcg.measure == "nDCG@10"
    assert ndcg.other > ndcg.baseline + 0.1
    assert ndcg.p_randomization is not None and ndcg.p_randomization < 0.001
    assert trained.teacher.means["nDCG@10"] == 1.0
    assert (trained.rows, trained.dev_queries, trained.documents) == (160, 60, 5.0)


def test_the_same_seed_gives_the_same_figures(topical: str) -> None:
    config = StudentConfig(dimensions=16, vocabulary=1_000, epochs=1, rows=32)
    first, again, other = (
        smoke_train(topical, config, temperature=1.0, seed=seed).comparison for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_a_teacher_that_knows_nothing_teaches_nothing(tmp_path: Path, topical: str) -> None:
    """The improvement comes from the scores: the same texts with all scores equal give none."""
    for split in canonical.SPLITS:
        (table,) = canonical.read_parts(topical, split)
        rows = table.to_pylist()
        for row in rows if split == canonical.TRAIN else []:
            for document in [*row["positives"], *row["negatives"]]:
                document["score"] = 0.0
            random.Random(row["query_id"]).shuffle(row["negatives"])
        path = Path(canonical.part_path(str(tmp_path), split, 0))
        path.parent.mkdir(parents=True)
        description = DESCRIPTION | {"split": split, "rules": {"negatives": {"num_negatives": 4}}}
        path.write_bytes(canonical.part_bytes(part(*rows), description))
    config = StudentConfig(**LEARNER)
    ndcg = smoke_train(str(tmp_path), config, temperature=1.0, seed=0).comparison.measures[0]
    assert ndcg.other < ndcg.baseline + 0.05


@pytest.mark.parametrize("random_weights", [False, True])
def test_a_saved_jina_student_is_a_checkpoint_of_its_family(
    topical: str, goldens: Path, tmp_path: Path, random_weights: bool
) -> None:
    config = StudentConfig(
        family="jina_v1",
        weights=str(goldens / "jina-reranker-v1-tiny-tiny"),
        layers=(1,),
        random_weights=random_weights,
        rows=16,
        epochs=1,
        learning_rate=1e-3,
        settings={"max_length": 48},
        save=str(tmp_path / "student"),
    )
    trained = smoke_train(topical, config, temperature=1.0, seed=0)
    (one, *_) = read_dev_lists(topical, 1)
    ranker = load(
        str(tmp_path / "student"), family="jina_v1", max_length=48, activation="none", device="cpu"
    )  # logits, since float32 has few probabilities next to 0 and 1
    scores = ranker.score(one.query, one.texts)
    assert np.isfinite(scores).all()
    assert len(set(scores.tolist())) > 1
    # The student that was measured is the one that was saved.
    lists = read_dev_lists(topical, config.rows)
    run = ranking("saved", lists, [ranker.score(x.query, x.texts) for x in lists])
    from pipeline.ranking.evaluation import evaluate

    saved = evaluate(run, judgements(lists), ["nDCG@10"]).means["nDCG@10"]
    assert saved == pytest.approx(trained.comparison.measures[0].other, abs=1e-9)


def test_an_untouched_jina_student_scores_like_its_family(topical: str, goldens: Path) -> None:
    """The network that is trained is the one that runs, down to the tokens of a pair."""
    from pipeline.distillation.student.jina_bert import jina_bert

    folder = str(goldens / "jina-reranker-v1-tiny-tiny")
    config = StudentConfig(family="jina_v1", weights=folder, settings={"max_length": 48})
    ranker = load(folder, family="jina_v1", max_length=48, activation="none", device="cpu")
    model = jina_bert(config)
    for one in read_dev_lists(topical, 3):
        ours = model.predict([(one.query, text) for text in one.texts], show_progress_bar=False)
        assert np.asarray(ours) == pytest.approx(ranker.score(one.query, one.texts), abs=1e-5)


def test_a_cross_encoder_keeps_the_layers_that_are_asked_for(topical: str, goldens: Path) -> None:
    config = StudentConfig(
        family="cross_encoder",
        weights=str(goldens / "ms-marco-minilm-tiny"),
        layers=(0,),
        rows=16,
        epochs=1,
        settings={"max_length": 48},
    )
    trained = smoke_train(topical, config, temperature=1.0, seed=0)
    assert trained.rows == 16
    assert trained.comparison.measures[0].baseline < 1


@pytest.mark.parametrize("family", ["jina_v1", "cross_encoder"])
def test_a_layer_that_is_not_there_is_refused(topical: str, goldens: Path, family: str) -> None:
    name = {"jina_v1": "jina-reranker-v1-tiny-tiny", "cross_encoder": "ms-marco-minilm-tiny"}
    config = StudentConfig(family=family, weights=str(goldens / name[family]), layers=(0, 99))
    with pytest.raises(ConfigurationError, match=r"student\.layers: \[0, 99\]; .* has layers 0"):
        smoke_train(topical, config, temperature=1.0, seed=0)


def test_a_revision_of_a_folder_is_refused(topical: str, goldens: Path) -> None:
    weights = str(goldens / "ms-marco-minilm-tiny")
    config = StudentConfig(family="cross_encoder", weights=weights, revision="v1")
    with pytest.raises(ConfigurationError, match=r"student\.revision: 'v1' is of a hub id"):
        smoke_train(topical, config, temperature=1.0, seed=0)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"family": "jina_v1"}, "belong together"),
        ({"weights": "x"}, "belong together"),
        ({"layers": (0,)}, "for a student.family"),
        ({"random_weights": True}, "for a student.family"),
        ({"revision": "v1"}, "for a student.family"),
    ],
)
def test_settings_that_would_be_ignored_are_refused(values: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        StudentConfig(**values)


def test_a_set_without_dev_cannot_be_measured(tmp_path: Path) -> None:
    folder = topical_set(tmp_path / "set", {"train": 4})
    with pytest.raises(InputContractError, match=r"split\.dev_fraction"):
        smoke_train(folder, StudentConfig(), temperature=1.0, seed=0)


def test_rows_are_those_of_the_export_and_no_more_than_asked(topical: str) -> None:
    rows = read_rows(topical, "sentence_transformers_distill_kldiv", 10)
    assert rows.num_rows == 10
    assert rows.column_names[0] == "query"
    assert rows.column_names[-1] == "scores"


def test_dev_lists_hold_what_can_be_ranked(tmp_path: Path) -> None:
    rows = part(
        query("a", [item("p", 1.0, relevance=3), item("o", None)], [item("n", 0.5)]),
        query("no text", [item("p", 1.0, text=None)], [item("n", 0.5)]),
        query("no negative", [item("p", 1.0)], []),
        query("no query", [item("p", 1.0)], [item("n", 0.5)], query=None),
        query("t", [item("p", 1.0, relevance=0)], [item("z", 1.0), item("a", 1.0)]),
    )
    path = Path(canonical.part_path(str(tmp_path), canonical.DEV, 0))
    path.parent.mkdir(parents=True)
    path.write_bytes(canonical.part_bytes(rows, DESCRIPTION | {"split": "dev"}))
    first, last = read_dev_lists(str(tmp_path), 10)
    assert first.doc_ids == ["p", "o", "n"]
    assert judgements([first, last]) == {"a": {"p": 3, "o": 1}, "t": {"p": 1}}
    run = ranking("teacher", [first, last], [first.teacher, last.teacher])
    assert run.rankings == {"a": ["p", "n", "o"], "t": ["a", "p", "z"]}  # ties by id, not by luck


def test_the_vocabulary_is_the_most_frequent_words_in_a_fixed_order() -> None:
    tokenizer = word_tokenizer(["b a B, c", "a d"], size=4)
    assert tokenizer.get_vocab() == {"[UNK]": 0, "a": 1, "b": 2, ",": 3}
    assert tokenizer.encode("A zebra, b").ids == [1, 0, 3, 2]
