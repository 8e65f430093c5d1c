"""The root of the configuration: all sections, the rules that hold between them, and the start of its paths."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, PrivateAttr, SecretStr, model_validator
from pydantic_core import PydanticCustomError

from core.config.schema import (
    AppConfig,
    BarsConfig,
    ExchangeConfig,
    InstrumentConfig,
    LoggingConfig,
    PaperConfig,
    RedisConfig,
    RiskConfig,
    Section,
    ServicesConfig,
    StrategyConfig,
    Symbol,
)
from core.config.yaml import KeyPath
from core.instruments import Instrument, Instruments
from core.logging.redaction import MASK, SHORTEST_IN_TEXT, KnownSecrets
from core.topics import TABLE

INCONSISTENT: Final = "inconsistent"  # type of the pydantic error that carries the rules broken between keys
REDIS_URL: Final[KeyPath] = ("redis", "url")


class Config(Section):
    """The whole configuration, frozen. Build it with ``core.config.load.load_config``; ``Config()`` is all defaults."""

    app: AppConfig = Field(default_factory=AppConfig, description="The installation")
    redis: RedisConfig = Field(default_factory=RedisConfig, description="The bus")
    logging: LoggingConfig = Field(default_factory=LoggingConfig, description="Logs and journals")
    exchange: ExchangeConfig = Field(default_factory=ExchangeConfig, description="The venue")
    instruments: Mapping[Symbol, InstrumentConfig] = Field(default_factory=dict, description="What can be traded")
    risk: RiskConfig = Field(default_factory=RiskConfig, description="Limits")
    paper: PaperConfig = Field(default_factory=PaperConfig, description="The simulated venue")
    bars: BarsConfig = Field(default_factory=BarsConfig, description="Bar aggregation")
    services: ServicesConfig = Field(default_factory=ServicesConfig, description="The daemons")
    strategies: tuple[StrategyConfig, ...] = Field((), description="From config/strategies.yaml")

    _root: Path = PrivateAttr(default=Path())
    _secrets: frozenset[str] = PrivateAttr(default=frozenset())
    _hidden: frozenset[KeyPath] = PrivateAttr(default=frozenset())

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        broken = tuple(broken_rules(self))
        if broken:
            text = "; ".join(f"{'.'.join(map(str, path))}: {expectation}" for path, expectation in broken)
            raise PydanticCustomError(INCONSISTENT, "{text}", {"text": text, "broken": broken})
        return self

    @property
    def root(self) -> Path:
        """The project's folder, where relative paths of the configuration start."""
        return self._root

    def path(self, relative: Path) -> Path:
        """A configured path, with the project's folder in front unless it is absolute."""
        return self._root / relative

    @property
    def log_dir(self) -> Path:
        """Folder of the journals."""
        return self.path(self.app.log_dir)

    @property
    def ledger_dir(self) -> Path:
        """Folder of the ledgers."""
        return self.path(self.app.ledger_dir)

    @property
    def data_dir(self) -> Path:
        """Folder of the runtime state."""
        return self.path(self.app.data_dir)

    @property
    def json_dir(self) -> Path:
        """Folder of app.ndjson."""
        return self.path(self.logging.json_dir)

    @property
    def kill_switch_file(self) -> Path:
        """The file whose presence stops trading."""
        return self.path(self.risk.kill_switch_file)

    def instruments_table(self) -> Instruments:
        """The instruments as the domain uses them."""
        return Instruments(Instrument(symbol, **dict(row)) for symbol, row in self.instruments.items())

    def secret_values(self) -> frozenset[str]:
        """Every text that must not appear in a log: for ``setup_json_logging(secrets=…)``, never for printing."""
        keys = (self.exchange.api_key, self.exchange.api_secret)
        values = {key.get_secret_value() for key in keys if isinstance(key, SecretStr)}
        account = set(self.redis.address.secrets())
        if any(len(text) < SHORTEST_IN_TEXT for text in account):  # too short to be looked for within a text
            account |= {self.redis.url, self.redis.address.url}
        return self._secrets | values | account

    def shown(self) -> dict[str, Any]:
        """The configuration as plain JSON values that may be printed, logged or compared: secrets are masked."""
        values = self.model_dump(mode="json", by_alias=True)
        values["redis"]["url"] = self.redis.address.shown
        masked = _masked(values, self._hidden - {REDIS_URL}, ())
        # A session is run again from its record, so that nothing may be cut.
        shown: dict[str, Any] = KnownSecrets(self.secret_values()).redact(masked, unlimited=True)
        return shown


def _masked(value: Any, hidden: frozenset[KeyPath], path: KeyPath) -> Any:
    """The value with a mask at each of the hidden keys."""
    if isinstance(value, dict):
        return {key: _masked(member, hidden, (*path, key)) for key, member in value.items()}
    if isinstance(value, list):
        return [_masked(member, hidden, (*path, index)) for index, member in enumerate(value)]
    return MASK if path in hidden and value is not None else value


def broken_rules(config: Config) -> Iterator[tuple[KeyPath, str]]:
    """The broken rules between keys that are valid on their own: the key path and what was expected."""
    exchange, risk = config.exchange, config.risk
    if exchange.backoff_max_s < exchange.backoff_base_s:
        yield (
            ("exchange", "backoff_max_s"),
            f"expected at least backoff_base_s ({exchange.backoff_base_s:g}), got {exchange.backoff_max_s:g}",
        )
    if risk.position_usd_cap < risk.per_order_usd_cap:
        yield (
            ("risk", "position_usd_cap"),
            f"expected at least per_order_usd_cap ({risk.per_order_usd_cap:g}), got {risk.position_usd_cap:g}",
        )
    if len(set(config.bars.timeframes)) < len(config.bars.timeframes):
        yield ("bars", "timeframes"), "expected each timeframe once"
    yield from _broken_strategies(config)


def _broken_strategies(config: Config) -> Iterator[tuple[KeyPath, str]]:
    instruments = config.instruments_table()
    first_use: dict[str, int] = {}
    for index, strategy in enumerate(config.strategies):
        at: KeyPath = ("strategies", index)
        first = first_use.setdefault(strategy.id, index)
        if first != index:
            yield (*at, "id"), f"expected a unique id, got {strategy.id!r} which strategies[{first}] has already"
        for position, symbol in enumerate(strategy.symbols):
            if strategy.enabled and symbol not in instruments:
                have = ", ".join(instruments) or "none configured"
                yield (
                    (*at, "symbols", position),
                    f"expected a symbol that stands under `instruments` ({have}), got {symbol!r}",
                )
        for position, pattern in enumerate(strategy.events):
            if not _can_match(pattern):
                topics = ", ".join(row.pattern for row in TABLE)
                yield (*at, "events", position), f"expected a topic or a pattern of topics ({topics}), got {pattern!r}"
        yield from (((*at, "params", key), expectation) for key, expectation in _broken_params(strategy.params))


def _can_match(pattern: str) -> bool:
    return any(fnmatchcase(pattern, row.pattern) or fnmatchcase(row.pattern, pattern) for row in TABLE)


def _broken_params(params: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    qty = params.get("qty", 1)
    if isinstance(qty, bool) or not isinstance(qty, int | float) or not 0 < qty < math.inf:
        yield "qty", f"expected a quantity above 0, in base currency, got {qty!r}"
