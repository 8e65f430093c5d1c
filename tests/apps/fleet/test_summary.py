"""The summary of a session: money by currency, the kill switch, the feed's counts and books that never came."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from apps.fleet.session import Session, in_folder, run_session
from apps.fleet.summary import Outcome, as_json, print_outcome
from apps.fleet.tracker import Tracker
from apps.fleet.trust import Check, order_book_check
from apps.fleet.view import Screen
from apps.md_ingest.source import MarketSource, open_offline
from core import kill_switch
from core.component import Message
from core.config import Config
from core.contracts import FeedStatus, FillEvent
from core.position_ledger import PositionLedger
from tests.support.fleet_config import config_in

GRID = {"min_notional": "0.0001", "maker_fee": "0.001", "taker_fee": "0.001"}
INSTRUMENTS = {
    "BTC/USDT": {"tick_size": "0.01", "lot_size": "0.00001", **GRID},
    "ETH/BTC": {"tick_size": "0.00001", "lot_size": "0.0001", **GRID},
}
FILLS = (
    FillEvent("o1", "BTC/USDT", "buy", 0.5, 60_000.0, 30.0, 1, fill_id="f1"),
    FillEvent("o2", "BTC/USDT", "sell", 0.5, 60_100.0, 30.05, 2, fill_id="f2"),
    FillEvent("o3", "ETH/BTC", "buy", 2.0, 0.05, 0.0001, 3, fill_id="f3"),
    FillEvent("o4", "ETH/BTC", "sell", 2.0, 0.04, 0.00008, 4, fill_id="f4"),
    FillEvent("o5", "ETH/BTC", "buy", 1.0, 0.04, 0.00004, 5, fill_id="f5"),
)
CHECKS = (Check("data", "PASS", "all of it"),)
PROFIT = {
    "USDT": Fraction("0.5") * 100 - Fraction("60.05"),
    "BTC": 2 * (Fraction("0.04") - Fraction("0.05")) - Fraction("0.00022"),
}


def two_currencies(folder: Path) -> Config:
    config = Config.model_validate(
        {"instruments": INSTRUMENTS, "strategies": [], "risk": {"kill_switch_file": str(folder / "killswitch")}}
    )
    return in_folder(config, folder)


def traded(folder: Path, config: Config, symbols: tuple[str, ...], feed: str = "synthetic:42:1") -> Outcome:
    """A session whose venue has filled what ``FILLS`` says of the symbols."""
    tracker = Tracker()
    session = Session(config, open_offline(feed, config, symbols), tracker.observe, durable=False)
    fills = [fill for fill in FILLS if fill.symbol in symbols]
    positions = PositionLedger(config.instruments_table())
    for fill in fills:
        positions.apply(fill)
    session.venue.load_snapshot({**session.venue.snapshot(), "positions": positions.snapshot()})
    tracker.observe([Message("fills.new", fill, "paper_trader") for fill in fills])
    return Outcome(session, tracker, folder, CHECKS)


def printed(outcome: Outcome) -> str:
    out = StringIO()
    print_outcome(outcome, Console(file=out, width=200, color_system=None, force_terminal=False))
    return out.getvalue()


def screen(outcome: Outcome, width: int = 120) -> str:
    out = StringIO()
    console = Console(file=out, width=width, height=40, color_system=None, force_terminal=True)
    console.print(Screen(outcome.session, outcome.tracker, "synthetic"))
    return out.getvalue()


# ---- several quote currencies


def test_every_quote_currency_has_its_own_fills_and_money_and_no_two_are_added_up(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT", "ETH/BTC"))

    text = printed(outcome)

    assert "-10.05 USDT after fees from 2 fills; -0.02022000 BTC after fees from 3 fills; " in text


def test_scripts_get_an_account_for_each_currency_and_no_sum_over_them(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT", "ETH/BTC"))

    plain = as_json(outcome)

    assert {a["currency"]: Fraction(str(a["pnl"])) for a in plain["accounts"]} == PROFIT
    assert {a["currency"]: a["fills"] for a in plain["accounts"]} == {"USDT": 2, "BTC": 3}
    assert (plain["currency"], plain["pnl"], plain["fees"], plain["equity"]) == (None, None, None, None)
    assert plain["fills"] == 5


def test_of_one_currency_the_amounts_stand_at_the_top_as_well(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("ETH/BTC",))

    plain = as_json(outcome)

    assert (plain["currency"], Fraction(str(plain["pnl"]))) == ("BTC", PROFIT["BTC"])
    assert "USDT" not in printed(outcome).partition("market events")[0]


def test_the_live_screen_shows_the_profit_in_each_currency(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT", "ETH/BTC"))

    foot = screen(outcome).splitlines()[-2]

    assert "-10.05 USDT" in foot
    assert "-0.02022000 BTC" in foot


# ---- the kill switch


@pytest.fixture
def halted(tmp_path: Path) -> Outcome:
    """A session that ran while the kill switch was tripped."""
    config = config_in(tmp_path)
    kill_switch.trip_file(config.kill_switch_file)
    tracker = Tracker()
    session = Session(config, open_offline("synthetic:42:1", config), tracker.observe, durable=False)
    run_session(session)
    return Outcome(session, tracker, tmp_path, CHECKS)


def test_a_tripped_kill_switch_is_on_every_screen_with_what_trips_it(halted: Outcome) -> None:
    source = f"file {halted.session.config.kill_switch_file}"

    assert f"The kill switch is tripped by {source}: nothing is traded." in printed(halted)
    assert as_json(halted)["kill_switch"] == {"tripped_by": source, "changes": 1}
    for width in (80, 120, 200):
        assert "KILL SWITCH" in screen(halted, width).splitlines()[1]


def test_without_a_kill_switch_no_screen_speaks_of_one(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT",))

    assert "kill switch" not in (printed(outcome) + screen(outcome)).lower()


# ---- order books


def book_status(state: Any, detail: str = "") -> Message:
    return Message("md.status.BTC/USDT", FeedStatus("BTC/USDT", "binance", state, 1, detail, "book"), "md_ingest")


def test_a_book_that_never_came_though_updates_did_fails_with_the_reason(tmp_path: Path) -> None:
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT",))
    outcome.tracker.observe([book_status("stale", "order book unavailable: 7 updates came and no snapshot")])

    check = order_book_check(outcome.session, outcome.tracker)

    assert (check.verdict, check.detail) == (
        "FAIL", "BTC/USDT: order book unavailable: 7 updates came and no snapshot",
    )  # fmt: skip


def test_a_book_that_came_back_passes(tmp_path: Path) -> None:
    config = two_currencies(tmp_path)
    tracker = Tracker()
    session = Session(config, open_offline("synthetic:42:1", config, ["BTC/USDT"]), tracker.observe, durable=False)
    run_session(session)
    tracker.observe([book_status("stale", "crossed"), book_status("live")])

    check = order_book_check(session, tracker)

    assert check.verdict == "PASS"
    assert check.detail.endswith("books of 1 symbol")


def test_input_without_order_books_is_told_and_is_no_failure(tmp_path: Path) -> None:
    config = two_currencies(tmp_path)
    tracker = Tracker()
    source = open_offline("synthetic:42:1", config, ["BTC/USDT"], channels=("trades",))
    session = Session(config, source, tracker.observe, durable=False)
    run_session(session)

    check = order_book_check(session, tracker)

    assert check.verdict == "SKIP"
    assert "none came for BTC/USDT" in check.detail


# ---- the feed's counts


def test_what_the_feed_counted_is_in_the_summary_and_nothing_is_said_of_zeros(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counters(self: MarketSource) -> Mapping[str, int]:
        return {"trades": 1_000, "reconnects": 3, "stale": 0, "back_fills": 1_200}

    monkeypatch.setattr(MarketSource, "counters", counters)
    outcome = traded(tmp_path, two_currencies(tmp_path), ("BTC/USDT",))

    assert "The feed counted: reconnects 3, back fills 1,200." in printed(outcome)
    assert as_json(outcome)["feed_counters"]["back_fills"] == 1_200
