"""The checkpoint of a sweep on disk: a line for every chunk, appended and synced, so that a killed sweep goes on.

A checkpoint belongs to one fingerprint of data, configuration, code and parameter space; any other starts anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, Final

import msgspec
import numpy as np

from backtest.data.fingerprints import of_config
from backtest.sweep.job import Outcome
from backtest.sweep.space.parameter_space import ParamSet
from core.errors import ConfigError

_SHOWN: Final = 12  # characters of a fingerprint in a file's name
_FORMAT: Final = 1
_PARTS: Final = {"data": "the data", "config": "the configuration", "code": "the code", "space": "the parameter space"}


@dataclass(frozen=True)
class SweepFingerprint:
    """What the results of a sweep follow from, each as SHA-256 in hex."""

    data: str
    config: str
    code: str
    space: str

    @property
    def combined(self) -> str:
        """All four in one."""
        return of_config(asdict(self))

    def changed_since(self, other: Mapping[str, str]) -> list[str]:
        """In plain words, what another sweep had otherwise."""
        return [words for part, words in _PARTS.items() if getattr(self, part) != other.get(part)]


class Checkpoint:
    """One sweep's file, locked while it is open. Use as a context manager.

    Attributes:
        path: of the lines; kept returns lie beside it as ``.f32``, one row of ``blocks`` float32 for every set.
        note: how it begins, for people, once restored: anew and why, or from where; empty for the first of a name.
    """

    def __init__(self, folder: Path, name: str, fingerprint: SweepFingerprint, blocks: int, *, fresh: bool) -> None:
        self.path = folder / f"{name}_{fingerprint.combined[:_SHOWN]}.ndjson"
        self.returns_path = self.path.with_suffix(".f32")
        self.job_path = self.path.with_suffix(".job")
        self.note = ""
        self._blocks = blocks
        self._header = {"format": _FORMAT, "name": name, "parts": asdict(fingerprint)}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            reason = self._latest_other(name, fingerprint)
            self._file: IO[bytes] = self.path.open("a+b")
        except OSError as error:
            raise ConfigError(
                f"{folder}: expected a folder to keep checkpoints in, got {error}; choose --out"
            ) from None
        self._lock()
        self._returns = self.returns_path.open("r+b" if self.returns_path.exists() else "w+b") if blocks else None
        if fresh:
            self._cut(0)
        self._before = reason

    def __enter__(self) -> Checkpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.job_path.unlink(missing_ok=True)
        if self._returns is not None:
            self._returns.close()
        self._file.close()

    def restore(self, take: Callable[[Outcome], None]) -> int:
        """Hand over all that is known, before anything is appended; how many sets that is.

        What is torn at the end, and whatever follows damage, is cut off and run again.
        """
        count = 0
        self._file.seek(0)
        end = 0
        for at, line in enumerate(self._file):
            try:
                content = msgspec.json.decode(line) if line.endswith(b"\n") else None
                if at == 0 and content != self._header:
                    break
                outcomes = _outcomes(content) if at else []
            except (msgspec.DecodeError, TypeError, KeyError, ValueError):
                break
            for outcome in outcomes:
                take(outcome)
            count += len(outcomes)
            end += len(line)
        if end:
            self._cut(end)
        else:
            self._begin()
        self.note = f"{count:,} sets are known from {self.path}" if count else self._before
        return count

    def append(self, outcomes: Iterable[Outcome]) -> None:
        """Keep a chunk: when this returns, it survives the machine."""
        rows_in_order = sorted(outcomes)
        if self._returns is not None:
            for outcome in rows_in_order:
                row = outcome.returns or np.full(self._blocks, np.nan, np.float32).tobytes()
                os.pwrite(self._returns.fileno(), row, outcome.number * self._blocks * 4)
            os.fsync(self._returns.fileno())
        columns = next((list(outcome.metrics) for outcome in rows_in_order if not outcome.error), [])
        rows = [
            (outcome.number, outcome.values, [outcome.metrics[n] for n in columns if not outcome.error], outcome.error)
            for outcome in rows_in_order
        ]
        self._file.write(msgspec.json.encode({"columns": columns, "rows": rows}) + b"\n")
        self._sync()

    def returns(self, sets: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """The kept returns, mapped: a row for each set, a column for each block; NaN for sets that failed."""
        return np.memmap(self.returns_path, np.float32, "r", shape=(sets, self._blocks))

    def _begin(self) -> None:
        self._cut(0)
        self._file.write(msgspec.json.encode(self._header) + b"\n")
        self._sync()

    def _cut(self, end: int) -> None:
        self._file.truncate(end)
        self._file.seek(0, os.SEEK_END)

    def _sync(self) -> None:
        self._file.flush()
        os.fsync(self._file.fileno())

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.close()
            raise ConfigError(f"{self.path}: expected no other sweep at work on it; wait for it, or end it") from None

    def _latest_other(self, name: str, fingerprint: SweepFingerprint) -> str:
        """What has changed since the latest sweep of that name; empty when this is the first."""
        others = [path for path in self.path.parent.glob(f"{name}_*.ndjson") if path != self.path]
        for path in sorted(others, key=lambda file: file.stat().st_mtime_ns, reverse=True):
            with path.open("rb") as file:
                try:
                    header = msgspec.json.decode(file.readline())
                    if header["name"] == name and (changed := fingerprint.changed_since(header["parts"])):
                        return f"starting anew: since the latest sweep, {_listed(changed)} changed"
                except (msgspec.DecodeError, TypeError, KeyError, AttributeError):
                    continue
        return ""


def _outcomes(chunk: Any) -> list[Outcome]:
    columns = chunk["columns"]
    return [
        Outcome(number, _values(values), {} if error else dict(zip(columns, metrics, strict=True)), error)
        for number, values, metrics, error in chunk["rows"]
    ]


def _values(values: list[Any]) -> ParamSet:
    return tuple(values)


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
