"""Writing the data card beside a finished set."""

from __future__ import annotations

import json
from typing import Final

from pipeline.distillation.formats.support.finding import names
from pipeline.distillation.sets.check import published_manifest, read_part
from pipeline.distillation.sets.data_card import FOLDER as PICTURES
from pipeline.distillation.sets.data_card import make_card
from pipeline.distillation.sets.export_parts import list_parts
from pipeline.distillation.sets.exports import read_summaries
from pipeline.distillation.sets.folder import SetFolder
from pipeline.errors import NotFoundError
from pipeline.storage.store import join, write_whole

#: Queries that are shown whole.
EXAMPLES: Final = 3


def write_card(set_path: str) -> str:
    """Make ``card.md``, ``card.json`` and their pictures anew; returns the path of the first.

    Raises:
        NotFoundError: there is no finished set.
        DamagedSetError: its folder is not as it was written.
        ConfigurationError: jinja2 or matplotlib is not installed.
    """
    folder = SetFolder(set_path)
    if not folder.finished():
        raise NotFoundError(f"{set_path}: no finished training set here")
    manifest = published_manifest(folder, read_back=False)
    first = list_parts(folder, manifest)[0]
    card = make_card(
        manifest,
        examples=read_part(folder, first.file).slice(0, EXAMPLES).to_pylist(),
        exports=read_summaries(set_path, names()),
    )
    for name, picture in card.pictures.items():
        write_whole(join(set_path, PICTURES, name), picture)
    data = json.dumps(card.data, indent=2, ensure_ascii=False).encode() + b"\n"
    write_whole(folder.file("card.json"), data)
    path = folder.file("card.md")
    write_whole(path, card.markdown.encode())
    return path
