"""The live screen at the sizes people have: what matters most is whole, and nothing is cut in the middle of a word."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from apps.fleet.session import Session, run_session
from apps.fleet.summary import Outcome, print_outcome
from apps.fleet.tracker import Tracker
from apps.fleet.trust import Check
from apps.fleet.view import Screen, order_words
from apps.md_ingest.source import open_offline
from core.contracts import DenialCode, OrderUpdate, RiskDecision, TradingState
from tests.support.fleet_config import config_in

SIZES = [(80, 24), (100, 30), (120, 40), (200, 60)]
REASON = "PER_ORDER_CAP: notional=1250.00 cap=1000.00"


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[Session, Tracker]:
    """A session of twelve minutes with fills, and a denial as its last decision."""
    config = config_in(tmp_path_factory.mktemp("run"))
    tracker = Tracker()
    session = Session(config, open_offline("synthetic:42:12", config), tracker.observe, durable=False)
    run_session(session)
    last = tracker.decisions[-1]
    tracker.decisions.append(
        RiskDecision("i-x", False, REASON, {}, "d-x", DenialCode.PER_ORDER_CAP, last.strategy_id, last.symbol, 1)
    )
    tracker.state = TradingState.HALTED
    return session, tracker


def drawn(ended: tuple[Session, Tracker], width: int, height: int) -> list[str]:
    out = StringIO()
    console = Console(file=out, width=width, height=height, color_system=None, force_terminal=True)
    console.print(Screen(*ended, "synthetic:42:12"))
    return [line for line in out.getvalue().splitlines() if line]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_whether_trading_is_halted_is_seen_at_every_size(
    ended: tuple[Session, Tracker], width: int, height: int
) -> None:
    lines = drawn(ended, width, height)

    assert len(lines) == height
    assert "HALTED" in "".join(lines[:3])


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_foot_names_whole_amounts_and_how_to_end(ended: tuple[Session, Tracker], width: int, height: int) -> None:
    foot = "".join(drawn(ended, width, height)[-3:])

    assert "P&L" in foot
    assert "Ctrl-C ends" in foot
    for name in ("cash", "equity", "fees"):
        assert name not in foot or any(c.isdigit() for c in foot.partition(name)[2].split()[0])
    assert "equity" in foot or width < 120


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_decisions_and_orders_are_seen_with_their_outcome(
    ended: tuple[Session, Tracker], width: int, height: int
) -> None:
    text = "\n".join(drawn(ended, width, height))

    assert "PER_ORDER_CAP" in text
    assert "filled" in text.partition("orders")[2].replace("filled    average", "")
    assert REASON in text or width < 200


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_amounts_are_never_cut(ended: tuple[Session, Tracker], width: int, height: int) -> None:
    lines = drawn(ended, width, height)
    rows = [line for line in lines if "/USDT" in line and ("flat" in line or "+0.00" in line)]

    assert rows
    assert not [row for row in rows if "…" in row.split("│")[1]]


def test_a_limit_price_is_shown_to_its_last_digit() -> None:
    update = OrderUpdate(
        "o", "i", "s", "paper", "BTC/USDT", "buy", "limit", 0.05, 60_123.45, "open", 0.0, 0.0, 1
    )  # fmt: skip

    assert order_words(update) == "buy 0.05 BTC/USDT @ 60,123.45"


def test_the_result_is_folded_between_words_on_a_terminal_and_one_line_in_a_file(
    ended: tuple[Session, Tracker], tmp_path: Path
) -> None:
    outcome = Outcome(*ended, tmp_path, (Check("data", "PASS", "all of it"),))

    assert "\n; " not in printed(outcome, terminal=True)
    assert max(map(len, printed(outcome, terminal=True).splitlines()[:4])) <= 80
    assert "Done. " in printed(outcome, terminal=False).splitlines()[1]
    assert printed(outcome, terminal=False).splitlines()[1].endswith("/s).")


def printed(outcome: Outcome, *, terminal: bool) -> str:
    out = StringIO()
    print_outcome(outcome, Console(file=out, width=80, color_system=None, force_terminal=terminal))
    return out.getvalue()
