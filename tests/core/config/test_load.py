"""The configuration: what wins over what, what is refused, and what an error says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from core.config import Config, catalogue, feature_enabled, live_enabled, load_config
from core.config.yaml import parse_yaml
from core.errors import ConfigError, UnknownSymbolError
from risk.limits import RiskLimits

ROOT = Path(__file__).resolve().parents[3]
Load = Callable[..., Config]

BTC = "instruments: {BTC/USDT: {tick_size: 0.01, lot_size: 0.00001, min_notional: 10}}\n"
STRATEGY = """
strategies:
  - id: one
    class: strategies.samples.x.X
    symbols: [BTC/USDT]
    events: [md.trades.*]
    params: {qty: 0.5}
"""


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Loads a configuration of the given texts from a fresh folder."""
    folder = tmp_path / "config"
    folder.mkdir()

    def loaded(
        base: str | None = "",
        strategies: str | None = None,
        environ: Mapping[str, str] | None = None,
        overrides: Mapping[str, Any] | None = None,
    ) -> Config:
        for name, text in (("base", base), ("strategies", strategies)):
            if text is not None:
                (folder / f"{name}.yaml").write_text(text)
        return load_config(tmp_path, environ=environ or {}, overrides=overrides)

    return loaded


def refused(load: Load, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*args, **kwargs)
    return str(caught.value)


class TestWhatIsRead:
    def test_the_shipped_files_are_valid_and_state_the_defaults(self) -> None:
        config = load_config(ROOT, environ={})
        written = {"instruments", "strategies"}
        assert config.model_dump(exclude=written) == Config().model_dump(exclude=written)
        assert "trendline_break_v1" in {strategy.id for strategy in config.strategies}

    def test_an_empty_base_file_gives_the_defaults(self, load: Load) -> None:
        assert load("").risk.per_order_usd_cap == 5_000

    def test_a_section_with_all_its_keys_commented_out_gives_the_defaults(self, load: Load) -> None:
        assert load("risk:\n  # per_order_usd_cap: 1\n").risk == Config().risk

    def test_a_plain_mapping_is_validated_by_the_model(self) -> None:
        assert Config.model_validate({"risk": {"per_order_usd_cap": 7}}).risk.per_order_usd_cap == 7

    def test_instruments_keep_their_decimals_exactly(self, load: Load) -> None:
        table = load(BTC).instruments_table()
        assert str(table["BTC/USDT"].lot_size) == "0.00001"
        with pytest.raises(UnknownSymbolError):
            table["ETH/USDT"]

    @pytest.mark.parametrize("symbol", ["BTC/USDT:USDT", "1000SHIB/USDT", "kPEPE/USDC:USDC", "币安人生/USDT"])
    def test_every_symbol_of_a_venue_can_be_configured(self, load: Load, symbol: str) -> None:
        text = BTC.replace("BTC/USDT", f"'{symbol}'"), STRATEGY.replace("BTC/USDT", f"'{symbol}'")
        config = load(*text)
        assert config.instruments_table()[symbol].quote in ("USDT", "USDC")
        assert config.strategies[0].symbols == (symbol,)

    def test_a_currency_that_is_no_dollar_has_a_configured_rate(self, load: Load) -> None:
        assert RiskLimits.of(load("risk: {usd_rates: {BTC: 60_000}}").risk).usd_rates == {"BTC": 60_000.0}

    def test_the_configuration_is_frozen(self, load: Load) -> None:
        with pytest.raises(ValidationError, match="frozen"):
            load("").risk.per_order_usd_cap = 1.0  # type: ignore[misc]  # the point of the test

    def test_relative_paths_start_at_the_root(self, load: Load, tmp_path: Path) -> None:
        config = load("app: {log_dir: logs}")
        assert config.log_dir == tmp_path / "logs"
        assert config.kill_switch_file == Path("/tmp/njord_killswitch")

    def test_another_base_file_brings_the_other_files_of_its_folder(self, load: Load, tmp_path: Path) -> None:
        load(BTC, STRATEGY)
        (tmp_path / "config" / "base.yaml").rename(tmp_path / "config" / "mine.yaml")
        config = load_config(tmp_path, base=tmp_path / "config" / "mine.yaml", environ={})
        assert config.strategies[0].id == "one"

    def test_parameters_reach_the_strategy_as_they_are(self, load: Load) -> None:
        config = load(BTC, STRATEGY.replace("{qty: 0.5}", "{qty: 1, name: on, code: 007, nested: {a: [1, 2.5]}}"))
        assert config.strategies[0].params == {"qty": 1, "name": "on", "code": "007", "nested": {"a": [1, 2.5]}}


class TestWhatWins:
    def test_environment_wins_over_files_and_overrides_win_over_both(self, load: Load) -> None:
        base, environ = "risk: {per_order_usd_cap: 1}", {"NJORD_RISK__PER_ORDER_USD_CAP": "2"}
        assert load(base).risk.per_order_usd_cap == 1
        assert load(base, environ=environ).risk.per_order_usd_cap == 2
        assert load(base, environ=environ, overrides={"risk": {"per_order_usd_cap": 3}}).risk.per_order_usd_cap == 3

    def test_a_layer_changes_only_the_keys_it_names(self, load: Load) -> None:
        config = load("risk: {orders_per_min_cap: 7}", environ={"NJORD_RISK__PER_ORDER_USD_CAP": "2"})
        assert (config.risk.orders_per_min_cap, config.risk.per_order_usd_cap) == (7, 2)

    @pytest.mark.parametrize(
        ("name", "raw", "path", "value"),
        [
            ("NJORD_BARS__TIMEFRAMES", "[1m, 4h]", "bars.timeframes", ("1m", "4h")),
            ("NJORD_EXCHANGE__CONTIGUOUS_IDS", "false", "exchange.contiguous_ids", False),
            ("NJORD_REDIS__KEY_PREFIX", "007", "redis.key_prefix", "007"),
            ("NJORD_LOGGING__LEVEL", "debug", "logging.level", "DEBUG"),
            ("NJORD_PAPER__STARTING_CASH", "1e5", "paper.starting_cash", 100_000.0),
            ("NJORD_APP__DATA_DIR", "12", "app.data_dir", Path("12")),
        ],
    )
    def test_environment_values_take_the_type_of_their_key(
        self, load: Load, name: str, raw: str, path: str, value: object
    ) -> None:
        section, key = path.split(".")
        assert getattr(getattr(load("", environ={name: raw}), section), key) == value

    def test_an_instrument_is_found_by_its_letters(self, load: Load) -> None:
        config = load(BTC, environ={"NJORD_INSTRUMENTS__BTC_USDT__TAKER_FEE": "0.002"})
        assert str(config.instruments_table()["BTC/USDT"].taker_fee) == "0.002"

    def test_an_open_mapping_takes_new_names(self, load: Load) -> None:
        config = load("", environ={"NJORD_EXCHANGE__URLS__WS.SPOT": "ws://127.0.0.1:1/stream"})
        assert config.exchange.urls == {"ws.spot": "ws://127.0.0.1:1/stream"}

    def test_feature_gates_and_tokens_are_no_configuration_keys(self, load: Load) -> None:
        names = ("NJORD_ENABLE_LIVE", "NJORD_ENABLE_METRICS", "NJORD_TEST_DATA", "NJORD_CONTROLLER_TOKEN", "NJORD_X")
        assert load("", environ=dict.fromkeys(names, "1")) == load("")


class TestReferences:
    def test_a_reference_is_replaced_and_takes_the_type_of_its_key(self, load: Load) -> None:
        base = "redis: {url: 'redis://${HOST}:6379/0'}\nservices: {base_port: '${PORT}'}"
        config = load(base, environ={"HOST": "h", "PORT": "9200"})
        assert (config.redis.url, config.services.base_port) == ("redis://h:6379/0", 9200)

    def test_a_doubled_dollar_stands_for_itself(self, load: Load) -> None:
        assert load("redis: {key_prefix: 'a$${X}b'}").redis.key_prefix == "a${X}b"

    def test_a_missing_variable_is_named_with_its_key(self, load: Load) -> None:
        text = refused(load, "redis:\n  url: ${NJORD_REDIS_ADDRESS}\n")
        assert "config/base.yaml:2: redis.url: environment variable NJORD_REDIS_ADDRESS is not set" in text

    def test_a_secret_reference_is_a_secret(self, load: Load) -> None:
        config = load("exchange: {api_key: '${VENUE_KEY}'}", environ={"VENUE_KEY": "k-e-y-1234"})
        assert config.exchange.api_key is not None
        assert config.exchange.api_key.get_secret_value() == "k-e-y-1234"
        assert "k-e-y-1234" in config.secret_values()
        assert "k-e-y-1234" not in repr(config) + str(config.shown())


class TestWhatIsRefused:
    def test_an_unknown_key_is_named_with_file_line_and_the_nearest_valid_one(self, load: Load) -> None:
        text = refused(load, "risk:\n  per_order_usd_cp: 1\n")
        assert "config/base.yaml:2: risk.per_order_usd_cp: unknown key; did you mean risk.per_order_usd_cap?" in text

    def test_a_key_in_the_wrong_section_is_shown_its_place(self, load: Load) -> None:
        assert "did you mean risk.daily_loss_usd_cap?" in refused(load, "paper: {daily_loss_usd_cap: 5}")

    def test_an_unknown_environment_key_is_refused_with_the_nearest_valid_one(self, load: Load) -> None:
        text = refused(load, environ={"NJORD_RISK__DAILY_LOSS_CAP": "1"})
        assert "NJORD_RISK__DAILY_LOSS_CAP" in text
        assert "did you mean risk.daily_loss_usd_cap?" in text

    def test_a_cap_spelled_with_single_underscores_is_refused_not_ignored(self, load: Load) -> None:
        text = refused(load, environ={"NJORD_RISK_DAILY_LOSS_USD_CAP": "1"})
        assert "did you mean NJORD_RISK__DAILY_LOSS_USD_CAP?" in text

    def test_all_problems_come_in_one_error(self, load: Load) -> None:
        base = "app: {env: prod}\nrisk: {per_order_usd_cap: -1, x: 1}\nredis: {url: '${NOPE}'}\n"
        text = refused(load, base, environ={"NJORD_BAR__S": "1"}, overrides={"bars": {"grace_ms": "soon"}})
        assert text.startswith("6 problems in the configuration:")
        for part in ("app.env", "risk.per_order_usd_cap", "risk.x", "NOPE", "NJORD_BAR__S", "bars.grace_ms"):
            assert part in text

    @pytest.mark.parametrize(
        ("base", "expected"),
        [
            ("app: {env: prod}", "expected 'paper', 'live' or 'backtest', got 'prod'"),
            ("risk: {per_order_usd_cap: 0}", "expected a number greater than 0, got 0"),
            ("risk: {per_order_usd_cap: .inf}", "expected a finite number, got inf"),
            ("risk: {per_order_usd_cap: .nan}", "expected a finite number, got nan"),
            ("risk: {orders_per_min_cap: true}", "expected a number, got True"),
            (
                "risk: {orders_per_min_cap: 1.5}",
                "expected a valid integer, got a number with a fractional part, got 1.5",
            ),
            ("risk: 5", "expected keys and values below this one, got 5"),
            ("bars: {timeframes: 1m}", "expected a list, got '1m'"),
            ("bars: {timeframes: []}", "expected at least 1 item, got []"),
            ("bars: {timeframes: [1y]}", "expected a number and s, m, h, d or w such as 5m, got '1y'"),
            ("bars: {timeframes: [1m, 1m]}", "expected each timeframe once"),
            ("redis: {url: 'http://h'}", "expected an address such as redis://127.0.0.1:6379/0"),
            ("instruments: {btc: {tick_size: 1, lot_size: 1}}", "expected BASE/QUOTE such as BTC/USDT"),
            ("instruments: {BTC/USDT: {tick_size: 1}}", "instruments.BTC/USDT.lot_size: required key is missing"),
            (
                "instruments: {BTC/USD:BTC: {tick_size: 1, lot_size: 1}}",
                "expected a contract that settles in its quote",
            ),
            ("instruments: {'*/USDT': {tick_size: 1, lot_size: 1}}", "of printable characters without * ? [ ] { }"),
            ("risk: {usd_rates: {BTC: 0}}", "risk.usd_rates.BTC: expected a number greater than 0, got 0"),
            ("risk: {usd_rates: {B/C: 1}}", "expected a currency such as BTC"),
            (BTC.replace("min_notional: 10", "taker_fee: 0.1"), "expected a number less than or equal to 0.05"),
            ("exchange: {backoff_base_s: 9, backoff_max_s: 3}", "expected at least backoff_base_s (9), got 3"),
            ("risk: {position_usd_cap: 5}", "expected at least per_order_usd_cap (5000), got 5"),
            ("- a\n- b", "expected sections such as `risk:`, got list"),
        ],
    )
    def test_a_wrong_value_is_told_with_what_was_expected(self, load: Load, base: str, expected: str) -> None:
        assert expected in refused(load, base)

    def test_a_missing_base_file_says_how_to_make_one(self, load: Load) -> None:
        text = refused(load, None)
        assert "config/base.yaml: file not found" in text
        assert "create it" in text

    def test_the_file_that_the_error_suggests_works(self, load: Load) -> None:
        assert load("app: {env: paper}").app.env == "paper"

    def test_invalid_yaml_is_told_with_line_and_column(self, load: Load) -> None:
        assert "config/base.yaml:2:5: " in refused(load, "a: 1\nb: c: d\n")

    def test_a_duplicate_key_is_refused_with_both_lines(self, load: Load) -> None:
        text = refused(load, "risk:\n  per_order_usd_cap: 1\n  per_order_usd_cap: 2\n")
        assert "base.yaml:3:3: risk.per_order_usd_cap" in text
        assert "first in line 2" in text

    def test_a_file_that_is_no_text_is_refused(self, load: Load, tmp_path: Path) -> None:
        load("")
        (tmp_path / "config" / "base.yaml").write_bytes(b"a: \xff")
        assert "expected UTF-8 text, got byte 0xff at offset 3" in refused(load, None)

    def test_a_folder_in_place_of_the_file_is_refused(self, load: Load, tmp_path: Path) -> None:
        (tmp_path / "config" / "base.yaml").mkdir()
        assert "Is a directory" in refused(load, None)

    def test_a_broken_base_file_is_not_blamed_on_the_strategies(self, load: Load) -> None:
        text = refused(load, "a: [", STRATEGY)
        assert "strategies" not in text


class TestStrategies:
    def test_two_strategies_of_one_id_are_refused(self, load: Load) -> None:
        twice = STRATEGY + STRATEGY.replace("\nstrategies:\n", "")
        assert "strategies.yaml:8: strategies[1].id: expected a unique id, got 'one'" in refused(load, BTC, twice)

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("[BTC/USDT]", "BTC/USDT", "strategies[0].symbols: expected a list, got 'BTC/USDT'"),
            ("[BTC/USDT]", "[]", "expected at least 1 item"),
            (
                "[BTC/USDT]",
                "[ETH/USDT]",
                "expected a symbol that stands under `instruments` (BTC/USDT), got 'ETH/USDT'",
            ),
            ("[md.trades.*]", "md.trades.*", "strategies[0].events: expected a list"),
            ("[md.trades.*]", "[md.trade.*]", "strategies[0].events[0]: expected a topic"),
            ("{qty: 0.5}", "{qty: -1}", "strategies[0].params.qty: expected a quantity above 0"),
            ("{qty: 0.5}", "[1]", "strategies[0].params: expected keys and values"),
            ("strategies.samples.x.X", "X", "expected a dotted path"),
            ("class:", "klass:", "strategies[0].class: required key is missing"),
            ("id: one", "id: 'a b'", "expected a letter followed by letters, digits, _ or -"),
        ],
    )
    def test_a_wrong_entry_is_refused(self, load: Load, old: str, new: str, expected: str) -> None:
        assert expected in refused(load, BTC, STRATEGY.replace(old, new))

    def test_the_strategies_file_holds_strategies_alone(self, load: Load) -> None:
        text = refused(load, "", "risk: {per_order_usd_cap: 1000000}")
        assert "strategies.yaml:1: risk: unknown key; expected only `strategies`" in text

    def test_a_strategy_that_is_off_may_name_what_is_not_configured(self, load: Load) -> None:
        assert load("", STRATEGY + "    enabled: false\n").strategies[0].enabled is False

    def test_an_override_of_the_list_is_blamed_on_the_override(self, load: Load) -> None:
        text = refused(load, BTC, STRATEGY, overrides={"strategies": [{"id": "x"}]})
        assert "override: strategies[0].class: required key is missing" in text
        assert "strategies.yaml" not in text


class TestSecretsStayHidden:
    def test_values_of_secret_keys_never_stand_in_an_error(self, load: Load) -> None:
        base = "exchange:\n  api_key: [hush-1]\n  api_secrett: hush-2\nredis:\n  url: http://u:hush-3@h\n"
        text = refused(load, base, environ={"NJORD_EXCHANGE__API_SECRET__X": "hush-4"})
        assert "hush" not in text
        assert "exchange.api_key" in text

    def test_a_password_in_the_redis_address_is_masked_when_shown(self, load: Load) -> None:
        config = load("redis: {url: 'redis://user:hush@h:1/0'}")
        assert config.shown()["redis"]["url"] == "redis://***@h:1/0"
        assert "hush" not in repr(config)


class TestGates:
    @pytest.mark.parametrize(
        ("env", "gate", "live"),
        [
            ("live", "1", True),
            ("live", "true", False),
            ("live", " 1", False),
            ("live", None, False),
            ("paper", "1", False),
            ("backtest", "1", False),
        ],
    )
    def test_live_needs_the_configuration_and_the_gate(
        self, load: Load, env: str, gate: str | None, live: bool
    ) -> None:
        config = load(f"app: {{env: {env}}}")
        assert live_enabled(config, {} if gate is None else {"NJORD_ENABLE_LIVE": gate}) is live

    def test_a_gate_is_closed_unless_set_to_one(self) -> None:
        assert feature_enabled("METRICS", {"NJORD_ENABLE_METRICS": "1"})
        assert not feature_enabled("METRICS", {"NJORD_ENABLE_METRICS": "yes"})
        assert not feature_enabled("AUDIT", {})


class TestCatalogue:
    def test_every_key_has_a_meaning_and_stands_once(self) -> None:
        rows = catalogue()
        assert [row.key for row in rows if not row.meaning] == []
        assert len({row.key for row in rows}) == len(rows) > 40

    def test_every_shipped_key_is_in_the_catalogue(self) -> None:
        shipped = parse_yaml((ROOT / "config" / "base.yaml").read_text()).value
        keys = {row.key for row in catalogue()}
        for section, values in shipped.items():
            for key in {} if section == "instruments" else values:
                assert f"{section}.{key}" in keys

    def test_every_variable_of_the_catalogue_is_accepted(self, load: Load) -> None:
        defaults = Config().model_dump(mode="json")
        variables = [row for row in catalogue() if row.env and not row.key.startswith("exchange.api")]
        environ = {}
        for row in variables:
            section, key = row.key.split(".")
            environ[row.env] = str(defaults[section][key])
        assert load("", environ=environ) == load("")
