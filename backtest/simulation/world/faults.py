"""The faults: kinds of what is done to the fleet, and a seeded plan of when which of them strikes.

Every seed draws its own mixture: some kinds often, others not at all. A fleet that survives everything a little may
still fall to two things at once, or to one that does not stop.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from backtest.simulation.world.disk import UNLIMITED
from backtest.simulation.world.fleet import Fleet
from backtest.simulation.world.network import Weather
from core import kill_switch
from core.contracts import Contract
from core.daemons import LEDGERED
from core.errors import ConfigError
from core.topics import FLEET

_LONGEST_CRASH: Final = 60  # effects until an armed crash strikes
_HOUR_S: Final = 3600
_SHORTEST_S: Final = 0.05
_SWARM_SHARE: Final = 0.45  # of all kinds, in one seed
RELOADABLE: Final = ("strategy_runner", "risk_engine", "paper_trader")  # the last one refuses, and says so
_JUNK: Final = (b"", b"{", b"null", b'{"symbol":"BTC/USDT"}', b"\xff\xfe", b'{"ts":1e999}')


@dataclass(frozen=True)
class Strike:
    """One fault: from ``at_s`` on for ``for_s``; the draws it makes come out of ``draw``."""

    kind: str
    at_s: float
    for_s: float
    draw: float


@dataclass(frozen=True)
class Kind:
    """A kind of fault: what it does, what ends it, and how long it lasts at most."""

    name: str
    summary: str
    begin: Callable[[Fleet, Strike], str]
    end: Callable[[Fleet, Strike], None] | None = None
    longest_s: float = 0.0


def _pick(strike: Strike, among: Sequence[str] = FLEET) -> str:
    return among[int(strike.draw * len(among)) % len(among)]


def _rest(strike: Strike) -> float:
    """Another number out of the draw, from 0 to 1."""
    return strike.draw * 7919 % 1


def _crash(fleet: Fleet, strike: Strike) -> str:
    daemon, effects = _pick(strike), int(_rest(strike) ** 2 * _LONGEST_CRASH)
    fleet.crash(daemon, effects)
    return f"{daemon} is to crash after {effects} more effects"


def _weather(field: str, most: float) -> tuple[Callable[[Fleet, Strike], str], Callable[[Fleet, Strike], None]]:
    def begin(fleet: Fleet, strike: Strike) -> str:
        share = round(most * (0.1 + 0.9 * strike.draw), 4)
        setattr(fleet.network.weather, field, share)
        return f"{field.replace('_', ' ')}: {share:.1%} for {strike.for_s:.1f} s"

    def end(fleet: Fleet, _: Strike) -> None:
        setattr(fleet.network.weather, field, 0.0)

    return begin, end


def _disconnect(fleet: Fleet, strike: Strike) -> str:
    daemon = _pick(strike)
    life = fleet.lives.get(daemon)
    if life is not None:
        life.cut()
    return f"the connections of {daemon} are cut"


def _down(fleet: Fleet, strike: Strike) -> str:
    fleet.server_down()
    return f"the server is down for {strike.for_s:.1f} s"


def _freeze(fleet: Fleet, strike: Strike) -> str:
    fleet.network.freeze()
    return f"the server is frozen for {strike.for_s:.1f} s"


def _thaw(fleet: Fleet, _: Strike) -> None:
    fleet.network.thaw()


def _up(fleet: Fleet, _: Strike) -> None:
    fleet.network.come_up()


def _flush(fleet: Fleet, _: Strike) -> str:
    fleet.server.flush()
    return "the server is emptied"


def _restore(fleet: Fleet, strike: Strike) -> str:
    fleet.server_down()
    age = fleet.server_forgets(2.0 if strike.draw < 0.7 else 30.0 * _rest(strike))
    return f"the server ends and comes back in {strike.for_s:.1f} s as it was {age:.1f} s ago"


def _kill_key(fleet: Fleet, strike: Strike) -> str:
    fleet.server.set(fleet.config.risk.kill_switch_key, b"1")
    return f"the kill switch's key is set for {strike.for_s:.1f} s"


def _clear_key(fleet: Fleet, _: Strike) -> None:
    fleet.server.set(fleet.config.risk.kill_switch_key, None)


def _kill_file(fleet: Fleet, strike: Strike) -> str:
    kill_switch.trip_file(fleet.kill_switch_file, clock=fleet.clock)
    return f"the kill switch's file is there for {strike.for_s:.1f} s"


def _clear_file(fleet: Fleet, _: Strike) -> None:
    kill_switch.clear_file(fleet.kill_switch_file)


def _full(fleet: Fleet, strike: Strike) -> str:
    room = int(_rest(strike) ** 2 * 20_000)
    fleet.machine.space = room
    return f"the disk has {room} bytes left for {strike.for_s:.1f} s"


def _room(fleet: Fleet, _: Strike) -> None:
    fleet.machine.space = UNLIMITED


def _sync(fleet: Fleet, strike: Strike) -> str:
    daemon = _pick(strike)
    fleet.machine.sync_fails[daemon] = None
    return f"the disk refuses to sync for {daemon} for {strike.for_s:.1f} s"


def _sync_again(fleet: Fleet, strike: Strike) -> None:
    fleet.machine.sync_fails.pop(_pick(strike), None)


def _lost_sync(fleet: Fleet, strike: Strike) -> str:
    fleet.machine.forgets = True
    return f"{_sync(fleet, strike)}, and loses what it was to write"


def _denied(fleet: Fleet, strike: Strike) -> str:
    daemon = _pick(strike)
    fleet.machine.open_fails[daemon] = None
    return f"{daemon} may open no file for {strike.for_s:.1f} s"


def _allowed(fleet: Fleet, strike: Strike) -> None:
    fleet.machine.open_fails.pop(_pick(strike), None)


def _power(fleet: Fleet, strike: Strike) -> str:
    fleet.lose_power()
    age = fleet.server_forgets(2.0)
    return f"the power fails for {strike.for_s:.1f} s; the server comes back as it was {age:.1f} s ago"


def _power_back(fleet: Fleet, _: Strike) -> None:
    fleet.network.come_up()
    fleet.has_power.set()


def _clock(fleet: Fleet, strike: Strike) -> str:
    seconds = int((strike.draw * 2 - 1) ** 3 * 6 * _HOUR_S)
    fleet.clock.jump(seconds)
    return f"the clock jumps by {seconds:+d} s"


def _garbage(fleet: Fleet, strike: Strike) -> str:
    topic = _pick(strike, ("md.trades.BTC/USDT", "md.book.ETH/USDT", "md.clock", "md.nonsense"))
    junk = _JUNK[int(_rest(strike) * len(_JUNK))]
    if not fleet.network.down:
        fleet.server.publish(topic, junk)
    return f"somebody publishes {junk!r} on {topic}"


def _reload(fleet: Fleet, strike: Strike) -> str:
    """One daemon is to reload; in half of the cases another one has just been told to crash."""
    daemon, other = _pick(strike, RELOADABLE), _pick(strike)
    fleet.request_reload(daemon)
    if _rest(strike) < 0.5 and other != daemon:
        fleet.crash(other, 0)
        return f"{daemon} is asked to reload while {other} crashes"
    return f"{daemon} is asked to reload"


def _fail(fleet: Fleet, strike: Strike) -> str:
    """The component takes an event in, changes what it knows, and raises."""
    daemon = _pick(strike, LEDGERED)
    component = fleet.component(daemon)
    genuine = component.on_event

    def fails(event: Contract) -> Iterable[Contract]:
        del component.on_event  # the instance's own: the class still has its method
        list(genuine(event))
        raise RuntimeError("a component that fails half-way")

    component.on_event = fails  # type: ignore[method-assign]  # once
    return f"the component of {daemon} fails on its next event"


KINDS: Final = {
    kind.name: kind
    for kind in (
        Kind("crash", "a daemon ends in the middle of what it does", _crash),
        Kind("drop", "broadcasts are lost", *_weather("drop", 0.5), 10.0),
        Kind("duplicate", "broadcasts come twice", *_weather("duplicate", 0.5), 10.0),
        Kind("delay", "broadcasts come late", *_weather("delay", 0.3), 10.0),
        Kind("reorder", "broadcasts overtake each other", *_weather("reorder", 0.3), 10.0),
        Kind("redeliver", "what was read from a stream is read again", *_weather("redeliver", 0.3), 10.0),
        Kind("lost-question", "a command is lost with its connection", *_weather("lose_question", 0.1), 10.0),
        Kind("lost-answer", "a command takes effect, its answer is lost", *_weather("lose_answer", 0.1), 10.0),
        Kind("disconnect", "a daemon's connections are cut", _disconnect),
        Kind("down", "the server is down", _down, _up, 12.0),
        Kind("freeze", "the server hangs", _freeze, _thaw, 8.0),
        Kind("flush", "the server is emptied", _flush),
        Kind("restore", "the server comes back from an older state", _restore, _up, 4.0),
        Kind("kill-key", "the kill switch's key is set", _kill_key, _clear_key, 8.0),
        Kind("kill-file", "the kill switch's file is made", _kill_file, _clear_file, 8.0),
        Kind("full", "the disk is full", _full, _room, 12.0),
        Kind("sync", "the disk refuses to sync", _sync, _sync_again, 8.0),
        Kind("lost-sync", "a refused sync loses the data for good", _lost_sync, _sync_again, 8.0),
        Kind("denied", "files cannot be opened", _denied, _allowed, 8.0),
        Kind("power", "the machine loses its power", _power, _power_back, 4.0),
        Kind("clock", "the machine's clock jumps", _clock),
        Kind("garbage", "somebody publishes what is no message", _garbage),
        Kind("reload", "one daemon is asked to reload its configuration", _reload),
        Kind("fail", "a component raises in the middle of an event", _fail),
    )
}


ALL: Final = tuple(KINDS)


def named(text: str) -> tuple[str, ...]:
    """``all``, ``none`` or names separated by commas. Raises ConfigError."""
    if text == "all":
        return ALL
    if text == "none":
        return ()
    names = tuple(name.strip() for name in text.split(","))
    unknown = [name for name in names if name not in KINDS]
    if unknown:
        raise ConfigError(f"--faults: expected all, none or some of {', '.join(KINDS)}, got {', '.join(unknown)}")
    return names


def plan(seed: int, names: Sequence[str], until_s: float) -> list[Strike]:
    """The strikes of a seed: by time, nothing before the first seconds and nothing that lasts beyond ``until_s``."""
    swarm = tuple(names) == ALL  # of all kinds each seed takes some; what was asked for by name comes
    strikes: list[Strike] = []
    for name in names:
        random = Random(f"{seed}/plan/{name}")  # of its own: another kind in the table changes nothing about this one
        if random.random() < _SWARM_SHARE or not swarm:
            strikes += _strikes(KINDS[name], random, until_s)
    return sorted(strikes, key=lambda strike: (strike.at_s, strike.kind))


def _strikes(kind: Kind, random: Random, until_s: float) -> Iterator[Strike]:
    """One after the other: the same kind never overlaps itself."""
    pause_s = 2.0 + random.random() ** 2 * 40.0
    at = 1.0 + random.expovariate(1.0 / pause_s)
    while at < until_s:
        for_s = min(_SHORTEST_S + random.random() ** 2 * kind.longest_s, until_s - at)
        yield Strike(kind.name, at, for_s, random.random())
        at += for_s + random.expovariate(1.0 / pause_s)


def calm(fleet: Fleet) -> None:
    """End everything that may still be in force, so that the fleet can come to rest."""
    fleet.disarm()
    fleet.network.weather = Weather()
    fleet.network.thaw()
    fleet.network.come_up()
    fleet.machine.space = UNLIMITED
    fleet.machine.sync_fails.clear()
    fleet.machine.open_fails.clear()
    fleet.server.set(fleet.config.risk.kill_switch_key, None)
    kill_switch.clear_file(fleet.kill_switch_file)
    fleet.has_power.set()
