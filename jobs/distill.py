"""Make a training set: ``python -m jobs.distill -c conf/distill.yaml``, or ``rerank distill``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.distill")

from typing import Annotated, Any

import typer

from jobs.command import (
    ConfigFile,
    Overrides,
    PrintConfig,
    command,
    console,
    read_config,
    run_job,
    show_config,
)
from jobs.export import show_exported
from pipeline.config import DistillConfig
from pipeline.distillation.preparation import Prepared, prepare_distillation
from pipeline.distillation.run import distill
from pipeline.distillation.sets.card_files import write_card
from pipeline.distillation.sets.data_card import require_libraries
from pipeline.distillation.sets.exports import check_formats, export_set
from pipeline.execution.outcome import Outcome
from pipeline.plurals import counted


def distill_runs(
    config: ConfigFile = None,
    overrides: Overrides = None,
    print_config: PrintConfig = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Open the teachers, print the plan, write nothing.")
    ] = False,
    smoke_train: Annotated[
        bool,
        typer.Option("--smoke-train", help="Then train a small student, and rank dev with it."),
    ] = False,
) -> None:
    """Make a training set from ranked runs; run again to resume, or to learn that all is done."""
    with command():
        job = read_config(DistillConfig, config, overrides)
        if print_config:
            show_config(job)
            return
        check_formats(job.exports)
        require_libraries()
        prepared = prepare_distillation(job)
        show_prepared(prepared)
        if dry_run:
            console.say("dry run: nothing was written")
            return
        done = distill(prepared)
        show_distilled(done)
        for name, options in job.exports.items():
            show_exported(name, export_set(done.folder, name, options, ray=job.ray))
        console.say(f"card       {write_card(done.folder)}")
        if smoke_train:
            train_student(job, done)


def train_student(job: DistillConfig, done: Outcome) -> None:
    """Train the configured student on the set, and say what it learnt."""
    from pipeline.distillation.student.training import smoke_train, write_result
    from pipeline.reports.student_table import student_table

    console.say("training   the student, on this machine's CPU")
    trained = smoke_train(
        done.folder,
        job.student,
        temperature=done.manifest["temperature"]["suggested"],
        seed=job.seed,
    )
    notes = (
        f"{counted(trained.rows, 'training row')}, {trained.seconds:,.0f} s; "
        f"{counted(trained.dev_queries, 'dev list')} of {trained.documents:.1f} documents"
    )
    console.print(student_table(trained.comparison, trained.teacher, notes))
    console.say(f"output     {write_result(done.folder, job.student, trained)}")


def show_prepared(prepared: Prepared) -> None:
    """Say in a few lines what a distillation reads and writes."""
    for run in prepared.teachers:
        teacher = run.teacher
        licence = f", licence {teacher.licence}" if teacher.licence else ""
        console.say(f"teacher    {teacher.name} ({teacher.score_scale}{licence}), {run.folder}")
    documents = sum(unit.documents for unit in prepared.units)
    units = counted(len(prepared.units), "unit")
    console.say(f"plan       {units}, about {counted(documents, 'document')}")
    console.say(f"set        {prepared.folder.path}")


def show_distilled(done: Outcome) -> None:
    """Say what a distillation did."""
    manifest = done.manifest
    if done.already_finished:
        console.say("finished   before; nothing to do")
    for split, counts in manifest["splits"].items():
        console.say(f"{split:<10} {_counted(counts)}")
    for level, key in (("queries", "queries_rejected"), ("candidates", "candidates_rejected")):
        for reason, number in sorted(manifest[key].items(), key=lambda item: -item[1]):
            console.say(f"rejected   {number:,} {level}: {reason}")
    for gap in manifest["coverage"]["teachers"]:
        if gap["unscored"] or gap["extra"]:
            console.say(
                f"coverage   {gap['name']}: {counted(gap['unscored'], 'candidate')} without a "
                f"score, {gap['extra']:,} scored that are not in the first teacher's lists"
            )
    outside = manifest["positives_outside"]
    if outside["judged"]:
        console.say(
            f"coverage   {outside['judged']:,} judged positives stand in no list, "
            f"{outside['with_text']:,} of them have a text"
        )
    suggested = manifest["temperature"]["suggested"]
    if suggested is not None:
        console.say(f"suggested  temperature {suggested:.4g}")
    console.say(f"output     {done.folder}")


def _counted(counts: dict[str, Any]) -> str:
    return (
        f"{counted(counts['queries'], 'query')}, {counted(counts['positives'], 'positive')}, "
        f"{counted(counts['negatives'], 'negative')}"
    )


def main() -> None:
    """Entry point of ``python -m jobs.distill``."""
    run_job(distill_runs)
