"""Where market data comes from: the protocols that every feed keeps, and ``open_feed`` for the offline ones.

A feed yields raw events; ``core.market.ingest.MarketDataIngest`` puts them in order, removes duplicates and
checks them, whatever the source.
"""

from __future__ import annotations

import glob
import hashlib
from collections import Counter
from collections.abc import AsyncGenerator, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Protocol

from core.clock import NS_PER_MINUTE
from core.contracts import BboEvent, BookEvent, Contract, FeedStatus, TradeEvent
from core.errors import ConfigError
from core.instruments import Instruments
from core.market.capture import BBO_CHANNELS, CHANNELS, Recording, RecordingReader, merged, raw_events
from core.market.lines import BadLine, OnBadLine, sha256_of
from core.market.sequence import BackfillRequest
from core.market.survey import Survey, survey
from core.market.synthetic import GENERATION, START_NS, SYNTHETIC_VENUE, SyntheticMarket

SYNTHETIC: Final = "synthetic"
DEFAULT_MINUTES: Final = 120  # of a synthetic market
DEFAULT_CHANNELS: Final = ("trades", "book", "bbo")


class Feed(Protocol):
    """A source that runs in time: the live venue, or an offline feed paced by ``apps.md_ingest.replay``."""

    name: str
    symbols: tuple[str, ...]

    def stream(self) -> AsyncGenerator[Contract, None]:
        """Raw ``TradeEvent``, ``BookEvent``, ``BboEvent``, ``TickerEvent``, ``FeedStatus``, ``BackfillDone`` and, from
        a live feed while nothing happens, ``ClockTick``. Ends with the feed."""
        ...

    def backfill(self, request: BackfillRequest) -> None:
        """Fetch the missing trades in the background: they come out of ``stream``, followed by exactly one
        ``BackfillDone`` of the same range, whatever could be fetched. Must not block."""
        ...

    def counters(self) -> Mapping[str, int]:
        """What the feed went through since the start, by names in snake case; always the same names."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and tasks. Safe to call twice."""
        ...


class OfflineFeed(Protocol):
    """A source that is read as fast as it is asked: the same input gives the same events."""

    name: str
    symbols: tuple[str, ...]
    rejected: int
    left_out: Counter[str]

    def events(self) -> Iterator[Contract]:
        """Raw events in the order of receipt; at the end one ``FeedStatus`` ``ended`` a symbol."""
        ...

    def checksum(self) -> str:
        """SHA-256, hexadecimal, of the input: of the file as ``sha256sum`` shows it, or of a generator's parameters."""
        ...


class FileFeed:
    """Recordings, merged by the time of receipt. ``rejected`` lines could not be used; ``on_bad_line`` is told
    of each, and of what was used with a warning. ``left_out`` counts events of symbols that the feed does not serve."""

    def __init__(
        self,
        recordings: Sequence[Recording],
        instruments: Instruments,
        symbols: Sequence[str],
        channels: Collection[str] = DEFAULT_CHANNELS,
        on_bad_line: OnBadLine | None = None,
    ) -> None:
        self.name = ",".join(str(recording.path) for recording in recordings)
        self.symbols = tuple(symbols)
        self.rejected = 0
        self.left_out: Counter[str] = Counter()
        self._recordings = tuple(recordings)
        self._instruments = instruments
        self._channels = channels
        self._on_bad_line = on_bad_line

    def events(self) -> Iterator[Contract]:
        """Raw events in the order of receipt; each call reads the files anew."""
        self.rejected = 0
        self.left_out.clear()
        readers = [
            RecordingReader(recording, self._instruments, self._note, bbo=not BBO_CHANNELS.isdisjoint(self._channels))
            for recording in self._recordings
        ]
        return raw_events(merged(readers), self.symbols, self._channels, self.left_out)

    def checksum(self) -> str:
        """SHA-256 of the file; of several, that of their sums."""
        return sha256_of([recording.path for recording in self._recordings])

    def _note(self, bad: BadLine) -> None:
        self.rejected += not bad.used
        if self._on_bad_line is not None:
            self._on_bad_line(bad)


class SyntheticFeed:
    """So many minutes of the market that a seed gives."""

    def __init__(
        self,
        seed: int,
        instruments: Instruments,
        symbols: Sequence[str],
        channels: Collection[str] = DEFAULT_CHANNELS,
        minutes: int = DEFAULT_MINUTES,
    ) -> None:
        self.name = f"{SYNTHETIC}:{seed}:{minutes}"
        self.rejected = 0
        self.left_out: Counter[str] = Counter()
        self.symbols = tuple(symbols)
        self._market = SyntheticMarket(seed, instruments, symbols)
        self._grids = [(s, str(instruments[s].tick_size), str(instruments[s].lot_size)) for s in symbols]
        self._duration_ns = minutes * NS_PER_MINUTE
        by_channel = (("trades", TradeEvent), ("book", BookEvent), ("bbo", BboEvent))
        self._contracts = tuple(contract for channel, contract in by_channel if channel in channels)

    def events(self) -> Iterator[Contract]:
        """Trades, order books, best bids and offers by time; each call starts anew."""
        for event in self._market.all_events(self._duration_ns):
            if isinstance(event, self._contracts):
                yield event
        for symbol in self.symbols:
            end = START_NS + self._duration_ns
            yield FeedStatus(symbol, SYNTHETIC_VENUE, "ended", end, "the synthetic market ended")

    def checksum(self) -> str:
        """SHA-256 of the generation of the generator, seed, duration, symbols and their grids."""
        text = f"{GENERATION} {self.name} {self._grids}"
        return hashlib.sha256(text.encode()).hexdigest()


def open_feed(
    spec: str,
    instruments: Instruments,
    symbols: Sequence[str] | None = None,
    channels: Collection[str] = DEFAULT_CHANNELS,
    on_bad_line: OnBadLine | None = None,
) -> OfflineFeed:
    """The offline feed that ``--feed`` names: ``synthetic:SEED[:MINUTES]``, or files separated by commas, each a raw
    Binance capture or one of our journals, with ``*`` for several.

    ``symbols`` are those wanted; without them all that the files have, or all configured for a synthetic market.

    Raises:
        ConfigError: a spec that is neither, a file that cannot be read or is nothing of the kind, a symbol that it
            does not have.
        UnknownSymbolError: a symbol that is not configured.
    """
    for channel in channels:
        if channel not in CHANNELS:
            raise ConfigError(f"channels: expected some of {', '.join(CHANNELS)}, got {channel!r}")
    for symbol in symbols or ():
        instruments[symbol]
    if spec.split(":", 1)[0] == SYNTHETIC:
        seed, minutes = _synthetic_numbers(spec)
        return SyntheticFeed(seed, instruments, symbols or tuple(instruments), channels, minutes)
    recordings = [Recording.at(path) for path in _paths(spec)]
    return FileFeed(recordings, instruments, _served(recordings, instruments, symbols), channels, on_bad_line)


def _synthetic_numbers(spec: str) -> tuple[int, int]:
    numbers = spec.split(":")[1:]
    if len(numbers) in (1, 2) and all(number.isascii() and number.isdecimal() for number in numbers):
        seed, minutes = int(numbers[0]), int(numbers[1]) if len(numbers) == 2 else DEFAULT_MINUTES
        if minutes > 0:
            return seed, minutes
    raise ConfigError(
        f"--feed {spec!r}: expected synthetic:SEED or synthetic:SEED:MINUTES with whole numbers, MINUTES above 0, "
        "such as synthetic:42 or synthetic:42:30"
    )


def _paths(spec: str) -> list[Path]:
    paths: list[Path] = []
    for name in [spec] if Path(spec).exists() else spec.split(","):
        name = name.strip()
        matches = (
            [Path(name)] if Path(name).is_file() else [Path(p) for p in sorted(glob.glob(name)) if Path(p).is_file()]
        )
        if not matches and Path(name).is_dir():
            raise ConfigError(
                f"--feed {name!r}: expected files, got a folder. Name its journals: '{Path(name) / 'md.*.ndjson'}'"
            )
        if not matches:
            raise ConfigError(
                f"--feed {name!r}: no such file. Expected a raw Binance capture or one of our journals (plain or "
                "gzip; several separated by commas, * for a pattern), or synthetic:SEED such as synthetic:42."
            )
        paths.extend(path for path in matches if path not in paths)
    return paths


def _served(
    recordings: Sequence[Recording], instruments: Instruments, requested: Sequence[str] | None
) -> tuple[str, ...]:
    """The symbols of the feed: those asked for, all of which the files must have, or all that they have."""
    surveys = [survey(recording, instruments) for recording in recordings]
    available = {symbol for findings in surveys for symbol in findings.symbols}
    symbols = tuple(symbol for symbol in instruments if symbol in available)
    names = ", ".join(str(recording.path) for recording in recordings)
    missing = [symbol for symbol in requested or () if symbol not in available]
    if missing:
        raise ConfigError(
            f"--feed {names}: expected {', '.join(missing)}, found {', '.join(symbols) or 'no configured symbol'}. "
            f"Ask for a symbol that the file has, or leave --symbol out to take all.{_reasons(surveys)}"
        )
    if not symbols:
        raise ConfigError(
            f"--feed {names}: expected messages of a configured symbol ({', '.join(instruments)}), got none that can "
            f"be used.{_reasons(surveys)}"
        )
    return tuple(requested) if requested else symbols


def _reasons(surveys: Sequence[Survey]) -> str:
    reasons = dict.fromkeys(reason for findings in surveys for reason in findings.reasons)
    return f" Not used: {'; '.join(reasons)}" if reasons else ""
