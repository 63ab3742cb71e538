"""S3 and what speaks its protocol: conditional writes, verified reads, listings.

A conditional write carries an id of its own in the object's metadata, so an answer that was lost is
no riddle: the store is asked whose object is there before anything is sent again. A request that is
still on its way when it is sent again does no harm, since both carry that id.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.utils import glob_translate

from pipeline.storage.backend import Backend
from pipeline.storage.counters import Event, count
from pipeline.storage.files import FILE, FOLDER, Entry, FileIdentity, Upload
from pipeline.storage.ranged_reader import ranged_reader
from pipeline.storage.s3_faults import (
    Attempts,
    ContradictionError,
    Fault,
    classify,
    describe,
    is_absent,
)
from pipeline.storage.s3_requests import Requests, changed, identity_of, split, version_of

#: Bytes of one request of a fetched file.
_FETCH_STEP = 64 << 20

_MAGIC = re.compile(r"[*?\[]")


class S3(Backend):
    """Objects below ``s3://bucket/...``; the endpoint is that of the environment."""

    def __init__(self) -> None:
        self._requests = Requests()
        # Ceph 16 compares If-Match with the bare ETag, everything else with the quoted one.
        self._bare_etags = False

    def __reduce__(self) -> tuple[Any, ...]:
        # In another process: a client of its own, from the environment there.
        return (S3, ())

    def stat(self, path: str) -> FileIdentity | None:
        """HEAD of one object; a name that ends in a slash is a folder."""
        key = split(path)[1]
        head = self._requests.head(path) if key and not key.endswith("/") else None
        return head.identity if head else None

    def is_folder(self, path: str) -> bool:
        """Whether a key begins with the folder's name and a slash."""
        bucket, key = split(path)
        first = self._requests.pages(path, Bucket=bucket, Prefix=_folder(key), MaxKeys=1)
        return bool(next(first).get("Contents"))

    def find(self, folder: str) -> list[FileIdentity]:
        """One request per 1,000 objects."""
        bucket, key = split(folder)
        return list(self._listed(folder, bucket, _folder(key)))

    def glob(self, pattern: str) -> list[FileIdentity]:
        """Lists what begins like the pattern, up to its first wildcard."""
        bucket, key = split(pattern)
        matches = re.compile(glob_translate(key)).match
        found = self._listed(pattern, bucket, _MAGIC.split(key)[0])
        return [file for file in found if matches(split(file.path)[1])]

    def children(self, folder: str) -> tuple[list[str], list[str]]:
        """One request per 1,000 names."""
        bucket, key = split(folder)
        prefix = _folder(key)
        files: list[str] = []
        folders: list[str] = []
        for page in self._requests.pages(folder, Bucket=bucket, Prefix=prefix, Delimiter="/"):
            files += [item["Key"][len(prefix) :] for item in page.get("Contents", ())]
            folders += [
                item["Prefix"][len(prefix) :].rstrip("/") for item in page.get("CommonPrefixes", ())
            ]
        return [name for name in files if name], folders

    def entries(self, folder: str) -> list[Entry]:
        """One request per 1,000 names."""
        bucket, key = split(folder)
        prefix = _folder(key)
        found: list[Entry] = []
        for page in self._requests.pages(folder, Bucket=bucket, Prefix=prefix, Delimiter="/"):
            for item in page.get("Contents", ()):
                name = item["Key"][len(prefix) :]
                found.append(Entry(name=name, kind=FILE, size=item["Size"]))
            for item in page.get("CommonPrefixes", ()):
                name = item["Prefix"][len(prefix) :].rstrip("/")
                found.append(Entry(name=name, kind=FOLDER, size=0))
        return [entry for entry in found if entry.name]  # consoles mark a folder with such a key

    def open(self, path: str, expected: FileIdentity | None) -> BinaryIO | None:
        """Ranged GETs, each on condition of the ETag that HEAD gave."""
        head = self._requests.head(path)
        if head is None:
            return None
        found = head.identity
        if expected is not None and found.version != expected.version:
            raise changed(path, expected.version)

        def fetch(start: int, stop: int) -> bytes:
            download = self._requests.download(path, start, stop, found.version)
            if download is None:
                raise changed(path, found.version)
            return download.data

        return ranged_reader(path, found.size, fetch)

    def read(self, path: str, most_bytes: int | None = None) -> tuple[bytes, str] | None:
        """One GET; verified by the sha256 that objects of ours carry."""
        download = self._requests.download(path, most_bytes=most_bytes)
        return None if download is None else (download.data, str(download.version))

    def write(self, path: str, data: bytes) -> None:
        """PutObject without a condition; sending it twice makes the same object."""
        write_id = uuid.uuid4().hex
        attempts = Attempts(path, "written")
        while True:
            generation = self._requests.generation
            try:
                self._requests.put(path, data, write_id, {})
                return
            except Exception as error:
                self._requests.wait(attempts, error, generation)

    def create(self, path: str, data: bytes) -> bool:
        """PutObject with ``If-None-Match: *``."""
        return self._put_if(path, data, None) is not None

    def replace(self, path: str, data: bytes, version: str) -> str | None:
        """PutObject with ``If-Match``."""
        return self._put_if(path, data, version)

    def delete(self, path: str) -> None:
        """DeleteObject."""
        bucket, key = split(path)
        self._requests.ask(
            path, "deleted", "delete_object", absent_is_none=True, Bucket=bucket, Key=key
        )

    def fetch(self, file: FileIdentity, target: Path) -> None:
        """Ranged GETs of one version, straight to the disk."""
        with target.open("wb") as out:
            for start in range(0, file.size, _FETCH_STEP):
                stop = min(start + _FETCH_STEP, file.size)
                download = self._requests.download(file.path, start, stop, file.version)
                if download is None:
                    raise changed(file.path, file.version)
                out.writelines(download.parts)

    def uploads(self, folder: str) -> list[Upload]:
        """ListMultipartUploads below the folder."""
        bucket, key = split(folder)
        query: dict[str, Any] = {"Bucket": bucket, "Prefix": _folder(key)}
        found: list[Upload] = []
        while True:
            page = self._requests.ask(folder, "listed", "list_multipart_uploads", **query)
            found += [
                Upload(
                    path=f"s3://{bucket}/{item['Key']}",
                    upload_id=item["UploadId"],
                    started=item["Initiated"],
                )
                for item in page.get("Uploads", ())
            ]
            if not page.get("IsTruncated"):
                return found
            query["KeyMarker"] = page["NextKeyMarker"]
            query["UploadIdMarker"] = page["NextUploadIdMarker"]

    def abort(self, upload: Upload) -> None:
        """AbortMultipartUpload; one that is gone already is as good."""
        bucket, key = split(upload.path)
        self._requests.ask(
            upload.path,
            "aborted",
            "abort_multipart_upload",
            absent_is_none=True,
            Bucket=bucket,
            Key=key,
            UploadId=upload.upload_id,
        )

    def _put_if(self, path: str, data: bytes, version: str | None) -> str | None:
        """Write where ``version`` is still current (None: where nothing is).

        Returns:
            The version that this call made, None where the condition does not hold.
        """
        write_id = uuid.uuid4().hex
        attempts = Attempts(path, "written")
        respelled = False
        while True:
            generation, bare = self._requests.generation, self._bare_etags
            try:
                return self._requests.put(path, data, write_id, _condition(version, bare=bare))
            except Exception as error:
                refused = classify(error) is Fault.PRECONDITION or is_absent(error)
                if not refused:
                    self._requests.wait(attempts, error, generation)
                head = self._requests.head(path, "written")
                if head is not None and head.write_id == write_id:
                    count(Event.AMBIGUOUS)
                    return head.identity.version
                if (head.identity.version if head else None) != version:
                    return None
                if not refused:
                    continue
                # The condition holds, yet the store says that it does not: another spelling of the
                # ETag may help, once for nothing, then as a failed attempt.
                self._bare_etags = not bare
                if version is None or respelled:
                    contradiction = ContradictionError(describe(error))
                    self._requests.wait(attempts, contradiction, generation)
                respelled = True

    def _listed(self, path: str, bucket: str, prefix: str) -> Iterator[FileIdentity]:
        for page in self._requests.pages(path, Bucket=bucket, Prefix=prefix):
            for item in page.get("Contents", ()):
                if not item["Key"].endswith("/"):  # consoles make such empty objects for folders
                    yield identity_of(
                        f"s3://{bucket}/{item['Key']}", item["Size"], version_of(item)
                    )


def _folder(key: str) -> str:
    """Prefix of the keys below a folder: with its slash, so that ``run`` is not ``run-2``."""
    return key.rstrip("/") + "/" if key.strip("/") else ""


def _condition(version: str | None, *, bare: bool) -> dict[str, str]:
    if version is None:
        return {"IfNoneMatch": "*"}
    return {"IfMatch": version if bare else f'"{version}"'}
