"""Every trial ever made of a strategy on some data: what a best result has to be deflated by.

Who tries often enough finds something that looks good. The trial log counts, over all sweeps, so that nobody has to
be honest by memory: one line per set of parameters, appended, never rewritten.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.errors import ConfigError

if TYPE_CHECKING:
    from backtest.sweep.job import Outcome, SweepJob

_SHOWN: Final = 16  # characters of the checksum in the file's name


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One set of parameters that was run.

    Attributes:
        params: all of them, those that were not varied included.
        sharpe: per period of the returns, not annualised.
        count, mean, variance, skew, kurtosis: of those returns; the kurtosis is the excess over the normal's.
        ts_ns: when it was run, UTC epoch ns.
        fingerprint: of the sweep that ran it.
    """

    params: dict[str, Any]
    sharpe: float
    count: int
    mean: float
    variance: float
    skew: float
    kurtosis: float
    ts_ns: int
    fingerprint: str

    @property
    def key(self) -> bytes:
        """The same for the same parameters, in whatever order they were named."""
        return key_of(self.params)

    @property
    def figures(self) -> tuple[float, ...]:
        """All that was measured."""
        return self.sharpe, self.count, self.mean, self.variance, self.skew, self.kurtosis


def key_of(params: Mapping[str, Any]) -> bytes:
    """Canonical JSON of parameters."""
    return msgspec.json.encode(params, order="deterministic")


def trial_of(job: SweepJob, outcome: Outcome, ts_ns: int, fingerprint: str) -> Trial:
    """A set that came out, as the trial log keeps it."""
    figures = outcome.metrics
    return Trial(
        params={**job.entrant.params, **dict(zip(job.names, outcome.values, strict=True))},
        sharpe=figures["sharpe_per_period"],
        count=int(figures["returns_count"]),
        mean=figures["returns_mean"],
        variance=figures["returns_variance"],
        skew=figures["returns_skew"],
        kurtosis=figures["returns_kurtosis"],
        ts_ns=ts_ns,
        fingerprint=fingerprint,
    )


class TrialLog:
    """``{strategy}_{data checksum}.ndjson`` in a folder.

    The latest line of a set of parameters is the valid one; a line that is torn, as by a crash, is passed over.
    """

    def __init__(self, folder: Path, strategy_id: str, data_checksum: str) -> None:
        name = "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in strategy_id)
        self.path = folder / f"{name}_{data_checksum[:_SHOWN]}.ndjson"
        self._trials = {trial.key: trial for trial in self._read()}

    def __len__(self) -> int:
        """How many different sets were ever tried."""
        return len(self._trials)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The latest of every set, in the order of their keys."""
        return tuple(self._trials[key] for key in sorted(self._trials))

    def sharpes(self) -> list[float]:
        """Of all sets, per period, in an order that does not depend on when they were run."""
        return [trial.sharpe for trial in self.trials]

    def add(self, trials: Iterable[Trial]) -> None:
        """Append what is new: sets never tried, and sets that came out otherwise than before. Raises ConfigError."""
        fresh: dict[bytes, Trial] = {}
        for trial in trials:
            key = trial.key
            earlier = self._trials.get(key)
            if earlier is None or earlier.figures != trial.figures:
                fresh[key] = trial
        if not fresh:
            return
        self._trials.update(fresh)
        lines = b"".join(msgspec.json.encode(trial) + b"\n" for trial in fresh.values())
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a+b") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # sweeps that run at once take turns
                if self._torn(file.fileno()):
                    lines = b"\n" + lines
                file.write(lines)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ConfigError(f"{self.path}: expected a place to keep trials in, got {error}; choose --out") from None

    def _read(self) -> Iterable[Trial]:
        decoder = msgspec.json.Decoder(Trial)
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                try:
                    yield decoder.decode(line)
                except msgspec.DecodeError:
                    continue

    @staticmethod
    def _torn(fd: int) -> bool:
        end = os.fstat(fd).st_size
        return end > 0 and os.pread(fd, 1, end - 1) != b"\n"
