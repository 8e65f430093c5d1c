"""The live screen of an embedded session: prices, positions, orders, decisions with reasons, profit and loss."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.layout import Layout
from rich.measure import Measurement
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from apps.fleet.feed_health import in_words
from apps.fleet.session import Session
from apps.fleet.tracker import Tracker
from controller.event_formatting import number
from core.clock import NS_PER_S
from core.contracts import OrderUpdate, RiskDecision, TradingState
from core.instruments import Instruments
from execution.account import AccountSummary

WIDE: Final = 110  # columns from which there are two columns of panels
LOW: Final = 30  # rows below which head and foot go without a frame
CURVE_WIDTH: Final = 24  # closes in the little curve of a market, where there is room
CENTS: Final = 2
COIN_DIGITS: Final = 8
_IN_CENTS: Final = ("USD", "EUR", "GBP", "DAI")  # and what is named after them, such as USDT
_BARS: Final = "▁▂▃▄▅▆▇█"
_STATE_STYLE: Final = {TradingState.ACTIVE: "green", TradingState.REDUCING: "yellow", TradingState.HALTED: "bold red"}


def clock(ts_ns: int, form: str = "%H:%M:%S") -> str:
    """A moment in UTC."""
    return datetime.fromtimestamp(ts_ns / NS_PER_S, UTC).strftime(form) if ts_ns else "—"


def money(amount: float, currency: str) -> Text:
    """An amount of profit or loss, signed and coloured."""
    style = "green" if amount > 0 else "red" if amount < 0 else "dim"
    return Text(f"{amount:+,.{decimals(currency)}f}", style=style)


def decimals(currency: str) -> int:
    """The digits behind the point that people expect of a currency: two of dollars and the like, eight of coins."""
    return CENTS if any(name in currency for name in _IN_CENTS) else COIN_DIGITS


def profit(account: AccountSummary) -> float:
    """The profit or loss of an account after fees, open positions at their last price."""
    return account.realized_pnl + account.unrealized_pnl - account.fees_paid


def words(name: str) -> str:
    """A status as people write it."""
    return name.replace("_", " ")


class Curve:
    """The last closes as a little curve, as many of them as there is room for."""

    def __init__(self, closes: Sequence[float]) -> None:
        self._closes = closes

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(self._closes)[-min(CURVE_WIDTH, options.max_width) :]
        low, span = min(shown, default=0.0), max(shown, default=0.0) - min(shown, default=0.0)
        steps = [int((close - low) / span * (len(_BARS) - 1)) for close in shown] if span else []
        yield Text("".join(_BARS[step] for step in steps), style="cyan")

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, CURVE_WIDTH)


class Screen:
    """Draws a session."""

    def __init__(self, session: Session, tracker: Tracker, title: str) -> None:
        self._session = session
        self._tracker = tracker
        self._title = title
        self._instruments: Instruments = session.config.instruments_table()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        framed = (options.height or console.height) >= LOW
        frame = 3 if framed else 1
        width = options.max_width - (4 if framed else 0)
        layout, head, foot = Layout(), self._head(), self._foot(width)
        layout.split_column(
            Layout(Panel(head, box=box.ROUNDED, style="cyan") if framed else head, size=frame),
            Layout(name="body"),
            Layout(Panel(foot, box=box.ROUNDED) if framed else foot, size=frame),
        )
        markets = Layout(self._markets(), size=max(4, len(self._tracker.markets) + 3))
        positions = Layout(self._positions(), size=max(4, len(self._tracker.positions) + 3))
        decisions, orders = Layout(self._decisions()), Layout(self._orders())
        if options.max_width >= WIDE:
            layout["body"].split_row(Layout(name="left"), Layout(name="right"))
            layout["left"].split_column(markets, positions, Layout(self._fills()))
            layout["right"].split_column(decisions, orders)
        else:
            layout["body"].split_column(markets, positions, decisions, orders)
        yield layout

    def _head(self) -> RenderableType:
        tracker, progress = self._tracker, self._session.progress
        rate = progress.events / progress.elapsed_s if progress.elapsed_s > 0 else 0.0
        head = Table.grid(expand=True, padding=(0, 2, 0, 0))
        head.add_column(no_wrap=True, ratio=1)
        head.add_column(no_wrap=True)
        head.add_column(no_wrap=True)
        head.add_row(
            self._title_line(),
            Text.assemble(
                clock(tracker.now_ns, "%Y-%m-%d %H:%M:%S UTC"), "  ", (tracker.state, _STATE_STYLE[tracker.state])
            ),
            f"{progress.events:,} events  {rate:,.0f}/s",
        )
        return head

    def _title_line(self) -> Text:
        """The name of the run; while the kill switch is tripped, what trips it."""
        source = self._session.kill_switch
        if source:
            return Text.assemble(("KILL SWITCH ", "bold white on red"), (f" {source}", "bold red"))
        return Text.assemble(("Njord Quant ", "bold cyan"), ("paper ", "bold"), self._title)

    def _foot(self, width: int) -> RenderableType:
        """The accounts in a line; an amount that does not fit is dropped entirely, from the end."""
        accounts = self._session.accounts
        hint = Text("   Ctrl-C ends", style="dim")
        line = Text.assemble(("P&L", "bold"), no_wrap=True)
        for account in accounts:
            line.append_text(Text.assemble(" ", money(profit(account), account.currency), f" {account.currency} "))
        line.right_crop(1)
        for part in _account_parts(accounts[0]) if len(accounts) == 1 else ():
            if len(line) + len(part) + len(hint) > width:
                break
            line.append_text(part)
        return line.append_text(hint)

    def _markets(self) -> RenderableType:
        table = _table("=symbol", ">=last", ">=change", ">=trades", "1m closes")
        for symbol, market in sorted(self._tracker.markets.items()):
            change = (market.last / market.first - 1) * 100 if market.first else 0.0
            state = "" if market.state in ("live", "ended") else f" {market.state}"
            table.add_row(
                Text.assemble(symbol, (state, "yellow")),
                self._price(symbol, market.last) if market.trades else "—",
                Text(f"{change:+.2f}%", style="green" if change >= 0 else "red") if market.trades else "",
                f"{market.trades:,}",
                Curve(market.closes),
            )
        troubles = "  ".join(in_words(status) for status in self._tracker.health.troubled)
        return Panel(table, title="markets", subtitle=Text(troubles, style="yellow"), box=box.ROUNDED)

    def _positions(self) -> RenderableType:
        table = _table("=symbol", ">=position", ">=average", ">=realised", ">=open P&L", ">=fees")
        for symbol, snapshot in sorted(self._tracker.positions.items()):
            position = self._session.venue.position(symbol)
            market = self._tracker.markets.get(symbol)
            quote = self._instruments[symbol].quote
            open_pnl = position.unrealized_pnl(market.last) if market and market.last else 0.0
            table.add_row(
                symbol, f"{position.qty:+.8f}".rstrip("0").rstrip(".") if position.qty else "flat",
                self._price(symbol, position.avg_price) if position.qty else "—",
                money(position.realized_pnl, quote), money(open_pnl, quote),
                f"{snapshot.fees_paid:,.{decimals(quote)}f}",
            )  # fmt: skip
        return Panel(table, title="positions", box=box.ROUNDED)

    def _decisions(self) -> RenderableType:
        table = _table("=time", "strategy", "=intent", "decision*2")
        for decision in reversed(self._tracker.decisions):
            intent = self._tracker.intents.get(decision.intent_id)
            wish = f"{intent.side} {number(intent.qty)} {intent.symbol}" if intent else decision.symbol
            table.add_row(clock(decision.ts_decided_ns), decision.strategy_id, wish, verdict(decision))
        counts = self._tracker.counts
        title = f"risk decisions  {counts['allowed']} allowed, {counts['denied']} denied"
        return Panel(table, title=title, box=box.ROUNDED)

    def _orders(self) -> RenderableType:
        table = _table("=time", "order", ">=filled", ">=average", "=status")
        for update in reversed(self._tracker.orders):
            table.add_row(
                clock(update.ts_updated_ns), order_words(update), number(update.filled_qty),
                self._price(update.symbol, update.avg_price) if update.filled_qty else "—", words(update.status),
            )  # fmt: skip
        return Panel(table, title=f"orders  {self._tracker.counts['OrderEvent']}", box=box.ROUNDED)

    def _fills(self) -> RenderableType:
        table = _table("=time", "fill", ">=price", ">=fee", "=as")
        for fill in reversed(self._tracker.fills):
            trade, price = f"{fill.side} {number(fill.qty)} {fill.symbol}", self._price(fill.symbol, fill.price)
            fee = f"{fill.fee:,.{decimals(self._instruments[fill.symbol].quote)}f}"
            table.add_row(clock(fill.ts_fill_ns), trade, price, fee, fill.liquidity)
        return Panel(table, title=f"fills  {self._tracker.counts['FillEvent']}", box=box.ROUNDED)

    def _price(self, symbol: str, price: float) -> str:
        instrument = self._instruments.get(symbol)
        exponent = instrument.tick_size.as_tuple().exponent if instrument else -2
        return f"{price:,.{max(0, -int(exponent))}f}"


def _account_parts(account: AccountSummary) -> tuple[Text, ...]:
    """The amounts of an account, the most wanted first."""
    currency = account.currency
    digits = decimals(currency)
    return (
        Text.assemble("   equity ", f"{account.equity:,.{digits}f}"),
        Text.assemble("   fees ", f"{account.fees_paid:,.{digits}f}"),
        Text.assemble("   realised ", money(account.realized_pnl, currency)),
        Text.assemble("   unrealised ", money(account.unrealized_pnl, currency)),
        Text.assemble("   cash ", f"{account.cash:,.{digits}f}"),
    )


def order_words(update: OrderUpdate) -> str:
    """``buy 0.05 BTC/USDT @ 60,000`` or ``… market``."""
    price = f"@ {number(update.limit_price)}" if update.limit_price is not None else "market"
    return f"{update.side} {number(update.qty)} {update.symbol} {price}"


def verdict(decision: RiskDecision) -> Text:
    """The decision in a few words."""
    return Text("allowed", style="green") if decision.allowed else Text(decision.reason, style="red")


def _table(*columns: str) -> Table:
    """A bare table; ``>`` aligns a column right, ``=`` keeps its content whole when the screen is narrow, ``*2``
    gives it twice its share of the room that is left."""
    table = Table(box=None, expand=True, header_style="dim", pad_edge=False, collapse_padding=True)
    for column in columns:
        right, uncut = column.startswith(">"), "=" in column[:2]
        name, _, share = column.lstrip(">=").partition("*")
        ratio = None if uncut else int(share or 1)
        table.add_column(name, justify="right" if right else "left", no_wrap=True, ratio=ratio)
    return table
