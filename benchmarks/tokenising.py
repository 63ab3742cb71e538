"""Tokenising and assembling pairs: our ids against the library's own, and CPU time beside it.

::

    python -m benchmarks.tokenising --pairs 1000000 --write
    python -m benchmarks.tokenising --pairs 20000 --kind bert --kind qwen

Every kind of tokenizer that a family uses, of real size (:mod:`benchmarks.trained_tokenizers`).
Documents are passages of the standard library's documentation with words between that were never
seen, about as many as a new web passage holds; some hold awkward Unicode or the text of a special
token. All ids and token types are compared with the library's ``encode_batch`` of the pairs, at
several truncation settings; one id that differs ends the script with status 1.

Time is CPU time of this process on one thread; both sides do each unit in turn, in changing order.
Every document is in one list ("reuse 1") or in ten. The first starts with an empty cache; the
second, a tenth as many pairs, goes on with the same one, as a worker does. A call of transformers'
tokenizer is timed on every tenth unit.
"""

from __future__ import annotations

import json
import os
import platform
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import pyarrow as pa
import typer

from benchmarks.synthetic_passages import Passages, units
from benchmarks.trained_tokenizers import KINDS, documentation, tokenizer_of
from pipeline import schema
from pipeline.candidates.lists import CandidateLists
from pipeline.checkpoints.checkpoint import Checkpoint
from pipeline.prompts.pairs import Limits, encode_pairs
from pipeline.sequences.sequences import Sequences
from pipeline.tokenization.tokens import TextTokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_RESULT = Path(__file__).parent / "results" / "tokenising.json"

_LIMITS: Final = (
    Limits(max_length=512),
    Limits(max_length=64),
    Limits(max_length=128, truncation="document"),
    Limits(max_length=8192),
)
_STRATEGY: Final = {"longest_first": "longest_first", "document": "only_second"}


@dataclass
class Side:
    """CPU seconds of one way to do it, and the pairs that they bought."""

    seconds: float = 0.0
    pairs: int = 0

    @contextmanager
    def timed(self, pairs: int) -> Iterator[None]:
        """Count what the block takes."""
        started = time.process_time()
        yield
        self.seconds += time.process_time() - started
        self.pairs += pairs

    @property
    def rate(self) -> float:
        """Pairs per CPU second."""
        return self.pairs / self.seconds


@dataclass(kw_only=True)
class Found:
    """One kind of tokenizer at one reuse.

    Attributes:
        kind: of the tokenizer.
        vocabulary: its entries.
        reuse: lists that each document is in.
        cached: whether its cuts are proven, so that each word is tokenised once.
        pairs: that were compared.
        differing: of these, how many have other ids or token types.
        tokens: of all pairs.
    """

    kind: str
    vocabulary: int
    reuse: int
    cached: bool
    pairs: int = 0
    differing: int = 0
    tokens: int = 0
    ours: Side = field(default_factory=Side)
    encode_batch: Side = field(default_factory=Side)
    transformers: Side = field(default_factory=Side)

    def summary(self) -> dict[str, Any]:
        """Counts, rates and ratios."""
        counts = ("kind", "vocabulary", "reuse", "cached", "pairs", "differing", "tokens")
        sides = ("ours", "encode_batch", "transformers")
        return {
            **{name: getattr(self, name) for name in counts},
            "pairs_per_cpu_s": {name: round(getattr(self, name).rate) for name in sides},
            "times_encode_batch": round(self.ours.rate / self.encode_batch.rate, 1),
            "times_transformers": round(self.ours.rate / self.transformers.rate, 1),
        }


@dataclass(frozen=True)
class Tokenizers:
    """One ``tokenizer.json``, read in three ways."""

    ours: TextTokenizer
    library: Tokenizer
    transformers: Any

    @classmethod
    def of(cls, tokenizer: Tokenizer) -> Tokenizers:
        """Read back what the tokenizer saves."""
        from transformers import PreTrainedTokenizerFast

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "tokenizer.json"
            tokenizer.save(str(path))
            # What the library gives of every tokenizer, and is compared.
            told = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
            path.with_name("tokenizer_config.json").write_text(json.dumps(told), "utf-8")
            library = type(tokenizer).from_file(str(path))
            library.no_padding()
            ours = TextTokenizer(Checkpoint(Path(folder)))
            return cls(ours, library, PreTrainedTokenizerFast(tokenizer_file=str(path)))


def measure(
    kind: str, tokenizers: Tokenizers, text: str, *, pairs: int, reuse: int, seed: int = 7
) -> Found:
    """Compare and time a tokenizer of this kind on so many pairs, made of the text."""
    library = tokenizers.library
    found = Found(
        kind=kind,
        vocabulary=library.get_vocab_size(),
        reuse=reuse,
        cached=tokenizers.ours.chunks is not None,
    )
    special = [token.content for token in library.get_added_tokens_decoder().values()]
    passages = Passages(text, special, seed=seed + reuse)
    for number, (lists, limits) in enumerate(
        zip(units(passages, pairs, reuse), cycle(_LIMITS), strict=False)
    ):
        compare(found, lists, limits, tokenizers, ours_first=number % 2 == 0)
        if number % 10 == 0:
            texts, strategy = pair_texts(lists), _STRATEGY[limits.truncation]
            with found.transformers.timed(len(texts)):
                tokenizers.transformers(texts, truncation=strategy, max_length=limits.max_length)
    return found


def compare(
    found: Found,
    lists: CandidateLists,
    limits: Limits,
    tokenizers: Tokenizers,
    *,
    ours_first: bool,
) -> None:
    """Encode one unit both ways and add what was found."""
    texts = pair_texts(lists)
    library = tokenizers.library
    library.enable_truncation(limits.max_length, strategy=_STRATEGY[limits.truncation])
    for turn in (ours_first, not ours_first):
        if turn:
            with found.ours.timed(len(texts)):
                got = encode_pairs(lists, tokenizers.ours, limits, segments=True)
        else:
            with found.encode_batch.timed(len(texts)):
                wanted = library.encode_batch(texts)
    found.pairs += len(texts)
    found.tokens += int(got.offsets[-1])
    found.differing += differing(got, wanted)


def pair_texts(lists: CandidateLists) -> list[tuple[str, str]]:
    """Query and document of every pair."""
    queries = lists.queries.column(schema.QUERY).to_pylist()
    documents = lists.documents.column(schema.TEXT).to_pylist()
    asked = [queries[i] for i in lists.query_of_document]
    return list(zip(asked, documents, strict=True))


def differing(got: Sequences, wanted: list[Any]) -> int:
    """How many sequences do not have the ids and token types of the library's encodings."""
    assert got.segment_ids is not None
    bounds = got.offsets.tolist()
    return sum(
        got.token_ids[start:end].tolist() != encoding.ids
        or got.segment_ids[start:end].tolist() != encoding.type_ids
        for start, end, encoding in zip(bounds[:-1], bounds[1:], wanted, strict=True)
    )


def machine() -> dict[str, Any]:
    """What the figures were taken on."""
    return {
        "cpu": platform.processor() or platform.machine(),
        "logical_cpus": os.cpu_count(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("tokenizers", "transformers", "pyarrow", "numpy")},
    }


def main(
    pairs: Annotated[int, typer.Option(min=100, help="Pairs of each kind at reuse 1.")] = 100_000,
    kind: Annotated[
        list[str] | None, typer.Option(help=f"One of {', '.join(KINDS)}; repeatable. Default: all.")
    ] = None,
    write: Annotated[bool, typer.Option("--write", help=f"Write results/{_RESULT.name}.")] = False,
) -> None:
    """Compare, measure, print, and with --write record."""
    unknown = set(kind or ()) - KINDS.keys()
    if unknown:
        raise typer.BadParameter(f"--kind: {sorted(unknown)[0]!r} is none of {', '.join(KINDS)}")
    os.environ.update(RAYON_NUM_THREADS="1", TOKENIZERS_PARALLELISM="false")
    pa.set_cpu_count(1)
    runs = []
    text = documentation()
    for name in kind or KINDS:
        tokenizers = Tokenizers.of(tokenizer_of(name, text))
        for reuse in (1, 10):
            count = pairs if reuse == 1 else max(100, pairs // 10)
            run = measure(name, tokenizers, text, pairs=count, reuse=reuse).summary()
            runs.append(run)
            typer.echo(
                f"{name:<12} reuse {reuse:>2}  {run['pairs']:>9,} pairs, "
                f"{run['differing']} differ  {run['pairs_per_cpu_s']['ours']:>7,} pairs/cpu-s, "
                f"{run['times_encode_batch']}x encode_batch, "
                f"{run['times_transformers']}x transformers"
            )
        if write:  # after every kind, since all of them take a while
            _record(runs, pairs, kind)
    if any(run["differing"] for run in runs):
        raise typer.Exit(1)


def _record(runs: list[dict[str, Any]], pairs: int, kinds: list[str] | None) -> None:
    asked = "".join(f"--kind {name} " for name in kinds or ())
    result = {
        "command": f"python -m benchmarks.tokenising --pairs {pairs} {asked}--write",
        "device": "CPU, one thread",
        "date": time.strftime("%Y-%m-%d"),
        "machine": machine(),
        "pairs": sum(run["pairs"] for run in runs),
        "differing": sum(run["differing"] for run in runs),
        "runs": runs,
    }
    _RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
