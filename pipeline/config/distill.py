"""The settings of a distillation job: the root of ``conf/distill.yaml`` and its sections."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from pipeline.config.base import Names, Settings
from pipeline.config.job import ProgressConfig
from pipeline.config.placement import RayConfig
from pipeline.config.student import StudentConfig


class TeacherConfig(Settings):
    """One ranked run whose scores teach."""

    run: str = Field(description="Folder of a finished run, or an output folder that holds one.")
    weight: float = Field(
        1.0, gt=0, description="Its share in `weighted` and `rank_fusion`; relative to the others."
    )


def _teachers(value: Any) -> Any:
    """``teachers: out/runs/x`` and ``teachers: [a, b]`` are short for the full form."""
    values = [value] if isinstance(value, (str, dict)) else value
    if not isinstance(values, (list, tuple)):
        return value
    return tuple({"run": teacher} if isinstance(teacher, str) else teacher for teacher in values)


class CombinationConfig(Settings):
    """How the scores of several teachers become one."""

    method: Literal["mean", "weighted", "rank_fusion"] = Field(
        "mean",
        description="mean and weighted: of the scores below; rank_fusion: sum of weight / "
        "(rank_constant + rank), which looks at no score.",
    )
    scores: Literal["raw", "standardised", "calibrated"] = Field(
        "raw",
        description="raw: as the model gave them; standardised: minus the teacher's mean, over its "
        "standard deviation, both over all its scores; calibrated: log-odds of being judged "
        "relevant, by a logistic fit on positives.qrels.",
    )
    rank_constant: float = Field(60.0, gt=0, description="k of rank_fusion.")
    coverage: Literal["all", "any"] = Field(
        "all",
        description="all: a document needs a score from every teacher; any: from one, and the "
        "combination is over those that have scored it.",
    )


class PositivesConfig(Settings):
    """Which documents of a query are its positives."""

    source: Literal["teacher", "qrels", "both"] = Field(
        "teacher", description="The teacher's best, what is judged relevant, or either."
    )
    qrels: str | None = Field(
        None,
        description="Judgements, as rerank evaluate reads them. Documents judged above "
        "negatives.max_relevance are never negatives, whatever the source of positives.",
    )
    min_relevance: int = Field(1, description="Relevance from which a judgement makes a positive.")
    teacher_top: int = Field(
        1, ge=1, description="How many of the best scored documents the teacher makes positives."
    )
    teacher_min_score: float | None = Field(
        None, description="Combined score that such a document needs at least."
    )
    max_positives: int | None = Field(
        None, ge=1, description="Positives per query; the best are kept, judged ones first."
    )
    corpus: str | None = Field(
        None,
        description="Parquet with doc_id, text and maybe title: gives text to judged positives "
        "that stand in no list of their query; without it they are reported only.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> PositivesConfig:
        if self.source != "teacher" and self.qrels is None:
            raise ValueError(f"positives.source: {self.source} needs positives.qrels")
        if self.corpus is not None and self.source == "teacher":
            raise ValueError(
                "positives.corpus gives text to judged positives; set positives.source to qrels or "
                "both, or remove it"
            )
        return self


class NegativesConfig(Settings):
    """Which documents of a query are its hard negatives; names as in sentence-transformers."""

    num_negatives: int = Field(3, ge=1, description="Negatives per query, where there are enough.")
    min_negatives: int = Field(
        1, ge=0, description="A query with fewer is left out and counted (too_few_negatives)."
    )
    sampling_strategy: Literal["top", "random"] = Field(
        "top", description="top: the best scored that are allowed; random: any, by the seed."
    )
    range_min: int = Field(
        0,
        ge=0,
        description="Skip this many of the best; places count in the teacher's order without the "
        "positives.",
    )
    range_max: int | None = Field(None, ge=1, description="Look at no place beyond this one.")
    max_score: float | None = Field(None, description="Highest combined score of a negative.")
    min_score: float | None = Field(None, description="Lowest combined score of a negative.")
    absolute_margin: float | None = Field(
        None, ge=0, description="A negative scores at most p - margin; p: the lowest positive."
    )
    relative_margin: float | None = Field(
        None,
        ge=0,
        description="A negative scores at most p - |p| * margin. 0.05 is NV-Retriever's "
        "TopK-PercPos with 95 %.",
    )
    preset: Literal["topk_percpos"] | None = Field(
        None,
        description="topk_percpos: NV-Retriever's rule (arXiv 2407.15831), the same as "
        "relative_margin: 0.05 with sampling_strategy: top.",
    )
    false_negatives: Literal["drop", "keep", "relabel"] = Field(
        "drop",
        description="Unjudged documents that score above the lowest positive. drop: not used; "
        "keep: may be negatives; relabel: become positives.",
    )
    max_relevance: int = Field(
        0, description="Documents judged above this are never negatives (judged_relevant)."
    )
    max_per_document: int | None = Field(
        None, ge=1, description="Queries that one document may be a negative of."
    )
    near_duplicates: float | None = Field(
        0.9,
        gt=0,
        le=1,
        description="Share of common word triples (Jaccard) from which a text is a near duplicate "
        "of a positive, and no negative; null: exact duplicates only.",
    )

    @model_validator(mode="after")
    def _consistent(self) -> NegativesConfig:
        if self.range_max is not None and self.range_max <= self.range_min:
            raise ValueError(
                f"negatives.range_max ({self.range_max}) must be above range_min ({self.range_min})"
            )
        if self.min_negatives > self.num_negatives:
            raise ValueError(
                f"negatives.min_negatives ({self.min_negatives}) is above num_negatives "
                f"({self.num_negatives})"
            )
        if None not in (self.min_score, self.max_score) and self.min_score > self.max_score:  # type: ignore[operator]
            raise ValueError(
                f"negatives.min_score ({self.min_score}) is above max_score ({self.max_score})"
            )
        if self.preset is not None and (
            self.relative_margin is not None or self.sampling_strategy != "top"
        ):
            raise ValueError(
                f"negatives.preset: {self.preset} sets relative_margin and sampling_strategy "
                "itself; remove one of them"
            )
        if self.false_negatives == "keep" and self.has_margin:
            raise ValueError(
                "negatives.false_negatives: keep contradicts a margin, which refuses every "
                "document above the lowest positive; remove one of them"
            )
        return self

    @property
    def margin(self) -> float | None:
        """The relative margin, a preset's included."""
        return 0.05 if self.preset == "topk_percpos" else self.relative_margin

    @property
    def has_margin(self) -> bool:
        """Whether negatives are held below the lowest positive by a margin."""
        return self.absolute_margin is not None or self.margin is not None


class SplitConfig(Settings):
    """How queries are divided into train and dev."""

    dev_fraction: float = Field(
        0.05, ge=0, lt=1, description="Share of queries in dev; whole clusters, never more."
    )
    near_duplicates: float | None = Field(
        0.8,
        gt=0,
        le=1,
        description="Share of common character triples (Jaccard) from which two queries are near "
        "duplicates and stay on one side; null: only equal normalised texts do.",
    )


class DecontaminationConfig(Settings):
    """What a set must not contain, because it will be evaluated on."""

    queries: Names = Field(
        (),
        description="Evaluation queries: TSV (query_id, text), JSONL or Parquet. Queries with the "
        "same or nearly the same text are left out.",
    )
    qrels: Names = Field(
        (), description="Evaluation judgements; queries with an id that is judged are left out."
    )
    near_duplicates: float | None = Field(
        0.8, gt=0, le=1, description="As split.near_duplicates, against evaluation queries."
    )
    documents: bool = Field(
        False,
        description="Also leave out documents that the evaluation judgements call relevant.",
    )

    @model_validator(mode="after")
    def _documents_need_qrels(self) -> DecontaminationConfig:
        if self.documents and not self.qrels:
            raise ValueError("decontaminate.documents needs decontaminate.qrels")
        return self


class DistillOutputConfig(Settings):
    """Where training sets go."""

    path: str = Field(description="Folder of sets; a set writes into <path>/<set id>.")


class DistillConfig(Settings):
    """One distillation job: the root of ``conf/distill.yaml``."""

    teachers: Annotated[tuple[TeacherConfig, ...], BeforeValidator(_teachers)] = Field(
        min_length=1,
        description="Ranked runs over the same lists, as folders or as {run, weight}; texts are "
        "read from the input of the first.",
    )
    output: DistillOutputConfig
    combination: CombinationConfig = CombinationConfig()
    positives: PositivesConfig = PositivesConfig()
    negatives: NegativesConfig = NegativesConfig()
    split: SplitConfig = SplitConfig()
    decontaminate: DecontaminationConfig = DecontaminationConfig()
    exports: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Formats to write after the set (docs/training_formats.md), each with its "
        "options; they change nothing in the set and can be added later.",
    )
    student: StudentConfig = StudentConfig()
    seed: int = Field(0, ge=0, description="Of sampling, of the split, and of smoke training.")
    ray: RayConfig = RayConfig()
    progress: ProgressConfig = ProgressConfig()

    @model_validator(mode="after")
    def _consistent(self) -> DistillConfig:
        method, scores = self.combination.method, self.combination.scores
        if method == "mean" and any(teacher.weight != 1 for teacher in self.teachers):
            raise ValueError("teachers.weight has no effect on mean; set combination.method")
        if method == "rank_fusion" and scores != "raw":
            raise ValueError("combination.scores has no effect on rank_fusion; remove it")
        if scores == "calibrated" and self.positives.qrels is None:
            raise ValueError("combination.scores: calibrated needs positives.qrels to fit on")
        return self
