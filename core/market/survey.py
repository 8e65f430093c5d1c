"""The survey of a recording: the symbols that it has data of, and the reasons why messages of it cannot be used.

The survey reads the recording to its end, since a symbol may first appear in its last minute. Lines of a symbol whose
data was seen to be usable are not parsed again.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from core import codec
from core.contracts import Contract
from core.errors import RejectedError, UnknownSymbolError
from core.instruments import Instruments
from core.market.binance import BinanceParser
from core.market.capture import Recording
from core.market.lines import BadLine, read_lines

_MAX_REASONS: Final = 3  # of a survey, the most frequent ones
_NAME: Final = re.compile(rb'"(?:s|symbol)"\s*:\s*"([^"]+)"')
_QUOTED: Final = re.compile(r",? (?:in|got) '\{[^']*'")  # the message in an error: it differs from line to line


@dataclass
class Survey:
    """The findings of a survey.

    Attributes:
        symbols: those with usable data, in the order of ``instruments``.
        refusals: why lines cannot be used, with the number of lines.
    """

    symbols: tuple[str, ...] = ()
    refusals: Counter[str] = field(default_factory=Counter)

    @property
    def reasons(self) -> list[str]:
        """The most frequent reasons, for an error."""
        return [f"{reason} ({count:,} lines)" for reason, count in self.refusals.most_common(_MAX_REASONS)]


def survey(recording: Recording, instruments: Instruments) -> Survey:
    """Read a recording to its end. Raises ConfigError when it cannot be read."""
    findings = Survey()
    symbols: set[str] = set()
    usable: set[bytes] = set()
    unknown: dict[bytes, str] = {}
    parser = BinanceParser(instruments, bbo=True)
    for name, message in _messages(recording):
        if name in usable:
            continue
        if name in unknown:
            findings.refusals[unknown[name]] += 1
            continue
        try:
            symbol = _symbol(message, recording.contract, parser, instruments)
        except RejectedError as error:
            reason = _QUOTED.sub("", str(error))
            findings.refusals[reason] += 1
            if isinstance(error, UnknownSymbolError):
                unknown[name] = reason
            continue
        if symbol:
            usable.add(name)
            symbols.add(symbol)
    findings.symbols = tuple(symbol for symbol in instruments if symbol in symbols)
    return findings


def _messages(recording: Recording) -> Iterator[tuple[bytes, bytes]]:
    """The messages with the venue's name of their symbol, but for order book snapshots, which name none."""
    stamped = recording.stamped and recording.contract is None
    for _, line in read_lines(recording.path, _ignore):
        match = _NAME.search(line)
        if match is None and b'"lastUpdateId"' in line:
            continue
        yield match[1] if match else b"", line.partition(b" ")[2] if stamped else line


def _symbol(
    message: bytes, contract: type[Contract] | None, parser: BinanceParser, instruments: Instruments
) -> str | None:
    """The configured symbol that a usable message belongs to; None for one without market data."""
    if contract is None:
        event = parser.parse(message)
        return None if event is None else event.symbol
    journaled, _ = codec.decode_message(contract, message)
    return instruments[journaled.symbol].symbol  # type: ignore[attr-defined]  # all journals of feeds have one


def _ignore(bad: BadLine) -> None:
    """A survey reports no bad lines: the reading proper does."""
