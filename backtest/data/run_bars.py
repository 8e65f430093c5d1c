"""The bars of an earlier run, read again: compared with the checksum that the run recorded, so that they are the same.

Bars read with the wrong end of their times, or another file, would show fills in bars where they did not happen.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from backtest.contracts import BacktestConfig, BacktestResult, FillTiming
from backtest.data import fingerprints
from backtest.data.input_data import prepared
from backtest.data.series import BarSeries, from_file, from_journals
from core.errors import ConfigError

_SHOWN: Final = 12  # characters of a checksum in an error's text
_READINGS: Final = (("auto",), ("open",), ("close",))


@dataclass(frozen=True)
class RecordedData:
    """The data of a run, as far as its result tells.

    Attributes:
        checksum: SHA-256 over all series; empty where it was not recorded.
        start_ts, end_ts: where the data began and ended, UTC epoch ns; 0 where that is not known.
    """

    config: BacktestConfig
    checksum: str = ""
    start_ts: int = 0
    end_ts: int = 0

    @classmethod
    def of(cls, result: BacktestResult) -> RecordedData:
        """The data of a result."""
        config = result.config or BacktestConfig(result.symbol, result.strategy_id, 0, 0, 1.0, 0.0, 0.0)
        return cls(config, result.fingerprints.data, result.start_ts, result.end_ts)

    def read_files(self, files: Sequence[Path], stamps: Sequence[str] = ()) -> list[BarSeries]:
        """The bars out of these files, one for each symbol of the run in its order.

        Args:
            stamps: the end of the bars that the times in the files are; without it, the one that the run took them for.

        Raises:
            ConfigError: files that cannot be read, too many of them, or other bars than those of the run.
        """
        symbols, timeframe = self.config.traded, self.config.timeframes[0]
        if len(files) > len(symbols):
            raise ConfigError(f"--bars: expected at most one file for each of {', '.join(symbols)}, got {len(files)}")
        readings: list[list[BarSeries]] = []
        for reading in (stamps,) if stamps else _READINGS:
            sources = zip(files, symbols, stamps_of(reading, len(files)), strict=False)
            series = [from_file(file, symbol, timeframe, stamp=stamp) for file, symbol, stamp in sources]
            readings.append(series)
            if not self._comparable(series) or not any(bars.stamp_guess for bars in series):
                break
        return self._same(readings, "--bars")

    def read_journals(self, folder: Path) -> list[BarSeries]:
        """The bars out of the journals. Raises ConfigError for other bars than those of the run."""
        config = self.config
        span = config.start_ts, config.end_ts
        return self._same(
            [[from_journals(folder, s, config.timeframes[0], *span) for s in config.traded]], "--journals"
        )

    def _same(self, readings: Sequence[list[BarSeries]], option: str) -> list[BarSeries]:
        """The reading whose checksum is that of the run; the first one where there is nothing to compare with."""
        cut = [list(self._cut(series)) for series in readings]
        if not self._comparable(cut[0]):
            return cut[0]
        checksums = [fingerprints.of_data(prepared(self.config, series)[1]) for series in cut]
        if self.checksum in checksums:
            return cut[checksums.index(self.checksum)]
        raise ConfigError(
            f"{option}: expected the bars that the result rests on (data {self.checksum[:_SHOWN]}), got others (data "
            f"{checksums[0][:_SHOWN]}); name the run's own files in the order of its symbols, with its --stamp if it "
            "had one, or run it again"
        )

    def _cut(self, series: Sequence[BarSeries]) -> Iterator[BarSeries]:
        start, end = self.start_ts or self.config.start_ts, self.end_ts or self.config.end_ts
        return (bars.between(start, end) if start or end else bars for bars in series)

    def _comparable(self, series: Sequence[BarSeries]) -> bool:
        """Whether these are all the data of the run, the checksum of which is known."""
        by_trades = self.config.fill_timing is FillTiming.NEXT_TRADE
        symbols = {bars.symbol for bars in series}
        return bool(self.checksum) and not by_trades and symbols == set(self.config.traded)


def stamps_of(stamps: Sequence[str], files: int) -> list[str]:
    """The ``--stamp`` of each file: one for all of them, or as many as there are. Raises ConfigError."""
    if len(stamps) > 1 and len(stamps) != files:
        raise ConfigError(f"--stamp: expected one for all files, or one for each of {files}, got {len(stamps)}")
    return list(stamps) if len(stamps) == files else [stamps[0] if stamps else "auto"] * files
