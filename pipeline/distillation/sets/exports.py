"""Exports of a finished set: every canonical part becomes the files of a format, and all are named.

::

    <set folder>/exports/<format>/
        format.json        set, format and options
        train/part-…       rows; some formats have further folders beside it
        dev/part-…
        work/              a record per part; may be deleted once export.json is there
        README.md          columns and counts, with the header that Hugging Face's loader reads
        export.json        counts, and what the format could not carry; written last

Files are created, never replaced, and the same set gives the same bytes, so an export that was
killed goes on where it was, and an export can be made again without mining again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pipeline.config import RayConfig
from pipeline.distillation.formats.base import TrainingFormat
from pipeline.distillation.formats.support.finding import build
from pipeline.distillation.formats.support.folder_card import folder_card
from pipeline.distillation.rules import canonical
from pipeline.distillation.sets.check import (
    list_files,
    published_manifest,
    refuse_damage,
)
from pipeline.distillation.sets.export_parts import (
    Export,
    Part,
    first_uses,
    list_parts,
    write_documents,
    write_part,
)
from pipeline.distillation.sets.folder import SetFolder
from pipeline.distillation.sets.part_tasks import run_parts
from pipeline.errors import ConfigurationError, NotFoundError
from pipeline.storage.store import absolute, join, list_names

FOLDER: Final = "exports"
SUMMARY: Final = "export.json"

#: Raised when the bytes of an export change for the same set and options.
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What an export did.

    Attributes:
        folder: where it is.
        summary: content of ``export.json``.
        parts_run: parts that this session wrote.
        already_finished: it was there before.
    """

    folder: str
    summary: dict[str, Any]
    parts_run: int
    already_finished: bool


def export_set(
    set_path: str,
    name: str,
    options: Mapping[str, Any],
    *,
    ray: RayConfig,
    to: str | None = None,
) -> Exported:
    """Write a finished set in one format, or finish that, or notice that it is there.

    Args:
        set_path: folder of the set.
        name: of the format.
        options: of the format.
        ray: where parts are written.
        to: the export's folder; default: ``exports/<format>`` in the set.

    Raises:
        NotFoundError: there is no finished set.
        DamagedSetError: the set, or the export that lies there, is not as it was written.
        ConfigurationError: unknown format or option, or an export with other options lies there.
    """
    folder = SetFolder(absolute(set_path).rstrip("/"))
    if not folder.finished():
        raise NotFoundError(
            f"{set_path}: no run and no finished training set here; give the folder of a run, or "
            "of a set, <output.path>/<set id>, and let rerank distill finish it"
        )
    described = published_manifest(folder, read_back=False)
    export = Export(
        folder=absolute(to or join(folder.path, FOLDER, name)).rstrip("/"),
        format=name,
        options=options,
        rules=described["rules"],
    )
    form = export.form
    _claim(export, form, described["set_id"])
    finished = export.files.read_json(join(export.folder, SUMMARY))
    if finished is not None:
        refuse_damage(export.files, finished.pop("files"))
        return Exported(folder=export.folder, summary=finished, parts_run=0, already_finished=True)
    parts = list_parts(folder, described)
    done = set(list_names(join(export.folder, "work")))
    todo = [part for part in parts if export.record(part).rsplit("/", 1)[-1] not in done]
    run_parts(write_part, [(export, part) for part in todo], ray)
    records = [export.files.read_json(export.record(part)) for part in parts]
    files = [name for record in records for name in record["files"]]
    documents = 0
    if form.separate_documents:
        wanted = [(export, part, ids) for part, ids in first_uses(parts, records)]
        documents = sum(len(ids) for _, _, ids in wanted)
        files += [f"documents/{part.split}-{part.name}{form.suffix}" for _, part, _ in wanted]
        run_parts(write_documents, wanted, ray)
    summary = _summary(export, described["set_id"], parts, records, documents)
    _finish(export, form, summary, files)
    return Exported(
        folder=export.folder, summary=summary, parts_run=len(todo), already_finished=False
    )


def check_formats(formats: Mapping[str, Mapping[str, Any]]) -> None:
    """Notice before hours of mining that an export is not possible.

    Raises:
        ConfigurationError: an unknown format or option.
    """
    for name, options in formats.items():
        build(name, options)


def read_summaries(set_path: str, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """``export.json`` of the finished exports among ``names``.

    Raises:
        DamagedSetError: one is not as it was written.
    """
    folders = {name: SetFolder(join(absolute(set_path), FOLDER, name)) for name in names}
    summaries = {name: folder.read_json(folder.file(SUMMARY)) for name, folder in folders.items()}
    return {
        name: {key: value for key, value in summary.items() if key != "files"}
        for name, summary in summaries.items()
        if summary is not None
    }


def _claim(export: Export, form: TrainingFormat, set_id: str) -> None:
    """Write down what lies here, or refuse to mix it with something else."""
    path = join(export.folder, "format.json")
    wanted = {
        "set_id": set_id,
        "format": export.format,
        "options": form.options.model_dump(mode="json"),
        "version": FORMAT_VERSION,
    }
    there = export.files.read_json(path)
    if there is None:
        export.files.put_json(path, wanted)
    elif there != wanted:
        changed = [key for key in wanted if there.get(key) != wanted[key]]
        raise ConfigurationError(
            f"{export.folder}: holds an export with other {' and '.join(changed)} "
            f"({there}); delete it, or export into another folder with --to"
        )


def _summary(
    export: Export,
    set_id: str,
    parts: Sequence[Part],
    records: Sequence[Mapping[str, Any]],
    documents: int,
) -> dict[str, Any]:
    splits: dict[str, dict[str, int]] = {
        split: {"queries": 0, "rows": 0} for split in canonical.SPLITS
    }
    left_out: Counter[str] = Counter()
    for part, record in zip(parts, records, strict=True):
        for key, total in splits[part.split].items():
            splits[part.split][key] = total + record[key]
        left_out.update(record["left_out"])
    form = export.form
    summary = {
        "set_id": set_id,
        "format": export.format,
        "consumer": form.consumer,
        "options": form.options.model_dump(mode="json"),
        "splits": splits,
        "left_out": dict(sorted(left_out.items())),
    }
    return summary | ({"documents": documents} if form.separate_documents else {})


def _finish(
    export: Export, form: TrainingFormat, summary: Mapping[str, Any], files: Sequence[str]
) -> None:
    names: dict[str, list[str]] = {}
    for path in files:
        folder, name = path.split("/", 1)
        if folder in canonical.SPLITS:
            names.setdefault(folder, []).append(name)
    extra = form.finish(names)
    for path, data in extra.items():
        export.files.put(join(export.folder, path), data)
    card = folder_card(export.format, form, summary, files).encode()
    export.files.put(join(export.folder, "README.md"), card)
    written = [join(export.folder, name) for name in (*files, *extra, "README.md")]
    content = {**summary, "files": list_files(export.files, written)}
    export.files.put_json(join(export.folder, SUMMARY), content)
