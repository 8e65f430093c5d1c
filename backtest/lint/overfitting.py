"""Lint rules on a search: is its best set more than the luck of having tried so many.

The tests come from ``research.overfitting``; the thresholds are those of the papers, or the usual levels of
significance. Chance is drawn with a fixed seed: the same search is always told the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np

from backtest.lint.finding import Finding, Severity
from backtest.lint.search import Search
from backtest.metrics.formatting import number, percent
from backtest.metrics.returns import Floats
from backtest.sweep.results.overfitting import overfitting
from research.overfitting import reality_check, spa_test

_LEVEL: Final = 0.05  # the usual level of significance
_LOOSEST: Final = 0.10  # the loosest in use
_CONFIDENT: Final = 0.95
_WORTHLESS: Final = 0.5  # what choosing among sets without any worth gives, in both PBO and confidence
_SEED: Final = 0
_MOST_DRAWN: Final = 50_000_000  # sets times bootstrap samples: some seconds
_SAMPLES: Final = (200, 2_000)
_NEW_DATA: Final = "Take it as luck until data that nobody has looked at says otherwise."


def none_gained(search: Search) -> Iterator[Finding]:
    """Not one of the sets made money."""
    if "total_return_pct" not in search.table:
        return
    best = float(search.table["total_return_pct"].max())
    if best < 0:
        yield Finding(
            "none_gained",
            Severity.SERIOUS,
            f"None of the {search.sets:,} sets made money; the best return is {percent(best)}.",
            "Change the idea, not its parameters: a larger search only finds luckier losers.",
            best,
        )


def luck_of_the_best(search: Search) -> Iterator[Finding]:
    """The deflated Sharpe ratio of the best set below 0.95, as the sweep has worked it out from all trials ever made.

    Bailey and López de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 40 (2014), who ask for 95 %.
    """
    confidence, gained = (_of_chosen(search, metric) for metric in ("deflated_sharpe", "total_return_pct"))
    if confidence is None or confidence >= _CONFIDENT or (gained is not None and gained <= 0):
        return
    yield Finding(
        "luck",
        Severity.SERIOUS if confidence < _WORTHLESS else Severity.WARNING,
        f"After {search.trials:,} sets tried on this data, the confidence that the best one has any edge is "
        f"{percent(100 * confidence, decimals=0)} (deflated Sharpe ratio {confidence:.2f}); it takes 95%.",
        _NEW_DATA,
        confidence,
    )


def overfitted(search: Search) -> Iterator[Finding]:
    """The probability of backtest overfitting above 0.05; serious from 0.5 on, what blind choice gives.

    Bailey, Borwein, López de Prado and Zhu, "The Probability of Backtest Overfitting", Journal of Computational Finance
    20 (2017), who take over 0.05 from Neyman and Pearson as the customary bound.
    """
    pbo, loss = search.pbo, search.loss
    if pbo is None and search.judged is not None and (odds := overfitting(search.judged.T)) is not None:
        pbo, loss = odds.pbo, odds.probability_of_loss
    if pbo is None or pbo <= _LEVEL:
        return
    lost = "" if loss is None else f", and loses money there in {_in_100(loss)}"
    yield Finding(
        "overfitted",
        Severity.SERIOUS if pbo >= _WORTHLESS else Severity.WARNING,
        "The set that is best in one half of the time does no better than the middle of all sets in the other half in "
        f"{_in_100(pbo)} of 100 ways to halve it{lost} (probability of backtest overfitting {pbo:.2f}; blind choice "
        "gives 0.50).",
        "Do not trust the choice: vary less, or take the middle of a plateau instead of the best.",
        pbo,
    )


def snooped(search: Search) -> Iterator[Finding]:
    """The best of so many sets against holding nothing: a p-value above 0.05, serious above 0.10.

    Hansen, "A Test for Superior Predictive Ability", Journal of Business and Economic Statistics 23 (2005), decides,
    with each bootstrap sample studentised by itself, for sweeps keep few returns of many sets. White, "A Reality Check
    for Data Snooping", Econometrica 68 (2000), is told beside it: it weighs plain means, and poor sets blunt it.
    """
    returns = search.judged
    if returns is None or float(returns.mean(axis=0).max()) <= 0:
        return
    samples = _samples(returns)
    test = spa_test(returns, np.random.default_rng(_SEED), replicates=samples, restudentise=True)
    if test.p_value <= _LEVEL:
        return
    white = reality_check(returns, np.random.default_rng(_SEED), replicates=samples)
    tried = returns.shape[1]
    more = f"; {search.trials:,} were tried in all, which makes it worse" if search.trials > tried else ""
    yield Finding(
        "snooped",
        Severity.SERIOUS if test.p_value > _LOOSEST else Severity.WARNING,
        f"After trying {tried:,} sets, a best one as good as this is what luck alone gives in "
        f"{_in_100(test.p_value)} of 100 tries (against holding nothing: Hansen's SPA test {_p(test.p_value)}, "
        f"White's reality check {_p(white.p_value)}){more}.",
        _NEW_DATA,
        test.p_value,
    )


def no_better_than_holding(search: Search) -> Iterator[Finding]:
    """The best of so many sets against buying and holding: a p-value above 0.05.

    Hansen's test again. Every set is first scaled to the market's volatility, so that a small position is not held
    against a whole one: Modigliani and Modigliani, "Risk-Adjusted Performance", Journal of Portfolio Management 23
    (1997).
    """
    returns, market = search.judged, search.market
    if returns is None or market is None or not market.std() or not (moving := returns.std(axis=0) > 0).any():
        return
    traded = returns[:, moving]
    excess = traded * (market.std() / traded.std(axis=0)) - market[:, None]
    if float(excess.mean(axis=0).max()) <= 0:
        yield Finding(
            "no_better_than_holding",
            Severity.WARNING,
            f"At the same volatility, not one of the sets did better than buying {search.symbol} and holding it.",
            "Hold, or look for an idea that adds something to holding.",
            1.0,
        )
        return
    test = spa_test(excess, np.random.default_rng(_SEED), replicates=_samples(excess), restudentise=True)
    if test.p_value > _LEVEL:
        yield Finding(
            "no_better_than_holding",
            Severity.INFO,
            f"The best of {traded.shape[1]:,} sets does better than holding {search.symbol} at the same volatility, "
            f"but luck alone gives that in {_in_100(test.p_value)} of 100 tries (Hansen's SPA test "
            f"{_p(test.p_value)}).",
            "Compare it with holding on other data before paying for the trades.",
            test.p_value,
        )


def not_in_search(search: Search) -> Iterator[Finding]:
    """The result is of none of the sets that the search tried, so that the search says nothing about it."""
    if search.names:
        tried = f" of {search.strategy_id}" if search.strategy_id else ""
        yield Finding(
            "not_in_search",
            Severity.INFO,
            f"The sweep's {search.sets:,} sets{tried} do not have this one among them: what speaks against its best "
            "set was left out.",
            "Give the sweep that these parameters came from.",
            float(search.sets),
        )


def returns_missing(search: Search) -> Iterator[Finding]:
    """Nothing, or too little, was kept to tell luck from choice."""
    if search.judged is None:
        kept = 0 if search.returns is None else len(search.returns)
        returns_kept = f"only {kept} returns of each set" if kept else "no returns"
        yield Finding(
            "returns_missing",
            Severity.INFO,
            f"The sweep kept {returns_kept}: whether the best of its {search.sets:,} sets is luck cannot be tested.",
            "Sweep over more data, or keep shorter returns (--block 1h)." if kept else "Sweep once more with --pbo.",
            float(kept),
        )


def _of_chosen(search: Search, metric: str) -> float | None:
    """A metric of the set that was chosen; None where the table does not have it."""
    if search.row is None or metric not in search.table:
        return None
    value = float(search.table[metric].iloc[search.row])
    return value if np.isfinite(value) else None


def _samples(returns: Floats) -> int:
    """Bootstrap samples: fewer where there are very many sets."""
    fewest, most = _SAMPLES
    return min(most, max(fewest, _MOST_DRAWN // len(returns.T)))


def _in_100(share: float) -> str:
    return number(100 * share, 0)


def _p(value: float) -> str:
    return f"p = {value:.3f}"
