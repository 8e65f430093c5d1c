"""The rotation of journals behind their writer: closed files are compressed, checksummed, verified.

Off the hot path, safe to kill at any instant: the plain file goes only after its compressed copy is on the
disk and has been read back. Compressing the same file again gives the same bytes.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, Final

from core.clock import NS_PER_S
from core.disk import open_private
from core.errors import FencedError, JournalWriteError
from core.journal import files as journal_files
from core.journal.files import GZ, UNREADABLE, ClosedFile
from core.journal.writer import NdjsonJournal

LEVEL: Final = 6
CHECKSUM: Final = ".sha256"
MARKET_DATA: Final = ("md.*", "ohlcv.*")
_TEMPORARY: Final = ".tmp"
_CHUNK: Final = 1024 * 1024


def compress_closed(folder: Path, *, older_than_s: float = 0.0, now_ns: int | None = None) -> list[Path]:
    """Compress every rotated file of a folder; returns the new ``.ndjson.gz`` files.

    Each is gzip level 6 without a time stamp, with a ``.sha256`` beside it that ``sha256sum -c`` reads.
    Returns nothing while another process compresses the same folder.

    Args:
        older_than_s: only files last written at least this long ago.
        now_ns: the time that age is measured against; the machine's when left out.

    Raises:
        JournalWriteError: no space, or the copy does not read back as written; the plain file stays.
    """
    before_ns = (time.time_ns() if now_ns is None else now_ns) - int(older_than_s * NS_PER_S)
    with _only_one(folder) as alone:
        if not alone:
            return []
        uncompressed = [f.path for f in journal_files.closed_files(folder) if not f.compressed]
        return [_compress(path) for path in uncompressed if path.stat().st_mtime_ns <= before_ns]


def rotate_idle(
    folder: Path, *, older_than_s: float, streams: Collection[str] = MARKET_DATA, now_ns: int | None = None
) -> list[Path]:
    """Rotate active files that nobody writes and that were last written so long ago; returns the rotated files.

    Args:
        streams: patterns of the streams that may be touched. A ledger must not be among them: its daemon
            would start from an empty one.

    Raises:
        JournalWriteError: a file cannot be renamed.
    """
    before_ns = (time.time_ns() if now_ns is None else now_ns) - int(older_than_s * NS_PER_S)
    rotated = [_rotate_if_idle(path, before_ns) for path in _active_files(folder, streams)]
    return [path for path in rotated if path is not None]


def corrupt_files(folder: Path) -> list[Path]:
    """The compressed files of a folder that their checksum does not vouch for, in order of writing."""
    return [f.path for f in journal_files.closed_files(folder) if f.compressed and not _vouched_for(f)]


def _active_files(folder: Path, streams: Collection[str]) -> Iterator[Path]:
    for path in sorted(folder.glob(f"*{journal_files.SUFFIX}")):
        stream = journal_files.stream_of(path)
        if journal_files.parse_closed(path) is None and any(fnmatchcase(stream, pattern) for pattern in streams):
            yield path


def _rotate_if_idle(path: Path, before_ns: int) -> Path | None:
    try:
        if path.stat().st_mtime_ns > before_ns:
            return None
        with NdjsonJournal(path) as journal:
            return journal.retire()
    except (FencedError, FileNotFoundError):  # its writer lives and merely had nothing to say
        return None


def _compress(source: Path) -> Path:
    target = source.with_name(source.name + GZ)
    temporary = target.with_name(target.name + _TEMPORARY)
    try:
        content = _write_gzip(source, temporary)
        if _digest_gzip(temporary) != content:
            raise OSError(f"{temporary.name} does not read back as {source.name}")
        checksum = f"{_digest(temporary)}  {target.name}\n".encode()
        _write_durably(_checksum_path(target), checksum, _mode_of(source))
        temporary.rename(target)
        journal_files.sync_folder(source.parent)
        source.unlink()
    except UNREADABLE as error:
        cause = error if isinstance(error, OSError) else OSError(str(error))
        raise JournalWriteError(target, cause) from error
    return target


def _write_gzip(source: Path, target: Path) -> str:
    """Compress and sync; the SHA-256 of the content."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, _open_new(target, _mode_of(source)) as raw:
        with gzip.GzipFile(filename="", mode="wb", compresslevel=LEVEL, fileobj=raw, mtime=0) as packed:
            while chunk := reader.read(_CHUNK):
                digest.update(chunk)
                packed.write(chunk)
        raw.flush()
        os.fsync(raw.fileno())
    return digest.hexdigest()


def _mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def _open_new(path: Path, mode: int) -> IO[bytes]:
    """A file to write, emptied, with the given permissions from before its first byte."""
    fd = open_private(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.fchmod(fd, mode)
    return os.fdopen(fd, "wb")


def _write_durably(path: Path, data: bytes, mode: int) -> None:
    temporary = path.with_name(path.name + _TEMPORARY)
    with _open_new(temporary, mode) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.rename(path)


def _vouched_for(closed: ClosedFile) -> bool:
    try:
        expected = _checksum_path(closed.path).read_text().partition(" ")[0]
        return _digest(closed.path) == expected
    except OSError:
        return False


def _checksum_path(target: Path) -> Path:
    return target.with_name(target.name + CHECKSUM)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return _sha256(file.read)


def _digest_gzip(path: Path) -> str:
    with gzip.open(path) as file:
        return _sha256(file.read)


def _sha256(read: Callable[[int], bytes]) -> str:
    digest = hashlib.sha256()
    while chunk := read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def _only_one(folder: Path) -> Iterator[bool]:
    """Whether this is the only compressor of the folder; a lock that goes with the process."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        yield False
    else:
        yield True
    finally:
        os.close(fd)
