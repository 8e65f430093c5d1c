"""Two runs that differ in one thing: it is put into its class, and the parts of the money add up to the last digit."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backtest.contracts import BacktestConfig, FillTiming
from backtest.data.trade_tape import from_trade_journals
from backtest.engine import BacktestEngine
from backtest.engine.slots import Entrant
from backtest.parity.compare import (
    MARK,
    PARTS,
    Comparison,
    EventLog,
    Kind,
    compare,
    event_log_of,
    read_event_log,
    session_event_log,
)
from backtest.parity.market import RecordedMarket, SessionFiles
from backtest.parity.session_replay import replay_session
from core import ids
from core.contracts import Contract, FillEvent, OrderEvent, OrderIntent, OrderUpdate, RiskDecision
from core.errors import ConfigError
from core.ledger import ledger
from strategies.samples.trendline_break import TrendlineBreak
from tests.support.backtests.parity_sessions import Recorded, configured, recorded

T0 = 1_700_000_000_000_000_000
MS = 1_000_000


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    return recorded(tmp_path_factory.mktemp("base"))


def event_log(run: Recorded) -> EventLog:
    return session_event_log(run.folder, run.config)


def assert_adds_up(found: Comparison) -> None:
    for currency in found.pnl_a.keys() | found.pnl_b.keys():
        assert list(found.parts[currency]) == list(PARTS)
        total = sum(found.parts[currency].values(), Decimal(0))
        assert total == found.pnl_b.get(currency, Decimal(0)) - found.pnl_a.get(currency, Decimal(0))
        for kind in Kind:
            told = [each.pnl for each in found.differences if each.kind is kind and each.currency == currency]
            assert sum(told, Decimal(0)) == found.parts[currency][kind.value]


PLANTED: dict[str, tuple[Kind, dict[str, Any]]] = {
    "another parameter": (Kind.SIGNAL, {"params": {"lookback_periods": 9}}),
    "another cap": (Kind.DECISION, {"risk__per_order_usd_cap": 1_500.0}),
    "another participation": (Kind.FILL, {"paper__participation": 0.25}),
    "another fee": (Kind.FEE, {"taker_fee": Decimal("0.002")}),
}


@pytest.mark.parametrize("change", PLANTED)
def test_the_first_difference_is_of_the_class_of_what_was_changed(change: str, base: Recorded, tmp_path: Path) -> None:
    kind, changed = PLANTED[change]

    found = compare(event_log(base), event_log(recorded(tmp_path, **changed)))

    assert not found.equal
    assert found.differences[0].kind is kind
    assert_adds_up(found)


@pytest.mark.full
@pytest.mark.parametrize("change", PLANTED)
def test_a_replay_under_another_configuration_is_that_configurations_session(
    change: str, base: Recorded, tmp_path: Path
) -> None:
    _, changed = PLANTED[change]
    other = recorded(tmp_path / "other", **changed)

    again = replay_session(base.folder, other.config, tmp_path / "again").event_log()

    assert compare(event_log(other), again).equal
    assert compare(event_log(base), again).counts == compare(event_log(base), event_log(other)).counts


def test_another_fee_is_nothing_but_fees(base: Recorded, tmp_path: Path) -> None:
    found = compare(event_log(base), event_log(recorded(tmp_path, taker_fee=Decimal("0.0012"))))

    assert {each.kind for each in found.differences} == {Kind.FEE}
    taken = [f for f in event_log(base).fills if f.liquidity == "taker"]
    assert len(taken) > 50
    parts = found.parts["USDT"]
    assert parts["fee"] == found.pnl_b["USDT"] - found.pnl_a["USDT"] < 0
    assert parts["fill"] == parts[MARK] == 0
    first = found.differences[0]
    assert (first.a.split("(")[1], first.b.split("(")[1]) == ("10 bps)", "12 bps)")


def test_another_cap_names_the_numbers_that_the_decision_was_taken_on(base: Recorded, tmp_path: Path) -> None:
    found = compare(event_log(base), event_log(recorded(tmp_path, risk__per_order_usd_cap=1_500.0)))

    first = found.differences[0]
    assert first.a == "allowed"
    assert first.b.startswith("PER_ORDER_CAP: notional=")
    assert first.detail.startswith("per_order_usd_cap 5000 → 1500")


def test_a_cap_that_changes_no_decision_is_a_remark(base: Recorded, tmp_path: Path) -> None:
    found = compare(event_log(base), event_log(recorded(tmp_path, risk__daily_loss_usd_cap=900_000.0)))

    assert found.equal
    assert any(each.endswith("on another cap: daily_loss_usd_cap 1000 → 900000") for each in found.remarks)


def later(shift_ns: int, message: Contract) -> Contract:
    """The message at another time, with the ids that it has there."""
    if isinstance(message, OrderIntent):
        return replace(message, ts_local_ns=message.ts_local_ns + shift_ns, intent_id=renamed(message.intent_id))
    if isinstance(message, RiskDecision):
        intent = renamed(message.intent_id)
        return replace(message, ts_decided_ns=message.ts_decided_ns + shift_ns, intent_id=intent)
    if isinstance(message, OrderEvent):
        intent = renamed(message.intent_id)
        return replace(
            message, ts_accepted_ns=message.ts_accepted_ns + shift_ns, intent_id=intent, order_id=ids.order_id(intent)
        )
    if isinstance(message, FillEvent | OrderUpdate):
        intent = renamed(message.intent_id)
        return replace(message, intent_id=intent, order_id=ids.order_id(intent))
    return message


def renamed(intent_id: str) -> str:
    return ids.intent_id("elsewhere", intent_id, 0)


def messages_of(run: Recorded) -> list[Contract]:
    return [
        event
        for name in ("strategy_runner", "risk_engine", "paper_trader")
        for transaction in ledger.read(run.folder / "ledgers" / f"{name}.ndjson")
        for _, event in transaction.events
    ]


@pytest.mark.parametrize("shift_ms", [-40, 3, 250])
def test_the_same_intents_a_little_later_under_other_ids_are_timing(base: Recorded, shift_ms: int) -> None:
    marks = RecordedMarket(SessionFiles.at(base.folder), base.config.instruments_table()).last_prices()
    kept = [each for each in messages_of(base) if type(each).__name__ != "OrderCancel"]
    ours = event_log_of("recorded", kept, marks)
    theirs = event_log_of("shifted", [later(shift_ms * MS, each) for each in kept], marks)

    found = compare(ours, theirs)

    assert {each.kind for each in found.differences} == {Kind.TIMING}
    assert len(found.differences) == len(ours.histories)
    assert {each.b for each in found.differences} == {f"{shift_ms:+,.3f} ms"}
    assert found.pnl_a == found.pnl_b
    assert_adds_up(found)


def test_further_apart_than_the_tolerance_they_are_other_signals(base: Recorded) -> None:
    kept = [each for each in messages_of(base) if type(each).__name__ != "OrderCancel"]
    shifted = event_log_of("shifted", [later(30 * 60 * 1_000 * MS, each) for each in kept], {})

    found = compare(event_log_of("recorded", kept, {}), shifted)

    assert {each.kind for each in found.differences} == {Kind.SIGNAL}
    assert len(found.differences) == 2 * len(shifted.histories)
    assert_adds_up(found)


def test_one_intent_left_out_is_one_signal_and_does_not_shift_the_others(base: Recorded) -> None:
    everything = messages_of(base)
    gone = next(e for e in everything if isinstance(e, FillEvent)).intent_id
    rest = [e for e in everything if getattr(e, "intent_id", "") != gone]

    found = compare(event_log_of("all", everything, {}), event_log_of("one less", rest, {}))

    assert [(each.kind, each.subject, each.b) for each in found.differences] == [(Kind.SIGNAL, "intent", "—")]
    assert_adds_up(found)


def test_where_positions_differ_at_the_end_what_the_market_did_since_is_mark_to_market() -> None:
    one = history("i-1", 0, [(2.0, 100.0)])
    two = history("i-2", 5, [(1.0, 110.0)])

    found = compare(event_log_of("a", [*one, *two], {"BTC/USDT": 150.0}), event_log_of("b", one, {"BTC/USDT": 150.0}))

    parts = found.parts["USDT"]
    assert found.pnl_b["USDT"] - found.pnl_a["USDT"] == Decimal("-39.9")
    assert parts[MARK] == -40, "one coin less while the price went from 110 to 150"
    assert parts["signal"] == Decimal("0.1"), "and its fee was not paid"
    assert_adds_up(found)


def history(intent_id: str, at: int, filled: list[tuple[float, float]], qty: float = 5.0) -> list[Contract]:
    intent = OrderIntent("s", "BTC/USDT", "buy", "market", qty, None, intent_id, T0 + at)
    decision = RiskDecision(intent_id, True, "", {}, f"d{intent_id}", None, "s", "BTC/USDT", T0 + at)
    order = OrderEvent(
        intent_id, "paper", "BTC/USDT", "buy", "market", qty, T0 + at, None, f"o{intent_id}", "s", decision
    )
    fills = [
        FillEvent(f"o{intent_id}", "BTC/USDT", "buy", size, price, 0.1, T0 + at + n, f"f{n}", intent_id, "s")
        for n, (size, price) in enumerate(filled)
    ]
    return [intent, decision, order, *fills]


FILL = st.tuples(st.integers(1, 500).map(lambda n: n / 100), st.integers(100, 90_000).map(lambda n: n / 10))
STORY = st.tuples(st.integers(0, 40), st.integers(0, 20_000), st.lists(FILL, max_size=4), st.sampled_from([1.0, 2.5]))
RUN = st.lists(STORY, max_size=12, unique_by=lambda each: each[0])


def made(name: str, histories: list[tuple[int, int, list[tuple[float, float]], float]], mark: float) -> EventLog:
    messages: list[Contract] = []
    for number, at, fills, qty in histories:
        messages += history(f"i-{number}", at * MS, fills, qty)
    return event_log_of(name, messages, {"BTC/USDT": mark})


@given(RUN, RUN, st.floats(1, 1e5), st.floats(1, 1e5))
def test_whatever_two_runs_did_the_parts_add_up_and_there_and_back_is_nothing(
    a: list[Any], b: list[Any], mark_a: float, mark_b: float
) -> None:
    ours, theirs = made("a", a, mark_a), made("b", b, mark_b)

    there, back = compare(ours, theirs), compare(theirs, ours)

    assert_adds_up(there)
    assert_adds_up(back)
    assert compare(ours, ours).equal
    for currency, parts in there.parts.items():
        assert sum(parts.values()) == -sum(back.parts[currency].values())
    if a == b:
        assert not there.differences


# --- results on file


@pytest.fixture(scope="module")
def full_part(tmp_path_factory: pytest.TempPathFactory) -> Recorded:
    """A session in which the venue takes part with everything that trades."""
    return recorded(tmp_path_factory.mktemp("full_part"), paper__participation=1.0)


def result_of(run: Recorded, file: Path, **changed: Any) -> Path:
    """A backtest of one strategy over a session's trades, saved as the runner saves it."""
    config = BacktestConfig(
        **{
            "symbol": "BTC/USDT", "strategy_id": "btc_market", "start_ts": 0, "end_ts": 0, "initial_capital": 100_000.0,
            "commission_rate": 0.001, "slippage_bps": 0.0, "fill_timing": FillTiming.NEXT_TRADE,
            "fill_model": "trade_flow", **changed,
        }
    )  # fmt: skip
    entry = next(each for each in run.config.strategies if each.id == "btc_market")
    entrants = [Entrant(entry.id, TrendlineBreak, entry.symbols, dict(entry.params), entry.events)]
    tape = from_trade_journals(run.folder / "journals", "BTC/USDT")
    result = BacktestEngine(config, entrants, [tape], run.config.instruments_table()).run()
    file.write_text(json.dumps(result.to_dict()) + "\n")
    return file


def only(run: Recorded, into: Path) -> Recorded:
    """A session of one strategy alone on the same feed."""
    config = configured(into, paper__participation=1.0)
    alone = config.model_copy(update={"strategies": tuple(e for e in config.strategies if e.id == "btc_market")})
    alone._root = config.root
    replay_session(run.folder, alone, into / "alone")
    return Recorded(into / "alone", alone, run.session)


def test_a_saved_result_is_held_against_a_session_and_against_itself(full_part: Recorded, tmp_path: Path) -> None:
    file = result_of(full_part, tmp_path / "result_one.json")
    session = event_log(full_part)
    alone = EventLog(
        session.name, tuple(s for s in session.histories if s.intent.strategy_id == "btc_market"), session.marks
    )

    saved = read_event_log(file, full_part.config)
    found = compare(alone, saved)

    assert compare(saved, read_event_log(file, full_part.config)).equal
    assert not saved.complete
    assert found.volume_b.fills > 20
    assert_adds_up(found)
    assert not [each for each in found.remarks if "it states" in each], "the equity curve ends where the fills do"


def test_two_saved_results_that_differ_in_their_commission_differ_in_fees(base: Recorded, tmp_path: Path) -> None:
    cheap = read_event_log(result_of(base, tmp_path / "result_cheap.json"), base.config)
    dear = read_event_log(result_of(base, tmp_path / "result_dear.json", commission_rate=0.0015), base.config)

    found = compare(cheap, dear)

    assert {each.kind for each in found.differences} == {Kind.FEE}
    assert found.parts["USDT"]["fee"] < 0
    assert_adds_up(found)


def test_two_saved_results_that_differ_in_their_latency_differ_in_timing(base: Recorded, tmp_path: Path) -> None:
    prompt = read_event_log(result_of(base, tmp_path / "result_prompt.json"), base.config)
    late = read_event_log(result_of(base, tmp_path / "result_late.json", latency_ns=250 * MS), base.config)

    found = compare(prompt, late)

    first = found.differences[0]
    assert (first.kind, first.subject, first.b) == (Kind.TIMING, "at the venue", "+250.000 ms")
    assert found.parts["USDT"]["timing"] != 0
    assert found.counts["fill"] == found.counts["fee"] == 0
    assert any(each.detail.startswith("filled 0.0") for each in found.differences), "with what came of it"
    assert found.b.endswith(
        "result_late.json, fills at next_trade by trade_flow with 100 % of each trade, 250 ms later"
    )
    assert_adds_up(found)


def test_a_file_that_is_no_result_is_refused_in_words(base: Recorded, tmp_path: Path) -> None:
    file = tmp_path / "notes.json"
    file.write_text('{"strategy_id": "x"}')
    with pytest.raises(ConfigError, match=r"expected the folder of a session or a result of `python -m backtest"):
        read_event_log(file, base.config)
