"""On a Dask cluster the table is the same; the job travels once to each worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backtest.sweep.command import main
from tests.backtest.sweep.test_param_sweep import sweep_of

distributed = pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # distributed's own


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Two processes on this machine."""
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, host="127.0.0.1"
    ) as found:
        yield found


@pytest.mark.full
def test_a_dask_cluster_gives_the_same_table(tmp_path: Path, cluster: Any) -> None:
    sweep_of(tmp_path / "plain").run_here()
    with distributed.Client(cluster) as client:
        sweep_of(tmp_path / "dask", executor=client.get_executor()).run_here()

    first, second = ((tmp_path / name / "sweep_results.csv").read_bytes() for name in ("plain", "dask"))
    assert first == second
    assert not list((tmp_path / "dask" / "sweeps").glob("*.job"))


@pytest.mark.full
def test_no_scheduler_at_the_address_is_told_in_a_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.backtests.runs import ATOM, csv_of

    arguments = ["--strategy", "sma_cross_v1", "--symbol", ATOM, "--data", str(csv_of(tmp_path)), "--param", "fast=3,5"]
    assert main([*arguments, "--out", str(tmp_path), "--cluster", "tcp://127.0.0.1:1"]) == 1
    assert "--cluster: expected a scheduler at tcp://127.0.0.1:1" in capsys.readouterr().err
