"""The configuration that a session ran under, out of its own record, and by which keys others differ from it.

Only what decides a run is taken from the record and compared: instruments, limits, the paper venue, bars, strategies.
Paths, addresses and secrets stay those of today.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from backtest.contracts import BacktestConfig
from backtest.parity.market import SessionFiles
from core.clock import NS_PER_MS
from core.config.model import Config
from core.config.record import RecordedConfig, recorded_configs
from core.errors import ConfigError
from core.logging.redaction import MASK

_SECTIONS: Final = ("instruments", "risk", "paper", "bars", "strategies")
_ELSEWHERE: Final = frozenset({"risk.kill_switch_file", "risk.kill_switch_key"})  # where a switch is decides nothing
_SHOWN: Final = 6  # keys that a remark names


@dataclass(frozen=True)
class KeyChange:
    """A key of the configuration, such as ``paper.participation``, and its two values; None where it is missing."""

    key: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.key} {_text(self.a)} → {_text(self.b)}"


@dataclass(frozen=True)
class SessionConfig:
    """The configuration of a session.

    Attributes:
        config: its configuration; today's where there is no record.
        recorded: how many there are records of. With several the latest start counts.
        remarks: caveats for the reader.
    """

    config: Config
    recorded: int
    remarks: tuple[str, ...] = ()


def session_config(folder: Path, today: Config) -> SessionConfig:
    """The configuration of a session. Raises ConfigError for a record that this version does not understand."""
    records = recorded_configs(SessionFiles.at(folder).journals)
    if not records:
        return SessionConfig(today, 0, ("it has no record of its configuration: today's is taken",))
    remarks = []
    if len(records) > 1:
        configs = [_merged(record, today) for record in records]
        differing = _listed([change for older, newer in pairwise(configs) for change in changes(older, newer)])
        remarks.append(
            f"it was started under {len(records)} configurations, of which the latest is taken"
            + (f"; they differ in {differing}" if differing else "; they differ in nothing that decides a run")
        )
    return SessionConfig(_merged(records[-1], today), len(records), tuple(remarks))


def changes(a: Config, b: Config) -> list[KeyChange]:
    """Every key that decides a run and has another value in ``b`` than in ``a``."""
    ours, theirs = _flat(a), _flat(b)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [KeyChange(key, ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)]


def changes_text(a: Config, b: Config) -> str:
    """The same in words, the first few by name; an empty text for none."""
    return _listed(changes(a, b))


def rules_text(session: Config, rules: BacktestConfig) -> str:
    """The rules by which a backtest differs from a session, as text; empty for none.

    Caps and bars of a backtest are those of its installation, which its result does not keep.
    """
    paper, flow = session.paper, session.paper.fill_model == "trade_flow"
    fees = {symbol: session.instruments[symbol] for symbol in rules.traded if symbol in session.instruments}
    maker = rules.commission_rate if rules.maker_rate is None else rules.maker_rate
    entry = next((strategy for strategy in session.strategies if strategy.id == rules.strategy_id), None)
    params = dict(entry.params) if entry is not None else {}
    pairs: list[tuple[str, Any, Any]] = [
        ("fill timing", "next_trade", rules.fill_timing.value),
        ("fill model", paper.fill_model, rules.fill_model),
        ("participation", paper.participation if flow else 1.0, rules.participation),
        ("latency", 0, f"{rules.latency_ns / NS_PER_MS:g} ms" if rules.latency_ns else 0),
        ("slippage", 0.0, rules.slippage_bps),
        *((f"taker fee of {symbol}", float(row.taker_fee), rules.commission_rate) for symbol, row in fees.items()),
        *((f"maker fee of {symbol}", float(row.maker_fee), maker) for symbol, row in fees.items()),
        *((f"params.{key}", params.get(key), rules.params.get(key)) for key in sorted({*params, *rules.params})),
        ("risk engine", True, rules.risk),
    ]
    return _listed([KeyChange(name, a, b) for name, a, b in pairs if a != b])


def _listed(differing: Sequence[KeyChange]) -> str:
    more = f" and {len(differing) - _SHOWN} more" if len(differing) > _SHOWN else ""
    return ", ".join(map(str, differing[:_SHOWN])) + more


def _merged(record: RecordedConfig, today: Config) -> Config:
    now: dict[str, Any] = today.model_dump(mode="json", by_alias=True)
    contiguous = record.shown.get("exchange", {}).get("contiguous_ids", today.exchange.contiguous_ids)
    merged = {
        **now,
        **{name: _unmasked(record.shown[name], now[name]) for name in _SECTIONS if name in record.shown},
        "exchange": {**today.exchange.model_dump(by_alias=True), "contiguous_ids": contiguous},
    }
    try:
        config = Config.model_validate(merged)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_url=False))
        raise ConfigError(
            f"{record.path}: expected a configuration as this version has them, got {wrong}; use --today to take that "
            "of --config-root instead"
        ) from None
    return today.model_copy(update={name: getattr(config, name) for name in (*_SECTIONS, "exchange")})


def _unmasked(recorded: Any, now: Any) -> Any:
    """The recorded values, with secrets, which are masked there, from the configuration of today."""
    if isinstance(recorded, Mapping):
        current = now if isinstance(now, Mapping) else {}
        return {key: _unmasked(value, current.get(key)) for key, value in recorded.items()}
    if isinstance(recorded, list) and all(isinstance(entry, Mapping) and "id" in entry for entry in recorded):
        by_id = {entry["id"]: entry for entry in now or () if isinstance(entry, Mapping) and "id" in entry}
        return [_unmasked(entry, by_id.get(entry["id"])) for entry in recorded]
    return now if isinstance(recorded, str) and MASK in recorded and now is not None else recorded


def _flat(config: Config) -> dict[str, Any]:
    shown = config.shown()
    leaves = {"exchange.contiguous_ids": shown["exchange"]["contiguous_ids"]}
    for name in _SECTIONS:
        if name == "strategies":
            entries = [entry for entry in shown[name] if entry.get("enabled", True)]
            leaves["strategies"] = [entry["id"] for entry in entries]
            for entry in entries:
                leaves.update(_leaves(f"strategies.{entry['id']}", entry))
        else:
            leaves.update(_leaves(name, shown[name]))
    return {key: value for key, value in leaves.items() if key not in _ELSEWHERE}


def _leaves(at: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{at}.{key}", inner)
    else:
        yield at, value


def _text(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(map(_text, value)) + "]"
    return "—" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
