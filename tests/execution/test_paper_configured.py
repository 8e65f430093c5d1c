"""The paper trader as the configuration describes it."""

from __future__ import annotations

from apps.paper_trader.main import build
from core import topics
from core.component import Durable
from core.config.model import Config
from core.config.schema import InstrumentConfig, PaperConfig
from tests.support.paper_orders import feed, fills, order, trade


def configured(paper: PaperConfig) -> Config:
    """A configuration with one instrument."""
    return Config(instruments={"BTC/USDT": InstrumentConfig(tick_size="0.01", lot_size="0.001")}, paper=paper)


def test_it_starts_with_its_cash_and_goes_by_the_name_of_its_topics() -> None:
    paper = build(configured(PaperConfig(starting_cash=5_000.0, fill_model="last_trade")))

    assert paper.account("USDT").equity == 5_000.0
    assert isinstance(paper, Durable)
    assert topics.BY_CONTRACT[type(fills(feed(paper, trade(100.0), order("buy", 1)))[0])].producers == (paper.name,)


def test_it_fills_by_the_model_named_and_takes_its_share() -> None:
    flow = build(configured(PaperConfig(fill_model="trade_flow", participation=0.25)))

    answers = feed(flow, trade(100.0, ts=1), order("buy", 1, ts=1), trade(101.0, qty=2.0, ts=2))

    assert [(fill.qty, fill.price) for fill in fills(answers)] == [(0.5, 101.0)]
