"""Tables of bars as people have them, made into columns: the times with their unit and end of the bar, the values.

What could be read in two ways is refused with its row; a name that custom gives a meaning is recorded as a guess.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from core.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

VALUES: Final = ("open", "high", "low", "close", "volume")
_OPENINGS: Final = ("ts_open", "open_time")
_CLOSINGS: Final = ("ts_close", "close_time")
_CUSTOM: Final = {"timestamp": "close", "date": "open", "datetime": "close", "time": "close"}
"""Names that leave open which end of a bar they mean, and the end that they are taken for."""
_TIMES: Final = (*_OPENINGS, *_CLOSINGS, *_CUSTOM)
_UNITS: Final = ((1e8, 1e11, 10**9), (1e11, 1e14, 10**6), (1e14, 1e17, 1_000), (1e17, 9.2e18, 1))  # s, ms, µs, ns
_PER_US: Final = 1_000
_SYMBOLS: Final = ("symbol", "ticker", "pair", "instrument", "market")
_SHOWN_SYMBOLS: Final = 3


class StampGuess(NamedTuple):
    """The end of a bar, ``open`` or ``close``, that a column is taken for because of its name alone."""

    column: str
    stamp: str


class Columns(NamedTuple):
    """The columns of a table of bars.

    Attributes:
        times: UTC epoch nanoseconds.
        stamp: the end of the bars that the times are: ``open`` or ``close``.
        guess: where that follows from custom only.
        values: open to volume.
    """

    times: Ints
    stamp: str
    guess: StampGuess | None
    values: list[Floats]


def columns_of(frame: pd.DataFrame, symbol: str, stamp: str = "auto") -> Columns:
    """The columns of a table in order of time; one that is newest first is turned round.

    Args:
        stamp: the end of the bars that the time column means; ``auto`` goes by its name.

    Raises:
        ConfigError: a column is missing or there twice, or a value is no number or no time.
    """
    frame = _with_time_column(frame, symbol)
    names = _names_of(frame, symbol)
    column = next((name for name in _TIMES if name in names), None)
    if column is None or any(name not in names for name in VALUES):
        raise ConfigError(
            f"{symbol}: expected the columns {', '.join(VALUES)} and one of {', '.join(_TIMES)}, separated by commas "
            f"in a CSV, got {_shown_names(frame)}"
        )
    _refuse_several_symbols(frame, names, symbol)
    times = nanoseconds(frame[names[column]], f"{symbol}, column {column}")
    values = [_numbers(frame[names[name]], f"{symbol}, column {name}") for name in VALUES]
    if len(times) > 1 and (np.diff(times) < 0).all():
        times, values = times[::-1], [numbers[::-1] for numbers in values]
    guess = None
    if stamp == "auto":
        stamp = _CUSTOM.get(column) or ("open" if column in _OPENINGS else "close")
        guess = StampGuess(column, stamp) if column in _CUSTOM else None
    return Columns(np.ascontiguousarray(times), stamp, guess, [np.ascontiguousarray(numbers) for numbers in values])


def _refuse_several_symbols(frame: pd.DataFrame, names: dict[str, Any], symbol: str) -> None:
    """Raise ConfigError for a table with the bars of several symbols: they are no single series."""
    for label in _SYMBOLS:
        if label not in names:
            continue
        values = frame[names[label]].astype(str).unique().tolist()
        if len(values) > 1:
            shown = ", ".join(values[:_SHOWN_SYMBOLS]) + (", …" if len(values) > _SHOWN_SYMBOLS else "")
            raise ConfigError(
                f"{symbol}, column {names[label]}: expected the bars of one symbol, got those of {len(values)}: "
                f"{shown}; give each a file of its own"
            )


def _with_time_column(frame: pd.DataFrame, symbol: str) -> pd.DataFrame:
    """The table with an index of times among its columns. Raises ConfigError where both are there and differ."""
    import pandas as pd

    index = frame.index
    if not isinstance(index, pd.DatetimeIndex):
        return frame
    name = str(index.name or "timestamp")
    twin = next((column for column in frame.columns if str(column).strip().lower() == name.strip().lower()), None)
    if twin is None:
        return frame.reset_index(names=name)
    place = f"{symbol}, column {twin}"
    apart = nanoseconds(frame[twin], place) != nanoseconds(index.to_series(), f"{place} of the index")
    if apart.any():
        at = int(np.argmax(apart))
        raise ConfigError(
            f"{place}, row {at}: expected the times of the index of that name, got {frame[twin].iloc[at]} beside "
            f"{index[at]}; remove or rename one of them"
        )
    return frame.reset_index(drop=True)


def _names_of(frame: pd.DataFrame, symbol: str) -> dict[str, Any]:
    """The columns by their names in lower case. Raises ConfigError for a table without a header or a name twice."""
    labels = [str(label).strip() for label in frame.columns]
    if sum(map(_is_number, labels)) >= len(VALUES) - 1:
        raise ConfigError(
            f"{symbol}: expected a header in the first line, such as timestamp,{','.join(VALUES)}, got a line of "
            f"numbers: {_shown_names(frame)}; add the header"
        )
    names: dict[str, Any] = {}
    for label, column in zip(labels, frame.columns, strict=True):
        name = label.lower()
        if name in names and name in (*VALUES, *_TIMES):
            raise ConfigError(f"{symbol}: expected the column {name} once, got {names[name]} and {column}; remove one")
        names[name] = column
    return names


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _shown_names(frame: pd.DataFrame) -> str:
    return ", ".join(map(str, frame.columns)) or "none"


def nanoseconds(times: pd.Series[Any], place: str) -> Ints:
    """A column of times in UTC epoch nanoseconds.

    Times of day without a zone are UTC. Numbers are seconds, milliseconds, microseconds or nanoseconds since 1970,
    which their size tells for every time after March 1973. Text is ISO 8601: 01/02/2024 is two days, so it is refused.

    Raises:
        ConfigError: naming the first row that is no time.
    """
    import pandas as pd

    if bool(times.isna().any()):
        raise ConfigError(f"{place}, row {_first(times.isna())}: expected a time, got none")
    if pd.api.types.is_numeric_dtype(times):
        return _since_epoch(times.to_numpy(), place)
    moments = pd.to_datetime(times, utc=True, format="ISO8601", errors="coerce")
    if bool(moments.isna().any()):
        at = _first(moments.isna())
        raise ConfigError(
            f"{place}, row {at}: expected a time in ISO 8601 such as 2024-01-31T00:01:00Z, or a number of s, ms, µs or "
            f"ns since 1970, got {times.iloc[at]!r}"
        )
    return np.asarray(moments.astype("datetime64[ns, UTC]").astype("int64"), dtype=np.int64)


def _since_epoch(numbers: Any, place: str) -> Ints:
    sizes = numbers.astype(np.float64)
    for low, high, unit in _UNITS:
        fits = (sizes >= low) & (sizes < high)
        if not len(sizes) or not fits[0]:
            continue
        if not fits.all():
            at = int(np.argmin(fits))
            raise ConfigError(
                f"{place}, row {at}: expected one unit of time in the whole column, got {numbers[0].item()!r} in row 0 "
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
        f"{place}, row 0: expected s, ms, µs or ns since 1970 for a time after March 1973, got {numbers[0].item()!r}; "
        "write days as 2024-01-31"
    )


def _numbers(values: pd.Series[Any], place: str) -> Floats:
    import pandas as pd

    converted = pd.to_numeric(values, errors="coerce")
    wrong = converted.isna() & values.notna()
    if bool(wrong.any()):
        at = _first(wrong)
        raise ConfigError(f"{place}, row {at}: expected a number, got {values.iloc[at]!r}")
    numbers: Floats = converted.to_numpy(dtype=np.float64)
    return numbers


def _first(mask: pd.Series[bool]) -> int:
    return int(np.argmax(mask.to_numpy()))
