"""A recorded session, replayed out of its own journals, does the same again: to the byte, and so to the cent."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from backtest.parity.compare import Comparison, compare, session_event_log
from backtest.parity.session_replay import Replay, replay_session
from core.contracts import TradeEvent
from core.errors import ConfigError
from core.market.synthetic import SyntheticMarket
from tests.conftest import ROOT
from tests.support import captures
from tests.support.backtests.parity_sessions import (
    Recorded,
    configured,
    contents,
    late_and_lost,
    ledgers_of,
    pulling_the_switch,
    recorded,
    shipped,
)


def replayed(run: Recorded, into: Path) -> tuple[Replay, Comparison]:
    again = replay_session(run.folder, run.config, into)
    return again, compare(session_event_log(run.folder, run.config), again.event_log())


def assert_the_same(run: Recorded, into: Path) -> Comparison:
    again, found = replayed(run, into)
    assert again.strayed == ()
    assert found.differences == ()
    assert found.equal
    assert ledgers_of(into) == ledgers_of(run.folder)
    assert found.volume_a.fills > 20
    return found


def test_a_synthetic_session_is_replayed_to_the_byte_and_its_folder_is_not_touched(tmp_path: Path) -> None:
    run = recorded(tmp_path)
    before = contents(run.folder)

    found = assert_the_same(run, tmp_path / "again")

    assert contents(run.folder) == before
    account = run.session.venue.account()
    equity = Decimal(repr(account.equity)) - Decimal(repr(run.config.paper.starting_cash))
    assert abs(found.pnl_a["USDT"] - equity) < Decimal("1E-8"), "the venue counts in floats at its border"
    assert found.pnl_a == found.pnl_b


@pytest.mark.full
def test_the_recorded_captures_of_both_symbols_are_replayed_to_the_byte(recorded_data: Path, tmp_path: Path) -> None:
    run = recorded(tmp_path, captures.feed_of(captures.recorded(recorded_data)))

    found = assert_the_same(run, tmp_path / "again")

    assert {history.intent.symbol for history in session_event_log(run.folder, run.config).histories} == set(
        captures.SYMBOLS
    )
    assert found.volume_a.fills > 1_000
    assert found.volume_a.denied > 0


@pytest.mark.full
@pytest.mark.parametrize("feed", ["synthetic:7:45", "synthetic:11:30"])
def test_the_shipped_strategies_on_trades_and_on_bars_are_replayed_to_the_byte(feed: str, tmp_path: Path) -> None:
    assert_the_same(shipped(tmp_path, ROOT, feed), tmp_path / "again")


@pytest.mark.full
@pytest.mark.parametrize(("after", "denials"), [(1, 1), (10, 5), (37, 12)])
def test_the_kill_switch_in_the_middle_of_a_session_is_replayed_where_it_was_pulled(
    after: int, denials: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.fleet.session.CHECK_EVERY_S", 0.0)  # at every 32nd event, however fast the machine is
    switch = configured(tmp_path).kill_switch_file

    run = recorded(tmp_path, observer=pulling_the_switch(switch, after, denials))
    assert run.session.interventions == 2

    again, found = replayed(run, tmp_path / "again")

    assert again.interventions == 2
    assert found.differences == ()
    assert ledgers_of(tmp_path / "again") == ledgers_of(run.folder)
    reasons = [s.decision.reason for s in session_event_log(run.folder, run.config).histories if s.decision is not None]
    assert reasons.count("halted") >= denials


@pytest.mark.full
def test_trades_that_came_late_or_never_are_replayed_with_the_clock_that_waited_for_them(tmp_path: Path) -> None:
    events = list(late_and_lost(4, tmp_path))
    run = recorded(tmp_path, events)

    assert_the_same(run, tmp_path / "again")

    tally = run.session.source.ingest.tallies()
    assert tally.gaps > 0
    lines = (run.folder / "journals" / "md.trades.BTCUSDT.ndjson").read_text().splitlines()
    receipts = [json.loads(line)["ts_recv_ns"] for line in lines]
    assert receipts != sorted(receipts), "some waited for others"


def test_a_session_that_was_cut_short_is_replayed_as_far_as_it_came(tmp_path: Path) -> None:
    market = SyntheticMarket(9, configured(tmp_path).instruments_table(), ("BTC/USDT", "ETH/USDT"))
    run = recorded(tmp_path, islice(market.events(), 3_000))

    assert_the_same(run, tmp_path / "again")


def test_an_order_of_events_that_is_not_known_is_told(tmp_path: Path) -> None:
    """A feed that counts its receipts wrongly: the replay says what it cannot know instead of pretending."""
    market = SyntheticMarket(9, configured(tmp_path).instruments_table(), ("BTC/USDT",))
    events = [e for e in islice(market.events(), 2_000) if isinstance(e, TradeEvent)]
    latest = events[-1].ts
    run = recorded(tmp_path, [replace(e, ts_recv_ns=latest - n) for n, e in enumerate(events)])

    again, _ = replayed(run, tmp_path / "again")

    assert again.strayed == ("md.trades.BTCUSDT",)
    assert "not wholly known" in again.event_log().remarks[0]


def test_a_folder_that_is_no_session_and_another_configuration_are_refused_in_words(tmp_path: Path) -> None:
    run = recorded(tmp_path, "synthetic:1:1")
    with pytest.raises(ConfigError, match=r"expected the folder of a session with journals/ and ledgers/"):
        replay_session(tmp_path, run.config, tmp_path / "again")
    others = run.config.model_copy(update={"instruments": {}, "strategies": ()})
    with pytest.raises(ConfigError, match=r"expected md\.trades\.\* of configured symbols .*--config-root"):
        replay_session(run.folder, others, tmp_path / "again")
