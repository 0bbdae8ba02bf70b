"""A thumbnail to a video, through YouTube's Data API v3 (`thumbnails.set`), with the user's own OAuth token.

    POST /upload/youtube/v3/thumbnails/set?videoId=ID&uploadType=media
    Authorization: Bearer TOKEN    Content-Type: image/jpeg or image/png    the file's bytes

`prepare` says what would be sent, `send` sends it, `record` keeps the answer in the set. The token stays in its own
object, which shows as `***`; no redirect is followed, so it goes to no other server.
Source: developers.google.com/youtube/v3/docs/thumbnails/set and /guides/auth/server-side-web-apps.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from recast.alone import rewriting
from recast.errors import ConfigError, InputError, RecastError
from recast.pixels.image import write_bytes
from recast.thumbnails import manifest as manifests
from recast.thumbnails.credentials import Token
from recast.thumbnails.profiles import MB, PROFILES
from recast.thumbnails.stages import sha256
from recast.thumbnails.web import Answer, Unreachable, check_url, post

log = logging.getLogger(__name__)

ENDPOINT = "https://www.googleapis.com"
PATH = "/upload/youtube/v3/thumbnails/set"
RECORDS = "uploads.json"
LIMIT_BYTES = 50 * MB
EVERYWHERE_BYTES = 2 * MB
"""What phones and older copies of the API's page accept."""
PREFERRED = ("youtube-portable", "youtube-4k")
TYPES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n\x1a\n": "image/png"}
WAITS_S = (1.0, 2.0, 4.0)
"""Before the second, third and fourth try."""
LONGEST_WAIT_S = 30.0
AGAIN = (429, 500, 502, 503, 504)
REFUSED: Mapping[str, str] = {
    "invalidImage": "the picture is not accepted; make the set again, or check the file",
    "mediaBodyRequired": "no picture arrived; try again, and look at what is between here and the server",
    "forbidden": "not allowed: the video is another channel's, or the channel may not set thumbnails yet; use the "
    "token of the video's owner, and verify the channel's phone number",
    "insufficientPermissions": "the token lacks a scope; make it anew, with youtube.upload",
    "quotaExceeded": "the day's quota is used up (a call costs about 50 of 10,000 units); try again tomorrow",
    "videoNotFound": "no such video; the id accepted, which is what stands behind v= in its address",
    "uploadRateLimitExceeded": "too many thumbnails for this channel lately; try again in some hours",
    "authError": "the token is not accepted, or has run out; make a new one",
}
"""By the API's reason: what it means and what to do."""


class UploadFailed(RecastError):
    """The server did not take the thumbnail. reason: the API's word for it, "" where it gave none."""

    def __init__(self, words: str, reason: str = "") -> None:
        super().__init__(words)
        self.reason = reason


@dataclass(frozen=True, kw_only=True)
class Upload:
    """One thumbnail for one video, ready to be sent. notes: what to know of it."""

    url: str
    video: str
    variant: str
    file: Path
    content_type: str
    bytes: int
    sha256: str
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """What is sent, as plain data; no token is in it."""
        return {
            "method": "POST",
            "url": self.url,
            "content_type": self.content_type,
            "bytes": self.bytes,
            "sha256": self.sha256,
            "file": str(self.file),
            "notes": list(self.notes),
        }


def prepare(folder: Path, variant: str, video: str, *, endpoint: str = ENDPOINT) -> Upload:
    """What would be sent of a finished set: a shipped variant's file for YouTube, as the set's manifest has it.

    endpoint: a server of the same API, https, or http on this machine. Raises InputError for a variant that is not
    shipped, a file that is gone, changed, above LIMIT_BYTES, or no JPEG or PNG, ConfigError for an id or address that
    cannot be one.
    """
    if not re.fullmatch(r"[A-Za-z0-9_-]{4,64}", video):
        raise ConfigError(f"video={video!r}: no video's id; letters, digits, - and _ accepted, as behind v= in its URL")
    check_url(endpoint, "endpoint")
    shipped = {each["name"]: each for each in manifests.read(folder)["variants"] if each["is_shipped"]}
    if variant not in shipped:
        raise InputError(f"variant={variant!r}: not shipped by {folder}; {', '.join(shipped)} accepted")
    files = {each["profile"]: each for each in shipped[variant]["files"]}
    profile = next((name for name in PREFERRED if name in files), None)
    if profile is None:
        raise InputError(
            f"variant={variant!r}: has no file of {' or '.join(PREFERRED)}; add one to the kit's export.profiles"
        )
    path = folder / "export" / files[profile]["file"]
    if (found := sha256(path)) != files[profile]["sha256"]:
        said = "not there" if found is None else "not the file that the manifest tells of"
        raise InputError(f"{path}: {said}; make the set again, so that what is sent has been checked")
    assert found is not None
    data = path.read_bytes()
    if len(data) > LIMIT_BYTES:
        raise InputError(f"{path}: {len(data):,} bytes; {LIMIT_BYTES:,} accepted; export {PROFILES[PREFERRED[0]].name}")
    notes = []
    if len(data) > EVERYWHERE_BYTES:
        notes.append(f"{len(data):,} bytes are above {EVERYWHERE_BYTES:,}, which is accepted everywhere")
    kind = next((kind for start, kind in TYPES.items() if data.startswith(start)), None)
    if kind is None:
        raise InputError(f"{path}: starts with {data[:8]!r}; JPEG and PNG accepted; make the set again")
    query = urlencode({"videoId": video, "uploadType": "media"})
    return Upload(
        url=f"{endpoint.rstrip('/')}{PATH}?{query}",
        video=video,
        variant=variant,
        file=path,
        content_type=kind,
        bytes=len(data),
        sha256=found,
        notes=tuple(notes),
    )


def send(
    upload: Upload, token: Token, *, sleep: Callable[[float], None] = time.sleep, timeout_s: float = 60
) -> dict[str, Any]:
    """Send it; the server's answer as plain data. Busy and broken servers are asked again, as WAITS_S says.

    Setting a thumbnail twice is setting it once, so a try whose answer was lost may be repeated.
    Raises UploadFailed for a refusal, with its cure, and where no try got through.
    """
    data = upload.file.read_bytes()
    headers = {"Authorization": f"Bearer {token.reveal()}", "Content-Type": upload.content_type}
    for attempt in range(len(WAITS_S) + 1):
        trouble: Answer | Unreachable
        try:
            answer = post(upload.url, data, headers, timeout_s=timeout_s)
        except Unreachable as error:
            trouble = error
        else:
            if answer.status == 200:
                log.info("uploaded video=%s variant=%s bytes=%d", upload.video, upload.variant, upload.bytes)
                return _accepted(answer, token)
            trouble = answer
            if answer.status not in AGAIN:
                break
        if attempt < len(WAITS_S):
            wait = min(max(WAITS_S[attempt], getattr(trouble, "retry_after_s", 0.0)), LONGEST_WAIT_S)
            log.info("retry video=%s attempt=%d wait_s=%g", upload.video, attempt + 1, wait)
            sleep(wait)
    if isinstance(trouble, Unreachable):
        raise UploadFailed(token.hide(f"{upload.video}: {trouble}, {attempt + 1} times; check the network, try again"))
    raise _refused(upload, trouble, attempt + 1, token)


def record(folder: Path, upload: Upload, answer: Mapping[str, Any]) -> Path:
    """Add what was sent, and the answer, to SET/uploads.json, whole or not at all; the path.

    Of two at once the second waits for the first. Raises InputError for a file that is no list of records, and where
    another process does not let go of it.
    """
    path = folder / RECORDS
    said = {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "video": upload.video,
        "variant": upload.variant,
        "file": upload.file.name,
        "sha256": upload.sha256,
        "url": upload.url,
        "answer": dict(answer),
    }
    with rewriting(path):
        records = [*read_records(folder), said]
        return write_bytes(json.dumps(records, indent=1, ensure_ascii=False).encode(), path)


def last(folder: Path, upload: Upload) -> dict[str, Any] | None:
    """The record of the same picture for the same video, where it is the last that this set sent to it; else None."""
    sent = [each for each in read_records(folder) if each["url"] == upload.url]
    return sent[-1] if sent and sent[-1]["sha256"] == upload.sha256 else None


def read_records(folder: Path) -> list[dict[str, Any]]:
    """What was sent from a set, oldest first. Raises InputError for a file that is no list of records."""
    path = folder / RECORDS
    try:
        records = json.loads(path.read_text(encoding="utf-8"))
        if not all({"url", "sha256", "when"} <= set(each) for each in records):
            raise ValueError("an entry without url, sha256 or when")
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError) as error:
        raise InputError(f"{path}: no record of uploads ({error}); move it away") from None
    return list(records)


def _accepted(answer: Answer, token: Token) -> dict[str, Any]:
    said = answer.json()
    if said.get("kind") != "youtube#thumbnailSetResponse" or not said.get("items"):
        raise UploadFailed(
            token.hide(f"answer: {answer.text[:200]!r} came; youtube#thumbnailSetResponse accepted; look at the video")
        )
    return said


def _refused(upload: Upload, answer: Answer, tries: int, token: Token) -> UploadFailed:
    """The error of an answer: what the API's reason means; its own words where we do not know the reason."""
    error = answer.json().get("error")
    error = error if isinstance(error, dict) else {}
    details = error.get("errors") or [{}]
    reason = str(details[0].get("reason") or "") if isinstance(details[0], dict) else ""
    if not reason and answer.status == 401:
        reason = "authError"
    said = str(error.get("message") or answer.text[:200] or "without a word")
    means = REFUSED.get(reason, said)
    after = f" after {tries} tries" if tries > 1 else ""
    words = f"{upload.variant} to {upload.video}: {answer.status}{f' {reason}' if reason else ''}{after}: {means}"
    return UploadFailed(token.hide(words), reason)
