"""Tables of bars as people have them, into columns: which column is the time, in what unit, of the start or the end.

Nothing is guessed that could be read in two ways; what cannot be understood is refused with its row.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VALUES: Final = ("open", "high", "low", "close", "volume")
ENDS: Final = ("timestamp", "datetime", "time", "ts_close", "close_time")
"""Time columns that are taken for the close of a bar."""
STARTS: Final = ("date", "ts_open", "open_time")
"""Time columns that are taken for its start."""
_TIMES: Final = ("timestamp", "date", "datetime", "time", "ts_close", "ts_open", "open_time", "close_time")
_UNITS: Final = ((1e8, 1e11, 10**9), (1e11, 1e14, 10**6), (1e14, 1e17, 1_000), (1e17, 9.2e18, 1))  # s, ms, µs, ns
_PER_US: Final = 1_000


class Columns(NamedTuple):
    """``times`` in UTC epoch nanoseconds, of the starts of the bars if ``starts``; values open to volume."""

    times: Ints
    starts: bool
    values: list[Floats]


def columns_of(frame: pd.DataFrame, symbol: str) -> Columns:
    """The columns of a table in order of time; one that is newest first is turned round.

    Raises:
        ConfigError: a column is missing, or a value is no number or no time.
    """
    import pandas as pd

    if isinstance(frame.index, pd.DatetimeIndex):
        frame = frame.reset_index(names=frame.index.name or "timestamp")
    named = {str(name).strip().lower(): name for name in frame.columns}
    column = next((name for name in _TIMES if name in named), None)
    if column is None or any(name not in named for name in VALUES):
        raise ConfigError(
            f"{symbol}: expected the columns {', '.join(VALUES)} and one of {', '.join(_TIMES)}, separated by commas "
            f"in a CSV, got {', '.join(map(str, frame.columns))}"
        )
    times = nanoseconds(frame[named[column]], f"{symbol}, column {column}")
    values = [_numbers(frame[named[name]], f"{symbol}, column {name}") for name in VALUES]
    if len(times) > 1 and (np.diff(times) < 0).all():
        times, values = times[::-1], [each[::-1] for each in values]
    return Columns(np.ascontiguousarray(times), column in STARTS, [np.ascontiguousarray(each) for each in values])


def nanoseconds(times: pd.Series[Any], where: str) -> Ints:
    """A column of times in UTC epoch nanoseconds.

    Times of day without a zone are UTC. Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970,
    which their size tells for every time after March 1973. Text is ISO 8601: 01/02/2024 is two days, so it is refused.

    Raises:
        ConfigError: naming the first row that is no time.
    """
    import pandas as pd

    if bool(times.isna().any()):
        raise ConfigError(f"{where}, row {_first(times.isna())}: expected a time, got none")
    if pd.api.types.is_numeric_dtype(times):
        return _since_epoch(times.to_numpy(), where)
    found = pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce")
    if bool(found.isna().any()):
        at = _first(found.isna())
        raise ConfigError(
            f"{where}, row {at}: expected a time in ISO 8601 such as 2024-01-31T00:01:00Z, or a number of s, ms, µs or "
            f"ns since 1970, got {times.iloc[at]!r}"
        )
    return np.asarray(found.astype("datetime64[ns, UTC]").astype("int64"), dtype=np.int64)


def read_table(path: Path) -> pd.DataFrame:
    """A CSV (also compressed), Feather or Parquet file. Raises ConfigError."""
    import pandas as pd

    readers: dict[str, Callable[[Path], pd.DataFrame]] = {
        ".csv": pd.read_csv,
        ".feather": pd.read_feather,
        ".parquet": pd.read_parquet,
    }
    expected = f"expected a file of {', '.join(readers)}, a CSV also as .csv.gz"
    if not path.is_file():
        raise ConfigError(f"{path}: {expected}, got {'a folder' if path.is_dir() else 'no such file'}")
    kind = next((suffix for suffix in path.suffixes if suffix in readers), None)
    if kind is None:
        raise ConfigError(f"{path}: {expected}, got {path.suffix or 'a name without an ending'}")
    try:
        return readers[kind](path)
    except (OSError, EOFError, ValueError, ImportError) as error:  # Arrow's, the parser's and decoding errors are such
        why = str(error).partition("\n")[0]
        raise ConfigError(f"{path}: expected a table of bars as {kind}, got a file that is none: {why}") from None


def _since_epoch(numbers: Any, where: str) -> Ints:
    sizes = numbers.astype(np.float64)
    for low, high, unit in _UNITS:
        fits = (sizes >= low) & (sizes < high)
        if not len(sizes) or not fits[0]:
            continue
        if not fits.all():
            at = int(np.argmin(fits))
            raise ConfigError(
                f"{where}, row {at}: expected one unit of time in the whole column, got {numbers[0].item()!r} in row 0 "
                f"and {numbers[at].item()!r}"
            )
        if np.issubdtype(numbers.dtype, np.integer):
            exact: Ints = numbers.astype(np.int64) * unit
            return exact
        micros: Ints = np.rint(sizes * (unit / _PER_US)).astype(np.int64) * _PER_US  # a float knows no nanoseconds
        return micros
    if not len(sizes):
        return np.empty(0, np.int64)
    raise ConfigError(
        f"{where}, row 0: expected s, ms, µs or ns since 1970 for a time after March 1973, got {numbers[0].item()!r}; "
        "write days as 2024-01-31"
    )


def _numbers(values: pd.Series[Any], where: str) -> Floats:
    import pandas as pd

    found = pd.to_numeric(values, errors="coerce")
    wrong = found.isna() & values.notna()
    if bool(wrong.any()):
        at = _first(wrong)
        raise ConfigError(f"{where}, row {at}: expected a number, got {values.iloc[at]!r}")
    numbers: Floats = found.to_numpy(dtype=np.float64)
    return numbers


def _first(mask: pd.Series[bool]) -> int:
    return int(np.argmax(mask.to_numpy()))
