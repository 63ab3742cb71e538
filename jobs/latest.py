"""What was published last: ``rerank latest PATH``."""

from __future__ import annotations

if __name__ == "__main__":  # first, so that what the imports below raise is told as well
    from rerank_pipeline.names import run_module

    run_module("jobs.latest")

import json
from typing import Annotated

import typer

from jobs.command import command, console, run_job
from pipeline.errors import DamagedRunError
from pipeline.refresh.publications.latest import ranked_files, required
from pipeline.refresh.publications.reading import publication, root_of, run_of, sequences
from pipeline.refresh.publications.record import ROLLBACK, Publication


def latest(
    path: Annotated[str, typer.Argument(help="An output folder, the output.path of a refresh.")],
    files: Annotated[
        bool, typer.Option("--files", help="Print the paths of the run's ranked files only.")
    ] = False,
    history: Annotated[
        bool, typer.Option("--history", help="List every publication, the current one first.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for scripts.")] = False,
) -> None:
    """Show which run was published last, once it is seen to be what was published."""
    with command():
        root = root_of(path)
        if history:
            _history(root, as_json)
            return
        current = required(root)
        folder = run_of(root, current)
        ranked = ranked_files(folder)
        if as_json:
            about = current.described() | {"folder": folder.path}
            typer.echo(json.dumps(about | ({"files": ranked} if files else {}), indent=2))
        elif files:
            for name in ranked:
                console.say(name)
        else:
            for heading, text in _lines(current, folder.path):
                console.say(f"{heading:<13}{text}")


def _lines(current: Publication, folder: str) -> list[tuple[str, str]]:
    lines = [
        ("publication", str(current.sequence)),
        ("date", current.date.isoformat()),
        ("run", folder),
        ("published", f"{current.at:%Y-%m-%d %H:%M:%S %Z} by {current.by}"),
    ]
    if current.action == ROLLBACK:
        lines.append(("rollback", f"to publication {current.restores}: {current.why}"))
    for name, gate in current.gates.items():
        state = "passed" if gate["passed"] else "FAILED"
        value = "nothing to compare" if gate["value"] is None else gate["value"]
        lines.append(("gate", f"{name}: {value} (limit {gate['limit']}) {state}"))
    for one in current.accepted:
        lines.append(("accepted", f"{one['gate']} by {one['by']} at {one['at']}: {one['why']}"))
    return lines


def _history(root: str, as_json: bool) -> None:
    """A damaged publication is shown as such: here is where somebody looks for a way out of it."""
    numbers = sequences(root)
    if not numbers:
        required(root)
    listed: list[dict[str, object]] = []
    for number in reversed(numbers):
        try:
            listed.append(publication(root, number).described())
        except DamagedRunError as error:
            listed.append({"sequence": number, "damaged": str(error)})
    if as_json:
        typer.echo(json.dumps(listed, indent=2))
        return
    for one in listed:
        if "damaged" in one:
            console.say(f"{one['sequence']:>9}  damaged: {one['damaged']}")
            continue
        back = "" if one["restores"] is None else f" to {one['restores']}: {one['why']}"
        console.say(
            f"{one['sequence']:>9}  {one['date']}  {one['run_id']}  {one['action']}{back}, by "
            f"{one['by']} at {one['at']}"
        )


def main() -> None:
    """Entry point of ``python -m jobs.latest``."""
    run_job(latest)
