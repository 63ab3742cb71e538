"""A bi-encoder with random weights that learns on a CPU in minutes: the mean of its words' vectors.

The vocabulary is the training set's own most frequent words, so nothing is downloaded and nothing
was learnt before. Untrained, it is a random projection of the bag of words; what it can learn is
which words matter and which go together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from pipeline.config.student import StudentConfig

_UNKNOWN = "[UNK]"


def word_tokenizer(texts: Iterable[str], size: int) -> Any:
    """A tokenizer whose words are the most frequent of the texts, ties in alphabetical order.

    Args:
        texts: to count in.
        size: of the vocabulary, with the one token for all other words.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

    normalizer, splitter = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        normal = normalizer.normalize_str(text)
        counts.update(word for word, _ in splitter.pre_tokenize_str(normal))
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    words = [_UNKNOWN, *(word for word, _ in ordered[: size - 1])]
    vocabulary = {word: place for place, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_UNKNOWN))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, splitter
    return tokenizer


def word_vectors(texts: Iterable[str], config: StudentConfig) -> Any:
    """The student as a sentence-transformers model on the CPU; seed torch before."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = word_tokenizer(texts, config.vocabulary)
    module = StaticEmbedding(tokenizer, embedding_dim=config.dimensions)
    return SentenceTransformer(modules=[module], device="cpu", similarity_fn_name="cosine")
