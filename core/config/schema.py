"""The configuration's sections: every key with its type, limits, default and meaning. ``core.config.load`` reads files.

Units stand in the names, limits in the types. All sections are frozen and refuse keys they do not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from core.errors import ContractError
from core.instruments import Instrument
from core.redis_address import RedisAddress, RedisAddressError


@dataclass(frozen=True, slots=True)
class Confidential:
    """The mark of a text key whose value is shown masked or not at all, as ``SecretStr`` is."""


def _no_boolean(value: Any) -> Any:
    """Python counts True as 1; a configuration does not."""
    if isinstance(value, bool):
        raise ValueError("expected a number, got a boolean")
    return value


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _readable_address(value: str) -> str:
    try:
        RedisAddress.parse(value)
    except RedisAddressError as error:
        raise ValueError(error.expectation) from None
    return value


def _tradable(symbol: str) -> str:
    """A symbol that an instrument can have and that a pattern of topics can name."""
    try:
        Instrument(symbol, tick_size=Decimal(1), lot_size=Decimal(1))
    except ContractError as error:
        raise ValueError(str(error).removeprefix("Instrument.symbol: ")) from None
    if not symbol.isprintable() or not _NOT_IN_SYMBOLS.isdisjoint(symbol):
        raise ValueError("expected BASE/QUOTE such as BTC/USDT, of printable characters without * ? [ ] { }")
    return symbol


_NOT_IN_SYMBOLS: Final = frozenset("*?[]{}")  # they have a meaning in patterns of topics
_CURRENCY: Final = r"^[^/:*?\[\]{}\s-]+$"
_TIMEFRAME: Final = r"^[1-9][0-9]*[smhdw]$"
_HTTP_URL: Final = r"^(https?|wss?)://.+"
_STRATEGY_ID: Final = r"^[A-Za-z][A-Za-z0-9_-]*$"
_CLASS_PATH: Final = r"^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)+$"

PATTERNS: Final[Mapping[str, str]] = {
    _CURRENCY: "a currency such as BTC",
    _TIMEFRAME: "a number and s, m, h, d or w such as 5m",
    _HTTP_URL: "an address that starts with http://, https://, ws:// or wss://",
    _STRATEGY_ID: "a letter followed by letters, digits, _ or -",
    _CLASS_PATH: "a dotted path such as strategies.samples.trendline_break.TrendlineBreak",
}

_Number = BeforeValidator(_no_boolean)
_GRID = Field(gt=0, le=1_000_000, decimal_places=18)
PositiveFloat = Annotated[float, _Number, Field(gt=0)]
Fraction = Annotated[float, _Number, Field(ge=0, le=1)]
PositiveInt = Annotated[int, _Number, Field(gt=0, le=2**53)]
NonNegativeInt = Annotated[int, _Number, Field(ge=0, le=2**53)]
Port = Annotated[int, _Number, Field(ge=1024, le=65_000)]
Step = Annotated[Decimal, _Number, _GRID]
Notional = Annotated[Decimal, _Number, Field(ge=0, le=1_000_000_000, decimal_places=18)]
Currency = Annotated[str, Field(pattern=_CURRENCY)]
Fee = Annotated[Decimal, _Number, Field(ge=Decimal("-0.05"), le=Decimal("0.05"), decimal_places=18)]
Name = Annotated[str, Field(min_length=1)]
Symbol = Annotated[str, AfterValidator(_tradable)]
Timeframe = Annotated[str, Field(pattern=_TIMEFRAME)]
RedisUrl = Annotated[str, AfterValidator(_readable_address), Confidential()]
HttpUrl = Annotated[str, Field(pattern=_HTTP_URL)]
StrategyId = Annotated[str, Field(pattern=_STRATEGY_ID, max_length=64)]
ClassPath = Annotated[str, Field(pattern=_CLASS_PATH)]
Level = Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(_upper)]


class Section(BaseModel):
    """The base of all sections: frozen, no unknown keys, only finite numbers, no values in error texts."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, hide_input_in_errors=True, validate_by_name=True
    )


class AppConfig(Section):
    """The installation and the folders of its files."""

    env: Literal["paper", "live", "backtest"] = Field(
        "paper", description="What the fleet trades with; `live` moves money only together with NJORD_ENABLE_LIVE=1"
    )
    data_dir: Path = Field(
        Path("var"), description="Runtime state; relative paths start at the project's folder, `~` is the home folder"
    )
    log_dir: Path = Field(Path("var/log/njord"), description="Journals and projections, one folder for the fleet")
    ledger_dir: Path = Field(
        Path("var/ledger"), description="The daemons' ledgers: the truth, keep them on a safe disk"
    )


class RedisConfig(Section):
    """The server behind the bus."""

    url: RedisUrl = Field(
        "redis://127.0.0.1:6379/0",
        repr=False,
        description="Redis server: redis://, rediss:// or unix:// address, its password percent-encoded",
    )
    key_prefix: Name = Field("njord", description="What the names of the ledger streams in Redis start with")
    timeout_s: Annotated[float, _Number, Field(ge=1)] = Field(
        5.0, description="How long an answer of Redis may take, in seconds"
    )

    @property
    def address(self) -> RedisAddress:
        """The server and the account of ``url``, in parts."""
        return RedisAddress.parse(self.url)


class LoggingConfig(Section):
    """The log and the size of journals."""

    level: Level = Field("INFO", description="The least severe level that is written")
    json_dir: Path = Field(Path("var/log/njord"), description="Folder of app.ndjson, the log of all daemons")
    journal_rotate_mb: PositiveInt = Field(
        256, description="Size at which a journal continues in a new file, in megabytes"
    )


class ExchangeConfig(Section):
    """The venue: market data and, once live, orders."""

    name: Name = Field("binanceus", description="The venue's ccxt id")
    urls: Mapping[str, HttpUrl] = Field(
        default_factory=dict,
        description="Addresses in place of all of the venue's, by dotted name such as `ws.spot`, for a venue "
        "simulator on this machine (`python -m apps.venue_sim` prints them); each must be on loopback",
    )
    staleness_limit_s: PositiveFloat = Field(
        15.0, description="Silence after which a feed counts as stale and is connected anew, in seconds"
    )
    backoff_base_s: PositiveFloat = Field(0.5, description="First wait before connecting again, in seconds")
    backoff_max_s: PositiveFloat = Field(30.0, description="Longest wait before connecting again, in seconds")
    backoff_jitter: Fraction = Field(1.0, description="Share of each wait that is drawn at random, 0 to 1")
    contiguous_ids: bool = Field(
        True, description="Whether the venue's trade ids count up without holes, so that a hole is a gap"
    )
    api_key: SecretStr | None = Field(None, description="The venue's API key; belongs into config/secrets.enc.yaml")
    api_secret: SecretStr | None = Field(
        None, description="The venue's API secret; belongs into config/secrets.enc.yaml"
    )


class InstrumentConfig(Section):
    """One tradable pair's grid and fees."""

    tick_size: Step = Field(description="Smallest step of the price, in quote currency")
    lot_size: Step = Field(description="Smallest step of the quantity, in base currency")
    min_notional: Notional = Field(Decimal(0), description="Least value of an order, in quote currency")
    maker_fee: Fee = Field(Decimal("0.001"), description="Fee of a resting order, as a fraction of the notional")
    taker_fee: Fee = Field(Decimal("0.001"), description="Fee of a crossing order, as a fraction of the notional")


class RiskConfig(Section):
    """The limits of the risk engine."""

    per_order_usd_cap: PositiveFloat = Field(5_000.0, description="Largest notional of one order, in US dollars")
    position_usd_cap: PositiveFloat = Field(
        25_000.0, description="Largest notional of a position that orders may build, per symbol, in US dollars"
    )
    daily_loss_usd_cap: PositiveFloat = Field(
        1_000.0, description="Loss of the UTC day after which only what reduces a position passes, in US dollars"
    )
    orders_per_min_cap: PositiveInt = Field(120, description="Orders per minute and symbol")
    price_collar_bps: PositiveFloat = Field(
        500.0, description="How far a limit price may lie on the wrong side of the last trade, in basis points"
    )
    max_price_age_ms: PositiveInt = Field(
        10_000, description="Age of the last trade beyond which orders are refused, in milliseconds"
    )
    usd_rates: Mapping[Currency, PositiveFloat] = Field(
        default_factory=dict,
        description="Dollars per unit of a quote currency that is no dollar and that no configured instrument trades "
        "against one, such as `{BTC: 60000}`; a traded rate wins, an order without any is denied NO_PRICE",
    )
    kill_switch_file: Path = Field(
        Path("/tmp/njord_killswitch"), description="While this file exists, nothing is traded on this machine"
    )
    kill_switch_key: Name = Field("njord:killswitch", description="While this Redis key is set, nothing is traded")


class PaperConfig(Section):
    """The simulated venue."""

    fill_model: Literal["last_trade", "trade_flow"] = Field(
        "trade_flow",
        description="`last_trade` fills in full at the last price; `trade_flow` fills from the trades that happen",
    )
    starting_cash: PositiveFloat = Field(100_000.0, description="Cash at the start, in quote currency")
    participation: Annotated[float, _Number, Field(gt=0, le=1)] = Field(
        0.5, description="Share of the traded volume that `trade_flow` may fill, above 0 to 1"
    )


class BarsConfig(Section):
    """Aggregation of trades into bars."""

    timeframes: tuple[Timeframe, ...] = Field(
        ("1m", "5m", "15m", "1h"), min_length=1, description="Lengths of the bars: a number and s, m, h, d or w"
    )
    grace_ms: NonNegativeInt = Field(2_000, description="How long a bar waits for late trades, in milliseconds")


class ServicesConfig(Section):
    """The settings that all daemons share."""

    bind_host: Name = Field("127.0.0.1", description="Address that health and metrics answer on")
    base_port: Port = Field(9_110, description="Port of the first daemon; the others keep their distance from it")
    heartbeat_s: PositiveFloat = Field(5.0, description="Time between heartbeats, in seconds")
    drain_s: PositiveFloat = Field(10.0, description="How long a stopping daemon may finish its work, in seconds")


class StrategyConfig(Section):
    """One entry of config/strategies.yaml."""

    id: StrategyId = Field(description="Unique name; stands in intents, journals and metrics")
    class_path: ClassPath = Field(alias="class", description="Dotted path of the strategy's class")
    enabled: bool = Field(True, description="Whether the strategy runs")
    symbols: tuple[Symbol, ...] = Field(min_length=1, description="What it trades; each must stand under `instruments`")
    events: tuple[Name, ...] = Field(min_length=1, description="Topics it is woken by, with `*` as wildcard")
    params: Mapping[str, Any] = Field(default_factory=dict, description="Handed to the strategy as they are")
