"""Download one file of known size and checksum, resuming an earlier attempt.

Pooch verifies the checksum and moves the file into place atomically. This module adds resuming: an interrupted
download continues with a range request, provided (If-Range) that the file has not changed.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pooch
import requests
from urllib3.exceptions import HTTPError

from se_probe.errors import SeProbeError, message_of
from se_probe.images.public.sets import part_of, readable_size

Progress = Callable[[int], None]

_CHUNK = 2**20
_TIMEOUT = (10.0, 60.0)  # seconds to connect, and between two pieces
_TRIES = 3  # attempts in a row without a new byte
_WAIT = 2.0
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")
_PASSING_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})


def download(url: str, archive: Path, size: int, sha256: str, progress: Progress) -> None:
    """Download a file of known size and checksum, unless it exists.

    A partial download is kept beside `archive` and resumed by the next call; a file with another checksum is not kept.
    `progress` is called with the number of bytes so far.
    """
    downloader = _Resuming(part_of(archive), size, progress)
    logger = pooch.get_logger()
    level = logger.level
    logger.setLevel(logging.WARNING)  # The caller reports itself what pooch would log.
    try:
        pooch.retrieve(url, f"sha256:{sha256}", archive.name, archive.parent, downloader=downloader)
    except ValueError as error:
        raise SeProbeError(f"{url}: {error}") from error
    finally:
        logger.setLevel(level)


@dataclass(frozen=True)
class _Resuming:
    """A downloader for pooch that resumes the partial download `part`."""

    part: Path
    size: int
    progress: Progress

    def __call__(self, url: str, output_file: str, pooch: object, check_only: bool = False) -> None:
        """Download to `output_file`; pooch passes the last two arguments, which are unused."""
        most, fruitless = self._kept(), 0
        while self._kept() < self.size:
            try:
                self._request(url, self._kept())
            except (requests.RequestException, HTTPError, _InterruptedError) as error:
                # Compared with the largest size so far, because a server may restart a download repeatedly.
                fruitless = 0 if self._kept() > most else fruitless + 1
                most = max(most, self._kept())
                if fruitless == _TRIES:
                    raise SeProbeError(self._stopped(url, error)) from error
                time.sleep(_WAIT * fruitless)
        os.replace(self.part, output_file)
        self._tag.unlink(missing_ok=True)

    def _request(self, url: str, kept: int) -> None:
        headers = {"Accept-Encoding": "identity", "User-Agent": "se-probe"}
        if kept:
            headers["Range"] = f"bytes={kept}-"
            if self._tag.is_file():
                headers["If-Range"] = self._tag.read_text("utf-8")
        with requests.get(url, headers=headers, stream=True, timeout=_TIMEOUT) as answer:
            start = self._start(url, answer, kept)
            if start == 0:
                self._keep_validator(answer)
            with self.part.open("r+b" if start else "wb") as stream:
                stream.seek(start)
                # Undecoded, because a server may declare the archive's own compression as an encoding.
                for piece in answer.raw.stream(_CHUNK, decode_content=False):
                    start += len(piece)
                    if start > self.size:
                        self._refuse(url, f"more than {self.size} bytes")
                    stream.write(piece)
                    self.progress(start)
            if start < self.size:
                raise _InterruptedError("the connection was closed")

    def _start(self, url: str, answer: requests.Response, kept: int) -> int:
        """Return the offset in the file of the answer's first byte."""
        status = answer.status_code
        if status == 206:
            found = _CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
            if found and int(found[1]) == kept and found[2] in ("*", str(self.size)):
                return kept
        if status in (206, 416):
            self.part.unlink()
            raise _InterruptedError("the server could not resume the download")
        if status in _PASSING_STATUS:
            raise _InterruptedError(f"status {status}")
        if status != 200:
            raise SeProbeError(
                f"{url} cannot be obtained (status {status} {answer.reason}); the publisher may have moved it: "
                "give another address of the same file with --url"
            )
        announced = answer.headers.get("Content-Length")
        if announced is not None and announced != str(self.size):
            self._refuse(url, f"{announced} bytes")
        return 0

    def _refuse(self, url: str, found: str) -> None:
        self.part.unlink(missing_ok=True)
        self._tag.unlink(missing_ok=True)
        raise SeProbeError(
            f"{url} gives {found}; expected the file of {self.size} bytes that se-probe knows. Nothing was kept; give "
            "another address of it with --url"
        )

    def _keep_validator(self, answer: requests.Response) -> None:
        """Keep this version's ETag or date for If-Range, which accepts no weak tags."""
        tag = answer.headers.get("ETag", "")
        tag = tag if tag.startswith('"') else answer.headers.get("Last-Modified", "")
        self._tag.unlink(missing_ok=True)
        if tag:
            self._tag.write_text(tag, "utf-8")

    def _stopped(self, url: str, error: Exception) -> str:
        kept = self._kept()
        return f"{url} could not be read to its end ({_reason(error)}); " + (
            f"{readable_size(kept)} of {readable_size(self.size)} are here: the same command resumes the download"
            if kept
            else "nothing of it is here: try again later, or give another address of the same file with --url"
        )

    def _kept(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def _tag(self) -> Path:
        return self.part.with_name(f"{self.part.name}.tag")


def _reason(error: BaseException) -> str:
    """Return the message of the innermost error of a chain."""
    while error.__context__ is not None:
        error = error.__context__
    return message_of(error)


class _InterruptedError(Exception):
    """A response that was cut off or had a transient status; the request is retried."""
