"""The door out of a strategy: what it answers is checked, completed and made canonical, or refused with the reason."""

from __future__ import annotations

import dataclasses
from typing import Final, TypeVar

from core import codec, ids
from core.contracts import Contract, OrderCancel, OrderIntent
from core.errors import ContractError, RejectedError
from core.instruments import Instruments
from strategies.identity import identity_of

ANSWER_LIMIT: Final = 64  # answers a strategy may give to one event; more is taken for a runaway
A = TypeVar("A", OrderIntent, OrderCancel)
_SHOWN: Final = 80  # characters of a refused answer that the reason quotes


@dataclasses.dataclass(frozen=True, slots=True)
class Admission:
    """The checks that every answer of one strategy passes."""

    strategy_id: str
    symbols: frozenset[str]
    instruments: Instruments

    def admit(self, answer: object, cause: Contract, index: int) -> OrderIntent | OrderCancel:
        """The answer as it may leave: id and time filled in where left out, numbers plain floats.

        Args:
            answer: what the strategy gave.
            cause: the event it was given for.
            index: its place among the answers to that event.

        Raises:
            RejectedError: it is no intent or cancel, speaks for another strategy or symbol, lies off the
                instrument's grid, or cannot be written as JSON.
        """
        if not isinstance(answer, OrderIntent | OrderCancel):
            raise RejectedError(
                f"expected an OrderIntent or OrderCancel of core.contracts, got {type(answer).__name__} "
                f"{_quoted(answer)}; build the contract and return it in a list"
            )
        if answer.strategy_id != self.strategy_id:
            raise RejectedError(
                f"strategy_id: expected its own, {self.strategy_id!r}, got {_quoted(answer.strategy_id)}; "
                "use self.strategy_id"
            )
        if answer.symbol not in self.symbols:
            raise RejectedError(
                f"symbol: expected one of {', '.join(sorted(self.symbols))}, got {_quoted(answer.symbol)}; "
                "add it to the strategy's `symbols` in config/strategies.yaml"
            )
        if isinstance(answer, OrderCancel):
            return _canonical(dataclasses.replace(answer, ts_requested_ns=_not_after(cause, answer.ts_ns)))
        return self._complete(answer, cause, index)

    def _complete(self, intent: OrderIntent, cause: Contract, index: int) -> OrderIntent:
        try:
            complete = _canonical(
                dataclasses.replace(
                    intent,
                    qty=_as_float(intent.qty),
                    limit_price=None if intent.limit_price is None else _as_float(intent.limit_price),
                    intent_id=intent.intent_id or ids.intent_id(self.strategy_id, identity_of(cause), index),
                    ts_local_ns=_not_after(cause, intent.ts_ns),
                )
            )
            instrument = self.instruments[complete.symbol]
            instrument.lots(complete.qty)
            if complete.limit_price is not None:
                instrument.ticks(complete.limit_price)
        except ContractError as error:
            raise RejectedError(
                f"{error}; round with context.instruments[symbol].floor_qty and .round_price, which give floats"
            ) from None
        return complete


def _not_after(cause: Contract, ts_ns: int) -> int:
    """The answer's time, the event's where it was left out or lies ahead of it.

    For everyone who follows, now is the latest time seen. A stamp from the future (a wall clock in a replay, the wrong
    unit) would end the day with its loss, refill the order rate and make every price stale.
    """
    return min(ts_ns or cause.ts_ns, cause.ts_ns)


def _as_float(number: float) -> float:
    """Subclasses of float, numpy's among them, as float; anything else as it is, for the codec to judge."""
    return float(number) if isinstance(number, float) else number


def _canonical(answer: A) -> A:
    """The answer as any reader of the wire will see it: what cannot be sent is refused here, not in the host."""
    try:
        return codec.decode(type(answer), codec.encode(answer))
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        if isinstance(error, ContractError):
            raise
        raise RejectedError(f"expected plain JSON values in every field, got one that is not: {error}") from None


def _quoted(value: object) -> str:
    """The value's repr, cut; a value whose repr fails must not take its reason along."""
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 — foreign code, run only to describe it
        return f"<unprintable: {type(error).__name__}>"
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "…"
