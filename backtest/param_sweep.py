"""Parameter sweeps: ``ParameterSweep``, and the command ``python -m backtest.param_sweep``.

The face of ``backtest.sweep``. Nothing heavy is imported before a sweep runs.
"""

from __future__ import annotations

import sys

from backtest.sweep.parameter_sweep import ParameterSweep
from backtest.sweep.results.outcome import SweepOutcome

__all__ = ["ParameterSweep", "SweepOutcome"]

if __name__ == "__main__":
    from backtest.sweep.command import main
    from core.console import adapt_console

    adapt_console()
    sys.exit(main())
