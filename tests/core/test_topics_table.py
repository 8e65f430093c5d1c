"""The one table of the fleet: complete wiring, one topic a contract, and no way to a venue around the risk engine."""

from __future__ import annotations

import inspect
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatchcase

import pytest

from apps import registry
from apps.md_ingest.main import SPEC as MD_INGEST
from core import contracts as c
from core import ids, topics
from core.daemons import DAEMONS
from core.errors import RejectedError
from core.instruments import Instrument, Instruments
from core.ledger import LOCAL_CONTRACTS
from core.topics import BY_CONTRACT, FLEET, TABLE, Delivery, row_of, topic_of
from execution import PaperVenue
from tests.support.contract_samples import SAMPLE_OF
from tests.support.topic_tables import LISTENER, SECOND, TWO_PRODUCERS, topic_table

ROWS = [row.template for row in TABLE]


def all_contracts() -> set[type[c.Contract]]:
    return {k for _, k in inspect.getmembers(c, inspect.isclass) if issubclass(k, c.Contract) and k is not c.Contract}


def test_every_contract_has_one_topic_or_is_local_to_its_daemon() -> None:
    assert len(BY_CONTRACT) == len(TABLE)
    said_by_all = {c.Alert}  # on the plain topic alerts.raised, by every daemon
    assert all_contracts() == set(BY_CONTRACT) | set(LOCAL_CONTRACTS.values()) | said_by_all
    assert not set(BY_CONTRACT) & set(LOCAL_CONTRACTS.values())


def test_every_producer_and_consumer_is_a_daemon_of_the_registry() -> None:
    daemons = [MD_INGEST.name, *(spec.name for spec in registry.BEHIND_THE_FEED)]
    assert tuple(daemons) == FLEET
    assert {name for row in TABLE for name in (*row.producers, *row.receivers)} <= set(daemons)


def test_every_daemon_behind_the_feed_has_something_to_listen_to() -> None:
    for name in FLEET[1:]:
        assert list(topics.consumed_by(name)), name
        assert [row for row in TABLE if name in row.producers], name


def test_who_produces_ledger_topics_keeps_a_ledger_and_nobody_else_does() -> None:
    ledgered = {spec.name for spec in (MD_INGEST, *registry.BEHIND_THE_FEED) if spec.ledgered}
    assert ledgered == {name for row in TABLE if row.delivery is Delivery.LEDGER for name in row.producers}


@pytest.mark.parametrize("row", TABLE, ids=ROWS)
def test_a_topic_name_leads_back_to_its_row_and_to_no_other(row: topics.Topic) -> None:
    name = topic_of(SAMPLE_OF[row.contract])
    assert row_of(name) is row
    assert [each for each in TABLE if fnmatchcase(name, each.pattern)] == [row]
    assert "{" not in name


@pytest.mark.parametrize("row", [row for row in TABLE if row.journal], ids=lambda row: row.template)
def test_a_journal_has_one_writer_and_a_name_that_is_a_file_name(row: topics.Topic) -> None:
    event = SAMPLE_OF[row.contract]
    streams = [row.journal_name(event, producer) for producer in row.producers]
    elsewhere = [other.journal_name(event, producer) for other in TABLE if other is not row for producer in FLEET]
    assert len(set(streams)) == len(row.producers)
    assert all(stream is not None and "/" not in stream for stream in streams)
    assert not set(streams) & set(elsewhere)


def test_every_producer_of_a_topic_but_the_first_journals_it_under_its_own_name() -> None:
    intents = topics.Topic(
        "strat.intent", c.OrderIntent, ("strategy_runner", "other"), (), Delivery.LEDGER, "strat.intent"
    )
    fills = topics.Topic("fills.new", c.FillEvent, ("paper_trader", "live"), (), Delivery.LEDGER, "fills.{symbol}")

    assert intents.journal_name(SAMPLE_OF[c.OrderIntent], "strategy_runner") == "strat.intent"
    assert intents.journal_name(SAMPLE_OF[c.OrderIntent], "other") == "strat.intent.other"
    assert fills.journal_name(SAMPLE_OF[c.FillEvent], "live") == "fills.BTCUSDT.live"


@pytest.mark.parametrize(
    ("producers", "consumers", "listeners", "named"),
    [
        ((), ("b",), (), "at least one producer"),
        (("a", "a"), (), (), "got a more than once"),
        (("a", "b"), ("b",), (), "got b more than once"),
        (("a",), ("b", "c"), ("c",), "got c more than once"),
    ],
    ids=["no producer", "twice", "to itself", "consumer and listener"],
)
def test_a_row_that_contradicts_itself_is_refused(
    producers: tuple[str, ...], consumers: tuple[str, ...], listeners: tuple[str, ...], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        topics.Topic("risk.state", c.RiskState, producers, consumers, Delivery.LEDGER, None, listeners)


def test_who_only_listens_by_the_table_of_daemons_is_a_listener_of_every_topic_that_it_receives() -> None:
    only_listen = {daemon.name for daemon in DAEMONS if daemon.only_listens}
    assert {name for row in TABLE for name in row.listeners} <= only_listen
    assert not {name for row in TABLE for name in (*row.producers, *row.consumers)} & only_listen


def test_a_stream_belongs_to_its_producer_and_whoever_receives_a_topic_reads_the_streams_of_all_its_producers() -> None:
    with topic_table(TWO_PRODUCERS):
        assert topics.upstreams_of("risk_engine") == (SECOND, "paper_trader", "strategy_runner")
        assert topics.upstreams_of(LISTENER) == (SECOND, "risk_engine", "strategy_runner")
        assert topics.consumers_of(SECOND) == ("risk_engine",)
        assert topics.consumers_of("strategy_runner") == ("paper_trader", "risk_engine")
        assert topics.consumers_of("risk_engine") == (SECOND, "paper_trader", "strategy_runner")


def test_a_daemon_that_consumes_anything_of_a_stream_is_no_mere_listener_to_it() -> None:
    decisions = replace(BY_CONTRACT[c.RiskDecision], listeners=("paper_trader", "audit"))
    with topic_table(tuple(decisions if row.contract is c.RiskDecision else row for row in TABLE)):
        assert topics.listeners_of("risk_engine") == ("audit",)


@pytest.mark.parametrize("topic", ["", "md", "md.trade.BTC/USDT", "risk", "orders", "strat.intents", "local.X"])
def test_an_unknown_topic_is_refused_with_those_known(topic: str) -> None:
    with pytest.raises(RejectedError, match=r"expected one of md\.trades"):
        row_of(topic)


def test_a_local_contract_has_no_topic() -> None:
    with pytest.raises(RejectedError, match="KillSwitchEvent has no topic"):
        topic_of(c.KillSwitchEvent(True, "x", 1))


def test_only_the_risk_engine_sends_orders_and_only_the_venue_takes_them() -> None:
    row = BY_CONTRACT[c.OrderEvent]
    assert (row.producers, row.consumers, row.delivery) == (("risk_engine",), ("paper_trader",), Delivery.LEDGER)
    takes_intents = [name for name in FLEET if BY_CONTRACT[c.OrderIntent] in topics.consumed_by(name)]
    assert takes_intents == ["risk_engine"]
    heard_by_venue = {row.contract for row in topics.consumed_by("paper_trader")}
    assert heard_by_venue == {c.TradeEvent, c.ClockTick, c.OrderEvent, c.OrderCancel}


def test_money_and_decisions_never_travel_as_what_may_be_lost() -> None:
    safe = {row.contract for row in TABLE if row.delivery is Delivery.LEDGER}
    assert safe == {
        c.OrderIntent, c.RiskDecision, c.RiskState, c.OrderEvent, c.OrderCancel, c.OrderUpdate, c.FillEvent,
    }  # fmt: skip


def venue_of(symbol: str) -> PaperVenue:
    """A venue that has seen one trade of the symbol."""
    grid = [Instrument(name, Decimal("0.01"), Decimal("0.01")) for name in ("BTC/USDT", "ETH/USDT")]
    venue = PaperVenue(Instruments(grid), "last_trade")
    list(venue.on_event(c.TradeEvent(symbol, 100.0, 1.0, "buy", 1)))
    return venue


def order_with(decision: c.RiskDecision | None, **changed: object) -> c.OrderEvent:
    plain = {"intent_id": "i-1", "symbol": "BTC/USDT", "order_id": ids.order_id("i-1"), "strategy_id": "s1"} | changed
    return c.OrderEvent(
        venue="paper",
        side="buy",
        type="market",
        qty=0.5,
        ts_accepted_ns=5,
        decision=decision,
        **plain,  # type: ignore[arg-type]
    )


def allowed(**changed: object) -> c.RiskDecision:
    plain = {"intent_id": "i-1", "allowed": True, "reason": "", "decision_id": ids.decision_id("i-1")} | changed
    return c.RiskDecision(caps={}, symbol="BTC/USDT", strategy_id="s1", **plain)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "order",
    [
        order_with(None),
        order_with(allowed(allowed=False, reason="halted")),
        order_with(allowed(intent_id="i-2")),
        order_with(allowed(decision_id="d-forged")),
        order_with(allowed(), order_id="o-forged"),
        order_with(allowed(), symbol="ETH/USDT"),
        order_with(allowed(), strategy_id="s2"),
    ],
    ids=["none", "denial", "of another intent", "forged id", "forged order", "other symbol", "other strategy"],
)
def test_the_venue_refuses_an_order_without_the_decision_that_allowed_it(order: c.OrderEvent) -> None:
    venue = venue_of(order.symbol)
    with pytest.raises(RejectedError, match="refused, NO_RISK_DECISION: expected "):
        venue.on_event(order)
    assert venue.position(order.symbol).qty == 0


def test_the_venue_takes_the_order_with_its_decision() -> None:
    (answer, *_) = venue_of("BTC/USDT").on_event(order_with(allowed()))
    assert isinstance(answer, c.OrderUpdate)
    assert answer.status == "open"
