"""Classification heads: how many labels, and the one score that several logits make.

One label is a score. Of two, the second stands for "relevant" wherever a reranker was trained with
labels (monoBERT and monoT5's classifiers, cross-encoders trained with cross-entropy): the score is
the log-odds of class 1, whose sigmoid is softmax's probability of class 1. What more labels mean is
in no file, so the settings give each of them a grade.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from pydantic import Field, FiniteFloat

from pipeline.config import Settings
from pipeline.errors import ConfigurationError, ModelError

if TYPE_CHECKING:
    import numpy.typing as npt

    from pipeline.checkpoints.checkpoint import Checkpoint

#: The last layer of BERT's, DeBERTa's and ModernBERT's heads, of RoBERTa's, and of decoders'.
_LAST: Final = ("classifier.weight", "classifier.out_proj.weight", "score.weight")

#: What becomes of a logit.
Activated = Literal["none", "sigmoid", "tanh"]

#: What a score is, by what became of the logit, and where labels have grades.
_SCALES: Final[dict[Activated, str]] = {"none": "logit", "sigmoid": "probability", "tanh": "tanh"}
EXPECTED_GRADE: Final = "expected_grade"


class HeadSettings(Settings):
    """Settings of families with a classification head."""

    grades: tuple[FiniteFloat, ...] | None = Field(
        None,
        min_length=2,
        description="One grade per label, in the head's order: the score is the expected grade "
        "under softmax. Needed for three labels or more; two score as the log-odds of the second.",
    )


def labels_of(checkpoint: Checkpoint) -> int:
    """How many labels the head has, by config.json and by the weights themselves.

    transformers leaves the labels out of config.json where there are two, so the file alone does
    not tell; where it does say, both must agree. Without a known tensor the file's word counts,
    and 1 where it has none.

    Raises:
        ModelError: they disagree, or two tensors do.
    """
    config = checkpoint.config
    names = config.get("id2label")
    stated = len(names) if isinstance(names, Mapping | list) and names else None
    stated = stated or config.get("num_labels")
    counts: list[tuple[object, object]] = []
    if stated is not None:
        counts.append((checkpoint.folder / "config.json", stated))
    counts += [
        (f"{checkpoint.folder}: tensor '{name}'", shape[0] if shape else 1)
        for name, shape in _shapes(checkpoint).items()
        if name in _LAST
    ]
    for (where, labels), (other, others) in pairwise(counts):
        if labels != others:
            raise ModelError(
                f"{where}: the head has {labels} labels, but by {other} it has {others}; correct "
                "id2label or num_labels, or fetch the checkpoint again"
            )
    found = counts[0][1] if counts else 1
    if type(found) is not int or found < 1:
        raise ModelError(f"{counts[0][0]}: num_labels is {found!r}, expected a number from 1")
    return found


def _shapes(checkpoint: Checkpoint) -> Mapping[str, tuple[int, ...]]:
    """Sizes of the stored tensors; none where a planned file is damaged, as loading it will say."""
    try:
        return checkpoint.shapes()
    except ModelError:
        if checkpoint.expected is None:
            raise
        return {}


def scored_labels(checkpoint: Checkpoint, *, grades: tuple[float, ...] | None) -> int:
    """As :func:`labels_of`, refused where no score can be made of so many.

    Raises:
        ModelError: as there; three labels or more without grades.
        ConfigurationError: grades for a head with another number of labels.
    """
    labels = labels_of(checkpoint)
    refuse_unscorable(labels, grades=grades, where=checkpoint.folder)
    return labels


def refuse_unscorable(labels: int, *, grades: tuple[float, ...] | None, where: Path) -> None:
    """Refuse a head of whose labels no score can be made.

    Args:
        labels: how many it has.
        grades: as the settings give them.
        where: the checkpoint's folder, for messages.

    Raises:
        ModelError: three labels or more without grades.
        ConfigurationError: grades for a head with another number of labels.
    """
    if grades is not None and len(grades) != labels:
        raise ConfigurationError(
            f"model.settings.grades: {len(grades)} grades, but the head of {where} has {labels} "
            f"labels; give one a label{', or none' if labels < 3 else ''}"
        )
    if labels > 2 and grades is None:
        raise ModelError(
            f"{where}: the head has {labels} labels, and what each stands for is not in the "
            "checkpoint; set model.settings.grades to one grade a label, in the order of the "
            "labels, to score by the expected grade"
        )


def require_one_label(checkpoint: Checkpoint) -> None:
    """Refuse a head with several labels, for families whose published heads have one.

    Raises:
        ModelError: names the number of labels.
    """
    labels = labels_of(checkpoint)
    if labels != 1:
        raise ModelError(
            f"{checkpoint.folder}: the head has {labels} labels; this family's has 1. Reduce it "
            "to one row (for two labels, the difference of their rows is the log-odds), and save "
            "it again"
        )


def score_scale(activation: Activated, *, grades: tuple[float, ...] | None) -> str:
    """What a score is; see :class:`pipeline.rerankers.base.Reranker`.

    Args:
        activation: of logits.
        grades: of labels.

    Raises:
        ConfigurationError: there are both.
    """
    if grades is None:
        return _SCALES[activation]
    if activation != "none":
        raise ConfigurationError(
            f"model.settings.activation: '{activation}' has no meaning for expected grades "
            "(model.settings.grades); leave one of them out"
        )
    return EXPECTED_GRADE


def label_scores(
    logits: npt.NDArray[np.float32], *, grades: tuple[float, ...] | None = None
) -> npt.NDArray[np.float32]:
    """float32 [n]: a score for the logits [n, labels] of each sequence.

    Args:
        logits: of a head that :func:`scored_labels` takes.
        grades: of the labels; then the score is their mean, weighted by softmax.
    """
    wide = logits.astype(np.float32)
    if grades is not None:
        weights = np.exp(wide - wide.max(axis=1, keepdims=True))
        mean = weights @ np.asarray(grades, dtype=np.float32) / weights.sum(axis=1)
        return mean.astype(np.float32)  # type: ignore[no-any-return]
    if wide.shape[1] == 1:
        return np.ascontiguousarray(wide[:, 0])
    return wide[:, 1] - wide[:, 0]
