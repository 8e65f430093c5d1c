"""Sharpe ratios and luck: published figures, pure noise, a true edge, and another library as the judge."""

from __future__ import annotations

from itertools import combinations, pairwise
from math import sqrt

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import ContractError
from research.overfitting import (
    TrackRecord,
    bootstrap_weights,
    deflated_best,
    deflated_sharpe_ratio,
    effective_trials,
    expected_maximum_sharpe,
    most_trials,
    probabilistic_sharpe_ratio,
    probability_of_backtest_overfitting,
    reality_check,
    spa_test,
)
from research.overfitting.snooping import _long_run_variance

Floats = npt.NDArray[np.float64]


def noise(periods: int, trials: int, seed: int) -> Floats:
    return np.random.default_rng(seed).normal(0.0, 0.01, (periods, trials))


# -- Sharpe ratios --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trials", "skew", "kurtosis", "published"), [(100, -3, 10, 0.9004), (46, -3, 10, 0.9505), (88, 0, 3, 0.9505)]
)
def test_the_published_strategy_is_deflated_as_published(
    trials: int, skew: float, kurtosis: float, published: float
) -> None:
    # Bailey and López de Prado (2014): 2.5 a year over 1,250 days, variance 1/2 a year
    record = TrackRecord(2.5 / sqrt(250), 1_250, skew, kurtosis)
    assert deflated_sharpe_ratio(record, trials, 0.5 / 250) == pytest.approx(published, abs=5e-4)


def test_a_hundred_trials_of_the_published_variance_reach_the_published_maximum() -> None:
    assert expected_maximum_sharpe(100, 0.5 / 250) == pytest.approx(0.1132, abs=5e-5)


@pytest.mark.parametrize("trials", [10, 1_000])
def test_the_expected_maximum_is_that_of_normal_draws(trials: int) -> None:
    drawn = np.random.default_rng(3).normal(0.0, 0.2, (2_000, trials)).max(axis=1).mean()
    assert expected_maximum_sharpe(trials, 0.04) == pytest.approx(drawn, rel=0.03)


def test_one_trial_is_not_deflated() -> None:
    record = TrackRecord(0.1, 500, -0.5, 5.0)
    assert deflated_sharpe_ratio(record, 1) == probabilistic_sharpe_ratio(record)
    assert expected_maximum_sharpe(1, 1.0) == 0.0


@given(st.floats(0.0, 0.4), st.integers(10, 2_000), st.integers(1, 10_000))
def test_more_trials_never_make_a_result_more_credible(sharpe: float, periods: int, trials: int) -> None:
    record = TrackRecord(sharpe, periods)
    assert deflated_sharpe_ratio(record, 2 * trials) <= deflated_sharpe_ratio(record, trials) + 1e-12


def test_the_most_trials_are_those_at_which_the_confidence_ends() -> None:
    record = TrackRecord(0.15, 1_000)
    most = most_trials(record)
    assert deflated_sharpe_ratio(record, most) == pytest.approx(0.95, abs=1e-6)
    assert most_trials(TrackRecord(0.01, 100)) == 0.0
    assert most_trials(TrackRecord(1.0, 10_000)) == 1e9


def test_what_cannot_be_judged_is_refused_with_a_reason() -> None:
    with pytest.raises(ContractError, match="at least 1 trial"):
        expected_maximum_sharpe(0, 1.0)


def test_the_best_of_worthless_trials_is_seldom_significant() -> None:
    found = [deflated_best(noise(250, 50, seed))[1] >= 0.95 for seed in range(200)]
    assert np.mean(found) <= 0.08  # 5 % by design


def test_undeflated_the_best_of_worthless_trials_nearly_always_looks_significant() -> None:
    seeds = range(50)
    naive = []
    for seed in seeds:
        matrix = noise(250, 50, seed)
        naive.append(probabilistic_sharpe_ratio(TrackRecord.of(matrix[:, deflated_best(matrix)[0]])) >= 0.95)
    assert np.mean(naive) > 0.85


def test_a_true_edge_among_worthless_trials_is_recognised() -> None:
    matrix = noise(750, 50, 1)
    matrix[:, 17] += 0.0035
    best, confidence = deflated_best(matrix)
    assert best == 17
    assert confidence > 0.95


def test_copies_of_one_trial_count_as_one() -> None:
    single = noise(500, 1, 2)
    assert effective_trials(np.repeat(single, 30, axis=1)) == pytest.approx(1.0)
    assert effective_trials(noise(2_000, 30, 3)) == pytest.approx(30.0, rel=0.05)
    assert effective_trials(np.zeros((10, 5))) == 1.0


# -- probability of overfitting ---------------------------------------------------------------------------------


def test_choosing_among_worthless_trials_is_overfitting_half_of_the_time() -> None:
    found = [probability_of_backtest_overfitting(noise(480, 40, seed), 8).pbo for seed in range(60)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.08)


def test_a_true_edge_is_no_overfitting() -> None:
    matrix = noise(1_000, 40, 4)
    matrix[:, 5] += 0.003
    judged = probability_of_backtest_overfitting(matrix)
    assert judged.pbo < 0.02
    assert judged.probability_of_loss < 0.02
    assert len(judged.logits) == 12_870


def test_trials_that_only_share_out_the_same_luck_come_out_the_wrong_way_round() -> None:
    # equal means over the whole time: whoever is good in one half is poor in the other
    matrix = noise(400, 30, 5)
    matrix -= matrix.mean(axis=0)
    judged = probability_of_backtest_overfitting(matrix, 10, "mean")
    assert judged.degradation_slope == pytest.approx(-1.0, abs=1e-6)
    assert judged.pbo > 0.95
    assert judged.probability_of_loss == 1.0


def test_the_combinations_agree_with_the_definition_spelled_out() -> None:
    matrix, blocks = noise(61, 7, 6), 6  # 61 periods: blocks of unlike lengths
    edges = np.linspace(0, 61, blocks + 1).astype(int)
    parts = [matrix[a:b] for a, b in pairwise(edges)]
    logits = []
    for chosen in combinations(range(blocks), blocks // 2):
        inside = np.concatenate([parts[b] for b in chosen])
        outside = np.concatenate([parts[b] for b in range(blocks) if b not in chosen])
        best = (inside.mean(axis=0) / inside.std(axis=0, ddof=1)).argmax()
        judged = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        omega = (np.argsort(np.argsort(judged))[best] + 1) / 8
        logits.append(np.log(omega / (1 - omega)))
    assert probability_of_backtest_overfitting(matrix, blocks).logits == pytest.approx(np.array(logits))


@given(st.integers(0, 10_000), st.floats(0.1, 1_000.0))
def test_neither_the_order_of_trials_nor_their_scale_matters(seed: int, scale: float) -> None:
    matrix = noise(60, 9, seed)
    plain = probability_of_backtest_overfitting(matrix, 6)
    other = probability_of_backtest_overfitting(scale * matrix[:, ::-1], 6)
    assert other.logits == pytest.approx(plain.logits)


def test_equal_trials_rank_in_the_middle() -> None:
    judged = probability_of_backtest_overfitting(np.repeat(noise(100, 1, 1), 4, axis=1), 4)
    assert judged.logits == pytest.approx(np.zeros(6))
    assert probability_of_backtest_overfitting(np.zeros((40, 3)), 4).probability_of_loss == 0.0


@pytest.mark.parametrize("blocks", [0, 3, 22, 12])
def test_blocks_that_do_not_divide_are_refused(blocks: int) -> None:
    with pytest.raises(ContractError, match="blocks: expected"):
        probability_of_backtest_overfitting(noise(20, 3, 1), blocks)


def test_a_wide_matrix_takes_little_memory() -> None:
    import tracemalloc

    matrix = noise(64, 5_000, 9)
    tracemalloc.start()
    probability_of_backtest_overfitting(matrix, 12)  # 924 × 5,000 at once would be 37 MB an array, a dozen arrays
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 400e6


# -- data snooping --------------------------------------------------------------------------------------------


def test_bootstrap_samples_are_whole_and_every_period_is_as_likely() -> None:
    weights = bootstrap_weights(np.random.default_rng(1), 50, 4_000, 5.0)
    assert weights.sum(axis=1) == pytest.approx(np.ones(4_000))
    assert weights.mean(axis=0) == pytest.approx(np.full(50, 0.02), rel=0.1)


def test_blocks_of_one_period_are_the_plain_bootstrap() -> None:
    weights = bootstrap_weights(np.random.default_rng(2), 40, 5_000, 1.0)
    assert (40 * weights).var(axis=0).mean() == pytest.approx(1 - 1 / 40, rel=0.05)


@pytest.mark.full
def test_tests_against_worthless_trials_err_at_their_nominal_rate() -> None:
    check, ability = [], []
    for seed in range(150):
        matrix = noise(400, 10, seed)
        check.append(reality_check(matrix, np.random.default_rng(seed), replicates=200).p_value <= 0.1)
        ability.append(spa_test(matrix, np.random.default_rng(seed), replicates=200).p_value <= 0.1)
    assert 0.03 <= np.mean(check) <= 0.17  # 10 % by design, and what 150 draws scatter about it
    assert 0.03 <= np.mean(ability) <= 0.17


@pytest.mark.full
def test_many_trials_over_few_periods_need_samples_that_are_studentised_each() -> None:
    once, each = [], []
    for seed in range(40):
        matrix = noise(33, 500, seed)
        once.append(spa_test(matrix, np.random.default_rng(seed), replicates=200).p_value <= 0.1)
        found = spa_test(matrix, np.random.default_rng(seed), replicates=200, restudentise=True)
        each.append(found.p_value <= 0.1)
    assert np.mean(once) > 0.6  # worthless, and yet called significant
    assert np.mean(each) <= 0.25


@pytest.mark.parametrize("restudentise", [False, True])
def test_an_edge_over_few_periods_is_seen(restudentise: bool) -> None:
    matrix = noise(60, 100, 3)
    matrix[:, 40] += matrix[:, 40].std()
    found = spa_test(matrix, np.random.default_rng(0), restudentise=restudentise)
    assert found.best == 40
    assert found.p_value < 0.02


def test_a_true_edge_is_seen_by_both_tests() -> None:
    matrix = noise(500, 30, 7)
    matrix[:, 11] += 0.003
    found = reality_check(matrix, np.random.default_rng(0))
    able = spa_test(matrix, np.random.default_rng(0))
    assert (found.best, able.best) == (11, 11)
    assert found.p_value < 0.01
    assert able.p_value < 0.01


def test_hopeless_trials_blunt_the_reality_check_but_not_spa() -> None:
    matrix = noise(300, 1, 3)
    matrix += 0.0014 - matrix.mean()
    hopeless = 4 * noise(300, 60, 4) - 0.05
    crowd = np.hstack([matrix, hopeless])
    assert reality_check(crowd, np.random.default_rng(1)).p_value > 0.3
    assert spa_test(crowd, np.random.default_rng(1)).p_value < 0.05


def test_p_values_are_ordered_and_never_nought() -> None:
    able = spa_test(noise(200, 20, 8), np.random.default_rng(2), replicates=300)
    assert 0 < able.p_lower <= able.p_value <= able.p_upper <= 1


def test_trials_that_are_the_benchmark_count_for_nothing() -> None:
    able = spa_test(np.zeros((50, 3)), np.random.default_rng(0))
    assert (able.statistic, able.p_value) == (0.0, 1.0)
    matrix = np.hstack([np.zeros((200, 2)), noise(200, 1, 2) + 0.01])
    assert spa_test(matrix, np.random.default_rng(0)).best == 2


def test_the_same_seed_gives_the_same_answer() -> None:
    matrix = noise(100, 5, 1)
    first, second = (spa_test(matrix, np.random.default_rng(9), replicates=100) for _ in range(2))
    assert first == second


def test_what_is_no_matrix_is_refused() -> None:
    with pytest.raises(ContractError, match="shape"):
        reality_check([0.1, 0.2], np.random.default_rng(0))
    with pytest.raises(ContractError, match="mean_block"):
        spa_test(noise(10, 2, 1), np.random.default_rng(0), mean_block=0.5)


@pytest.mark.full
@pytest.mark.parametrize("edge", [0.0, 0.0012, 0.0025])
def test_another_library_comes_to_the_same_p_values(edge: float) -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    matrix = noise(250, 8, 12)
    matrix /= np.sqrt(_long_run_variance(matrix, 6.0)) * 100  # the judge takes means as they are, not over their errors
    matrix[:, 2] += edge
    judge = bootstrap.SPA(np.zeros(250), -matrix, block_size=6, reps=4_000, bootstrap="stationary", seed=1)
    judge.compute()
    theirs = judge.pvalues

    ours = spa_test(matrix, np.random.default_rng(1), replicates=4_000, mean_block=6.0)
    plain = reality_check(matrix, np.random.default_rng(2), replicates=4_000, mean_block=6.0)

    assert ours.p_lower == pytest.approx(theirs["lower"], abs=0.03)
    assert ours.p_value == pytest.approx(theirs["consistent"], abs=0.03)
    assert ours.p_upper == pytest.approx(theirs["upper"], abs=0.03)
    assert plain.p_value == pytest.approx(theirs["upper"], abs=0.03)


@pytest.mark.full
def test_another_library_has_the_same_variance_of_means() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    matrix = np.cumsum(noise(180, 4, 13), axis=0)
    judge = bootstrap.SPA(np.zeros(180), -matrix, block_size=7, reps=2, bootstrap="stationary", seed=1)
    judge.compute()
    assert _long_run_variance(matrix, 7.0) == pytest.approx(judge._loss_diff_var)


@pytest.mark.full
def test_another_library_draws_blocks_of_the_same_kind() -> None:
    bootstrap = pytest.importorskip("arch.bootstrap")
    series = np.cumsum(np.random.default_rng(4).normal(0, 1, 120)) / 10  # strongly dependent
    judge = bootstrap.StationaryBootstrap(12, series, seed=3)
    theirs = np.array([sample[0][0].mean() for sample in judge.bootstrap(4_000)])
    ours = bootstrap_weights(np.random.default_rng(3), 120, 4_000, 12.0) @ series
    assert ours.std() == pytest.approx(theirs.std(), rel=0.06)
