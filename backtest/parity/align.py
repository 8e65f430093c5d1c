"""The pairing of the intents of two runs: by id, else by strategy, symbol, side and time.

Ids derive from the event that a strategy answered, so the same decision on the same event has the same id. Where data
or timing differ, ids differ too: those intents are paired in order of time, no further apart than a tolerance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from backtest.parity.event_log import IntentHistory
from core.clock import NS_PER_S

TOLERANCE_NS: Final = 2 * NS_PER_S
PairingKey = tuple[str, str, str]


class Pair(NamedTuple):
    """An intent in both runs, or in one. ``overtaken``: in the second run it came before one that it came after in
    the first."""

    a: IntentHistory | None
    b: IntentHistory | None
    overtaken: bool = False


def aligned(a: Sequence[IntentHistory], b: Sequence[IntentHistory], tolerance_ns: int = TOLERANCE_NS) -> list[Pair]:
    """Every intent of both runs exactly once, by time of asking."""
    b_by_id = {history.intent.intent_id: history for history in b if history.intent.intent_id}
    shared_ids = {history.intent.intent_id for history in a} & b_by_id.keys()
    pairs = [(history, b_by_id[history.intent.intent_id]) for history in a if history.intent.intent_id in shared_ids]
    ours, theirs = _by_pairing_key(a, shared_ids), _by_pairing_key(b, shared_ids)
    unpaired: list[Pair] = []
    for key in sorted(ours.keys() | theirs.keys()):
        near, rest = _near(ours[key], theirs[key], tolerance_ns)
        pairs += near
        unpaired += rest
    return sorted([*_overtaken(pairs, a, b), *unpaired], key=_asked_ns)


def _by_pairing_key(histories: Iterable[IntentHistory], shared_ids: set[str]) -> dict[PairingKey, list[IntentHistory]]:
    by_key: dict[PairingKey, list[IntentHistory]] = defaultdict(list)
    for history in histories:
        if history.intent.intent_id not in shared_ids:
            by_key[history.pairing_key].append(history)
    return by_key


def _near(
    a: list[IntentHistory], b: list[IntentHistory], tolerance_ns: int
) -> tuple[list[tuple[IntentHistory, IntentHistory]], list[Pair]]:
    """Pairs in order of time, each with the first one that is near enough; and the intents without a partner."""
    a, b = (sorted(histories, key=lambda history: history.asked_ns) for histories in (a, b))
    near: list[tuple[IntentHistory, IntentHistory]] = []
    unpaired: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        apart = b[j].asked_ns - a[i].asked_ns
        if abs(apart) <= tolerance_ns:
            near.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif apart > 0:
            unpaired.append(Pair(a[i], None))
            i += 1
        else:
            unpaired.append(Pair(None, b[j]))
            j += 1
    return near, [*unpaired, *(Pair(history, None) for history in a[i:]), *(Pair(None, history) for history in b[j:])]


def _overtaken(
    pairs: list[tuple[IntentHistory, IntentHistory]], a: Sequence[IntentHistory], b: Sequence[IntentHistory]
) -> list[Pair]:
    """The pairs in the order of the first run, with those marked that the second run has in another order.

    Another order is: behind an intent of a later moment, or of the same strategy. The order in which different
    strategies are asked at one moment does not count.
    """
    place_a = {id(history): place for place, history in enumerate(a)}
    place_b = {id(history): place for place, history in enumerate(b)}
    moment, earlier, latest = -1, -1, -1  # the latest places in the second run: before this moment, and so far
    of_strategy: dict[str, int] = {}
    marked = []
    for ours, theirs in sorted(pairs, key=lambda pair: place_a[id(pair[0])]):
        if ours.asked_ns != moment:
            moment, earlier = ours.asked_ns, latest
        place, name = place_b[id(theirs)], ours.intent.strategy_id
        marked.append(Pair(ours, theirs, place < max(earlier, of_strategy.get(name, -1))))
        of_strategy[name] = max(of_strategy.get(name, -1), place)
        latest = max(latest, place)
    return marked


def _asked_ns(pair: Pair) -> int:
    history = pair.a or pair.b
    assert history is not None
    return history.asked_ns
