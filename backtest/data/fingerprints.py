"""Fingerprints of what a result rests on, as SHA-256: the data, the configuration, the code, the orders."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

from backtest.data.series import BarSeries
from backtest.data.trade_tape import TradeTape
from core import codec
from core.contracts import Contract

PACKAGES: Final = ("core", "risk", "execution", "strategies", "backtest")  # what decides, fills and counts


def of_data(data: Sequence[BarSeries | TradeTape]) -> str:
    """Over the checksums of all series and tapes, in the order of symbol and timeframe."""
    lines = sorted(f"{source.symbol} {getattr(source, 'timeframe', 'trades')} {source.checksum}" for source in data)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def of_config(config: Any) -> str:
    """Over the canonical JSON of a configuration: sorted keys, no spaces."""
    text = json.dumps(config, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def of_code(makers: Iterable[Callable[..., object]]) -> str:
    """Over every source file of the packages involved and the files that the strategies come from.

    Where no source is to be had, as in a frozen installation, the installed version stands in.
    """
    digest = hashlib.sha256(_packages().encode())
    for text in sorted(_source_of(make) for make in makers):
        digest.update(text.encode())
    return digest.hexdigest()


def of_orders(messages: Iterable[Contract]) -> str:
    """Over the canonical lines of orders and fills, in their order."""
    return hashlib.sha256(codec.encode_lines(messages)).hexdigest()


@cache
def _packages() -> str:
    digest = hashlib.sha256()
    for name in PACKAGES:
        file = importlib.import_module(name).__file__
        paths = sorted(Path(file).parent.rglob("*.py")) if file else []
        for path in paths:
            digest.update(f"{name}/{path.relative_to(Path(str(file)).parent).as_posix()}\n".encode())
            digest.update(path.read_bytes())
    try:
        digest.update(version("njord").encode())
    except PackageNotFoundError:
        digest.update(b"not installed")
    return digest.hexdigest()


def _source_of(make: Callable[..., object]) -> str:
    name = f"{getattr(make, '__module__', '')}.{getattr(make, '__qualname__', type(make).__qualname__)}"
    try:
        file = inspect.getsourcefile(inspect.unwrap(make))
        return f"{name} {hashlib.sha256(Path(str(file)).read_bytes()).hexdigest()}"
    except (TypeError, OSError):
        return name
