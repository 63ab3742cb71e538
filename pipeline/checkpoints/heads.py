"""Classification heads: one label is a score; what several labels mean is in no file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from pipeline.errors import ModelError

if TYPE_CHECKING:
    from pipeline.checkpoints.checkpoint import Checkpoint

#: The last layer of BERT's, DeBERTa's and ModernBERT's heads, and of RoBERTa's.
_LAST: Final = ("classifier.weight", "classifier.out_proj.weight")


def require_one_label(checkpoint: Checkpoint) -> None:
    """Refuse a head with several labels, by config.json and by the weights themselves.

    transformers leaves the labels out of config.json where there are two, so the file alone does
    not tell. With two labels the second is often "relevant", and a reranker that took the first
    would turn every list round; which it is depends on who trained it.

    Raises:
        ModelError: names the number of labels.
    """
    config = checkpoint.config
    names = config.get("id2label")
    stated = len(names) if isinstance(names, Mapping | list) and names else None
    stated = stated or config.get("num_labels") or 1
    counts: list[tuple[object, object]] = [(checkpoint.folder / "config.json", stated)]
    # A process that was given hashes asks headers nothing: the plan looked at these weights, and
    # whoever loads them compares them.
    shapes = checkpoint.shapes() if checkpoint.expected is None else {}
    counts += [
        (f"{checkpoint.folder}: tensor '{name}'", shape[0] if shape else 1)
        for name, shape in shapes.items()
        if name in _LAST
    ]
    for where, labels in counts:
        if labels != 1:
            raise ModelError(
                f"{where}: the head has {labels} labels; a reranker has 1, and which of several "
                "stands for relevance is not in the checkpoint. Reduce the head to one row (for "
                "two labels, the difference of their rows is the log-odds), and save it again"
            )
