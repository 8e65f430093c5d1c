"""A daemon's state at one place of its ledger, so that recovering reads only what came after.

A snapshot is never needed: it may be deleted at any time, and one that cannot be read or does not fit the ledger is
passed over. It is one JSON line that carries its own SHA-256.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Any, Final

import msgspec

from core import codec
from core.disk import OS_DISK, Disk
from core.ledger.lines import Place, daemon_of, first_identity, seal, stands_at, unseal

FORMAT: Final = 1
SNAPSHOT_EVERY: Final = 5_000  # transactions
_log: Final = logging.getLogger("njord.host")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """The state of a host and its component behind transaction ``seq``.

    Attributes:
        format: of this file.
        daemon, ledger: whose it is, and the identity of the ledger.
        seq, at, offset: the transaction, its hash, and the byte behind it.
        ts_ns: the host's time as of that transaction.
        consumed, origins: the last entry processed of each upstream stream, and the identity of each upstream ledger.
        newest_entry: the newest entry of the daemon's own stream.
        halted, trouble_told: what the component was last told of the kill switch and of its journals.
        journals: what each projected journal ended with.
        version, state: of the component.
    """

    format: int = FORMAT
    daemon: str
    ledger: str
    seq: int
    at: str
    offset: int
    ts_ns: int
    consumed: dict[str, tuple[int, int]]
    origins: dict[str, str]
    newest_entry: tuple[int, int] = msgspec.field(name="told")
    halted: bool
    trouble_told: bool
    journals: dict[str, str]
    version: int
    state: dict[str, Any]

    @property
    def place(self) -> Place:
        """The place in the ledger where it was taken."""
        return Place(self.seq, self.at, self.offset)


_decoder: Final = msgspec.json.Decoder(Snapshot)


class SnapshotFile:
    """The snapshot beside a ledger, ``{daemon}.snapshot``.

    Args:
        path: the ledger's file.
        disk: what it is written through.
    """

    def __init__(self, path: Path, disk: Disk = OS_DISK) -> None:
        self.path = path.with_name(f"{daemon_of(path)}.snapshot")
        self._ledger_path = path
        self._disk = disk

    def write(self, snapshot: Snapshot, *, durable: bool = True) -> None:
        """Put a snapshot in the place of the one before, as a whole or not at all.

        Raises:
            OSError: the disk refused; the one before stays.
            ValueError: the state is not made of plain JSON values, and would come back as something else.
        """
        line, _ = seal(codec.encode_plain(snapshot))
        if _decoder.decode(line).state != snapshot.state:
            raise ValueError(
                f"expected the state of {snapshot.daemon} to be plain JSON values, but it reads back changed"
            )
        new = self.path.with_name(f"{self.path.name}.new")
        try:
            self._write_whole(new, line + b"\n", durable)
            self._disk.rename(new, self.path)
        except OSError:
            self._disk.remove(new)
            raise
        if durable:
            self._disk.sync_folder(self.path.parent)

    def read(self, daemon: str, version: int) -> Snapshot | None:
        """The snapshot, if there is one that fits the ledger as it is."""
        try:
            line = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            return self._passed_over(str(error))
        if not line.endswith(b"\n") or unseal(line[:-1]) is None:
            return self._passed_over("it does not match its own hash")
        try:
            snapshot = _decoder.decode(line)
        except ValueError as error:
            return self._passed_over(str(error))
        if (snapshot.format, snapshot.daemon, snapshot.version) != (FORMAT, daemon, version):
            return self._passed_over(
                f"expected format {FORMAT} of {daemon} with state {version}, "
                f"got {snapshot.format} of {snapshot.daemon} with state {snapshot.version}"
            )
        if not stands_at(self._ledger_path, snapshot.place) or first_identity(self._ledger_path) != snapshot.ledger:
            return self._passed_over(f"the ledger has no such transaction {snapshot.seq} at byte {snapshot.offset}")
        return snapshot

    def _passed_over(self, reason: str) -> Snapshot | None:
        _log.warning("snapshot %s is passed over, the whole ledger is read: %s", self.path, reason)
        return None

    def _write_whole(self, path: Path, data: bytes, durable: bool) -> None:
        fd = self._disk.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            written = 0
            while written < len(data):
                written += self._disk.write(fd, data[written:])
            if durable:
                self._disk.sync(fd)
        finally:
            self._disk.close(fd)
