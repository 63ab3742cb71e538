"""S3 and what speaks its protocol: conditional writes, verified reads, listings.

A conditional write carries an id of its own in the object's metadata: where its answer is lost, the
store is asked whose object is there before anything is sent again. A request that is still on its
way when it is sent again does no harm, since both carry that id.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import shutil
import uuid
from datetime import datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

from pipeline.storage.backend import Backend
from pipeline.storage.counters import Event, count
from pipeline.storage.files import FILE, FOLDER, Entry, FileIdentity, Upload
from pipeline.storage.patterns import PathPattern
from pipeline.storage.s3 import downloads, faults
from pipeline.storage.s3.downloads import identity_of
from pipeline.storage.s3.filesystem import SHA256, WRITE_ID, filesystem, run, split, version_of


class S3(Backend):
    """Objects below ``s3://bucket/...``; the endpoint is that of the environment."""

    def __init__(self) -> None:
        # Ceph 16 compares If-Match with the bare ETag, everything else with the quoted one.
        self._bare_etags = False

    def stat(self, path: str) -> FileIdentity | None:
        """HEAD of one object; a name that ends in a slash is a folder."""
        key = split(path)[1]
        found = run(_head(path, "read")) if key and not key.endswith("/") else None
        if not found:
            return None
        return identity_of(path, found["ContentLength"], version_of(found))

    def is_folder(self, path: str) -> bool:
        """Whether a key begins with the folder's name and a slash."""
        return bool(run(_listed(path, _folder(path), max_items=1)))

    def find(self, folder: str) -> list[FileIdentity]:
        """One request per 1,000 objects."""
        return _files(run(_listed(folder, _folder(folder))))

    def glob(self, pattern: str, endings: tuple[str, ...]) -> list[FileIdentity]:
        """Lists what begins like the pattern, up to its first wildcard."""
        wanted = PathPattern(split(pattern)[1], endings)
        found = _files(run(_listed(pattern, wanted.literal)))
        return [file for file in found if wanted.takes(split(file.path)[1])]

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """One request per 1,000 names."""
        prefix = _folder(folder)
        names: dict[str, list[str]] = {"file": [], "directory": []}
        for item in run(_listed(folder, prefix, delimiter="/")):
            names[item["type"]].append(split(item["name"])[1][len(prefix) :])
        return [name for name in names["file"] if name], names["directory"]

    def entries(self, folder: str) -> list[Entry]:
        """One request per 1,000 names."""
        prefix = _folder(folder)
        kinds = {"file": FILE, "directory": FOLDER}
        found = [
            Entry(
                name=split(item["name"])[1][len(prefix) :].rstrip("/"),
                kind=kinds[item["type"]],
                size=int(item.get("size") or 0),
            )
            for item in run(_listed(folder, prefix, delimiter="/"))
        ]
        return [entry for entry in found if entry.name]  # consoles mark a folder with such a key

    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """Ranged GETs, each on condition of the ETag that HEAD gave."""
        found = self.stat(path)
        if found and expected is not None and expected.version != found.version:
            raise downloads.changed(path, expected.version)
        return cast(BinaryIO, downloads.VersionedFile(found)) if found else None

    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """One GET; verified by the sha256 that objects of ours carry."""
        return run(downloads.download(path, most_bytes=most_bytes))

    def write(self, path: str, data: bytes) -> None:
        """PutObject without a condition; sending it twice makes the same object."""
        filesystem().call_s3("put_object", **_object(path, data))

    def create(self, path: str, data: bytes) -> bool:
        """PutObject with ``If-None-Match: *``."""
        return run(self._put_if(path, _object(path, data), None)) is not None

    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """PutObject with ``If-Match``."""
        return run(self._put_if(path, _object(path, data), version))

    def delete(self, path: str) -> None:
        """DeleteObject."""
        _remove(path, "delete_object")

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """Ranged GETs of one version, straight to the disk."""
        with downloads.VersionedFile(file) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, 64 << 20)

    def arrow_place(self, path: str) -> tuple[Any, str]:
        """Ours, with its attempts and time limits."""
        return filesystem(), "/".join(split(path))

    def remove_empty(self, folder: str) -> None:
        """Nothing: a folder is what its objects' names begin with."""

    def modified(self, folder: str) -> datetime | None:
        """By the store's clock, from one request per 1,000 objects."""
        found = run(_listed(folder, _folder(folder)))
        return max((item["LastModified"] for item in found), default=None)

    def uploads(self, folder: str) -> list[Upload]:
        """ListMultipartUploads below the folder."""
        bucket = split(folder)[0]
        query: dict[str, Any] = {"Bucket": bucket, "Prefix": _folder(folder)}
        found: list[Upload] = []
        while True:
            page = filesystem().call_s3("list_multipart_uploads", **query)
            for item in page.get("Uploads", ()):
                path, started = f"s3://{bucket}/{item['Key']}", item["Initiated"]
                found.append(Upload(path=path, upload_id=item["UploadId"], started=started))
            if not page.get("IsTruncated"):
                return found
            query["KeyMarker"] = page["NextKeyMarker"]
            query["UploadIdMarker"] = page["NextUploadIdMarker"]

    def abort(self, upload: Upload) -> None:
        """AbortMultipartUpload; one that is gone already is as good."""
        _remove(upload.path, "abort_multipart_upload", UploadId=upload.upload_id)

    async def _put_if(self, path: str, content: dict[str, Any], version: str | None) -> str | None:
        """Write where ``version`` is current (None: nothing is there); the new one, or None."""
        attempts, respelled = faults.Attempts(path, "written"), False
        while True:
            bare = self._bare_etags
            etag = version if bare else f'"{version}"'
            condition = {"IfNoneMatch": "*"} if version is None else {"IfMatch": etag}
            try:
                made = await filesystem().send(attempts, "put_object", content, condition)
                return version_of(made)
            except Exception as error:
                precondition = faults.classify(error) is faults.Fault.PRECONDITION
                refused = precondition or faults.is_absent(error)
                if not refused:
                    await filesystem().recover(attempts, error)
                found = await _head(path, "written")
                if found and found["Metadata"].get(WRITE_ID) == content["Metadata"][WRITE_ID]:
                    count(Event.AMBIGUOUS)
                    return version_of(found)
                if (version_of(found) if found else None) != version:
                    return None
                if not refused:
                    continue
                # The condition holds, yet the store says that it does not: another spelling of the
                # ETag may help, once for nothing, then as a failed attempt.
                self._bare_etags = not bare
                if version is None or respelled:
                    await attempts.wait(faults.ContradictionError(faults.describe(error)))
                respelled = True


def _object(path: str, data: bytes) -> dict[str, Any]:
    """Arguments of PutObject. The store verifies Content-MD5, readers of ours the sha256."""
    bucket, key = split(path)
    md5 = base64.b64encode(hashlib.md5(data, usedforsecurity=False).digest()).decode()
    metadata = {SHA256: hashlib.sha256(data).hexdigest(), WRITE_ID: uuid.uuid4().hex}
    return {"Bucket": bucket, "Key": key, "Body": data, "ContentMD5": md5, "Metadata": metadata}


async def _head(path: str, verb: str) -> dict[str, Any] | None:
    """The answer to HeadObject; None where nothing is. ``verb``: what it is needed for."""
    bucket, key = split(path)
    with contextlib.suppress(FileNotFoundError):
        return dict(await filesystem()._call_s3("head_object", verb=verb, Bucket=bucket, Key=key))
    return None


def _remove(path: str, operation: str, **query: Any) -> None:
    bucket, key = split(path)
    with contextlib.suppress(FileNotFoundError):
        filesystem().call_s3(operation, Bucket=bucket, Key=key, **query)


async def _listed(path: str, prefix: str, **query: Any) -> list[dict[str, Any]]:
    """Every object and folder below a prefix in the bucket of ``path``, as s3fs describes them."""
    query = {"prefix": prefix, "delimiter": "", **query}
    return [item async for item in filesystem()._iterdir(split(path)[0], **query)]


def _files(items: list[dict[str, Any]]) -> list[FileIdentity]:
    return [
        identity_of(f"s3://{item['name']}", item["size"], version_of(item))
        for item in items
        if not item["name"].endswith("/")  # consoles make such empty objects for folders
    ]


def _folder(path: str) -> str:
    """Prefix of the keys below a folder: with its slash, so that ``run`` is not ``run-2``."""
    key = split(path)[1]
    return key.rstrip("/") + "/" if key.strip("/") else ""
