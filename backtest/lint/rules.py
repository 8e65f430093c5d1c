"""Three tables of all lint rules. A rule looks at one thing and keeps silent when that is in order or unknown."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from backtest.lint import fills as lint_fills
from backtest.lint import market as lint_market
from backtest.lint import overfitting as lint_overfitting
from backtest.lint import trades as lint_trades
from backtest.lint import trials as lint_trials
from backtest.lint.case import Case
from backtest.lint.finding import Finding
from backtest.lint.search import Search

Rule = Callable[[Case], Iterator[Finding]]
SearchRule = Callable[[Search], Iterator[Finding]]

RULES: Final[tuple[Rule, ...]] = (
    lint_trials.sharpe_too_good,
    lint_trials.luck,
    lint_trades.few_trades,
    lint_trades.vague_win_rate,
    lint_trades.one_trade,
    lint_trades.one_day,
    lint_trades.one_month,
    lint_trades.one_regime,
    lint_trades.short_history,
    lint_trades.open_position,
    lint_trades.last_day,
    lint_fills.same_close,
    lint_fills.no_fees,
    lint_fills.no_slippage,
    lint_fills.touched_limits,
    lint_fills.large_orders,
    lint_fills.thin_profit,
    lint_fills.doubled_costs,
    lint_fills.borrowed_money,
    lint_fills.refused_orders,
    lint_market.always_in,
    lint_market.mostly_market,
    lint_market.gaps,
    lint_market.dead_bars,
    lint_market.repeated_bars,
    lint_market.spikes,
    lint_market.jumps,
    lint_market.early_bars,
    lint_market.warm_up,
)
"""On a result."""

CHOICE_RULES: Final[tuple[SearchRule, ...]] = (
    lint_overfitting.overfitted,
    lint_overfitting.snooped,
    lint_overfitting.no_better_than_holding,
    lint_trials.on_the_edge,
    lint_trials.lonely_peak,
)
"""On the search that a result's parameters came from."""

SEARCH_RULES: Final[tuple[SearchRule, ...]] = (
    lint_overfitting.none_gained,
    lint_overfitting.luck_of_the_best,
    *CHOICE_RULES,
    lint_overfitting.returns_missing,
)
"""On a whole search; of a result, rules of its own say the same."""
