"""The ``README.md`` of an export: what lies there, for people and for Hugging Face's loader.

The YAML header names every file pattern, so ``load_dataset`` finds splits and configurations in a
local folder and on a hub alike.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from fnmatch import fnmatch
from typing import Any

import yaml

from pipeline.config.table import settings_markdown
from pipeline.distillation.formats.base import TrainingFormat
from pipeline.distillation.rules.left_out import LEFT_OUT


def folder_card(
    name: str, form: TrainingFormat, summary: Mapping[str, Any], files: Collection[str]
) -> str:
    """Markdown with a YAML header; the same text for the same arguments.

    Args:
        name: of the format.
        form: the format as it was used.
        summary: what ``export.json`` says, see :mod:`pipeline.distillation.sets.exports`.
        files: paths of all files; the header names no pattern without one, for the loader refuses
            that.
    """
    configurations = [
        {
            "config_name": configuration,
            "data_files": [
                {"split": split, "path": pattern}
                for split, pattern in patterns.items()
                if any(fnmatch(path, pattern) for path in files)
            ],
        }
        for configuration, patterns in form.configurations().items()
    ]
    header = {"configs": configurations} if configurations else {}
    parts = [
        *(["---", yaml.safe_dump(header, sort_keys=False).rstrip(), "---", ""] if header else []),
        f"# {name}",
        "",
        f"An export of the training set `{summary['set_id']}`, for {form.consumer}.",
        "",
        "```",
        form.loading.replace("FOLDER", "."),
        "```",
        "",
        columns_markdown(form),
        "",
        "| split | queries | rows |",
        "|---|---|---|",
        *(
            f"| {split} | {counts['queries']:,} | {counts['rows']:,} |"
            for split, counts in summary["splits"].items()
        ),
    ]
    if summary["left_out"]:
        parts += ["", "Not in these files:", ""]
        parts += [f"- {number:,} {LEFT_OUT[code]}" for code, number in summary["left_out"].items()]
    return "\n".join(parts) + "\n"


def columns_markdown(form: TrainingFormat) -> str:
    """The columns in the order of the file, as a table."""
    rows = ["| column | type | meaning |", "|---|---|---|"]
    rows += [
        f"| `{column.name}` | `{column.type}` | {column.meaning} |" for column in form.columns()
    ]
    return "\n".join(rows)


def options_markdown(form: TrainingFormat) -> str:
    """The options of a format as a table; empty where it has none."""
    table = settings_markdown(form.Options)
    return table if table.count("\n") > 1 else ""
