"""Which intent of one run is which of another: by id, else by strategy, symbol, side and time.

Ids derive from the event that a strategy answered, so the same decision on the same event has the same id. Where data
or timing differ ids differ too: what is left is paired in order of time, no further apart than a tolerance.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from backtest.parity.trail import Story
from core.clock import NS_PER_S

TOLERANCE_NS: Final = 2 * NS_PER_S
Lane = tuple[str, str, str]


class Pair(NamedTuple):
    """An intent in both runs, or in one. ``overtaken``: in the second run it came before one that it came after in
    the first."""

    a: Story | None
    b: Story | None
    overtaken: bool = False


def aligned(a: Sequence[Story], b: Sequence[Story], tolerance_ns: int = TOLERANCE_NS) -> list[Pair]:
    """Every intent of both runs exactly once, by time of asking."""
    there = {story.intent.intent_id: story for story in b if story.intent.intent_id}
    same = {story.intent.intent_id for story in a} & there.keys()
    pairs = [(story, there[story.intent.intent_id]) for story in a if story.intent.intent_id in same]
    ours, theirs = _by_lane(a, same), _by_lane(b, same)
    alone: list[Pair] = []
    for lane in sorted(ours.keys() | theirs.keys()):
        near, left = _near(ours[lane], theirs[lane], tolerance_ns)
        pairs += near
        alone += left
    both = _overtaken(pairs, a, b)
    return sorted([*both, *alone], key=_when)


def _by_lane(stories: Iterable[Story], same: set[str]) -> dict[Lane, list[Story]]:
    found: dict[Lane, list[Story]] = defaultdict(list)
    for story in stories:
        if story.intent.intent_id not in same:
            found[story.lane].append(story)
    return found


def _near(a: list[Story], b: list[Story], tolerance_ns: int) -> tuple[list[tuple[Story, Story]], list[Pair]]:
    """Pairs in order of time, each with the first one that is near enough; what is left has none."""
    a, b = sorted(a, key=lambda each: each.asked_ns), sorted(b, key=lambda each: each.asked_ns)
    near: list[tuple[Story, Story]] = []
    left: list[Pair] = []
    i = j = 0
    while i < len(a) and j < len(b):
        apart = b[j].asked_ns - a[i].asked_ns
        if abs(apart) <= tolerance_ns:
            near.append((a[i], b[j]))
            i, j = i + 1, j + 1
        elif apart > 0:
            left.append(Pair(a[i], None))
            i += 1
        else:
            left.append(Pair(None, b[j]))
            j += 1
    return near, [*left, *(Pair(each, None) for each in a[i:]), *(Pair(None, each) for each in b[j:])]


def _overtaken(pairs: list[tuple[Story, Story]], a: Sequence[Story], b: Sequence[Story]) -> list[Pair]:
    """The pairs in the order of the first run, with those marked that the second has in another: behind an intent of a
    later moment, or of the same strategy. In which order strategies are asked at one moment is nobody's timing."""
    place_a = {id(story): place for place, story in enumerate(a)}
    place_b = {id(story): place for place, story in enumerate(b)}
    moment, earlier, latest = -1, -1, -1  # the latest places in the second run: before this moment, and so far
    of_strategy: dict[str, int] = {}
    marked = []
    for ours, theirs in sorted(pairs, key=lambda each: place_a[id(each[0])]):
        if ours.asked_ns != moment:
            moment, earlier = ours.asked_ns, latest
        place, name = place_b[id(theirs)], ours.intent.strategy_id
        marked.append(Pair(ours, theirs, place < max(earlier, of_strategy.get(name, -1))))
        of_strategy[name] = max(of_strategy.get(name, -1), place)
        latest = max(latest, place)
    return marked


def _when(pair: Pair) -> int:
    story = pair.a or pair.b
    assert story is not None
    return story.asked_ns
