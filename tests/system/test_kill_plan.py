"""What the kill tests rely on: plans that repeat, streams really compared, moments really under way."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from redis import Redis

from core.daemons import LEDGERED
from core.service.crash_points import POINTS
from tests.support.kills.moments import deliveries_of, unsettled
from tests.support.kills.plan import DEADLY, Kind, crashes, plan
from tests.support.kills.streams import PREFIX, stream_faults

Event = dict[str, Any]


def ledger_line(seq: int, cause: Event, *events: Event) -> bytes:
    """A transaction, as far as these checks look at it."""
    return json.dumps({"seq": seq, "cause": cause, "events": list(events)}).encode() + b"\n"


def intent(number: int) -> Event:
    """Something the strategy runner said."""
    return {"topic": "strat.intent", "event": {"intent_id": f"i-{number}"}}


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """Two intents, one of them processed."""
    (tmp_path / "ledgers").mkdir()
    local = {"stream": "local", "id": "start"}
    said = ledger_line(1, local, intent(1)) + ledger_line(2, local, intent(2))
    (tmp_path / "ledgers" / "strategy_runner.ndjson").write_bytes(said)
    taken = ledger_line(1, {"stream": "strategy_runner", "id": "1-0", "topic": "strat.intent", "event": {}})
    (tmp_path / "ledgers" / "risk_engine.ndjson").write_bytes(taken)
    (tmp_path / "ledgers" / "paper_trader.ndjson").write_bytes(b"")
    return tmp_path


@pytest.fixture
def redis(redis_url: str) -> Redis:
    return Redis.from_url(redis_url)


def add(redis: Redis, entry: str, number: int) -> None:
    """Put an intent into the stream."""
    event = intent(number)["event"]
    fields: Any = {"t": "strat.intent", "e": json.dumps({**event, "_producer": "strategy_runner", "_seq": 1})}
    redis.xadd(f"{PREFIX}:ledger:strategy_runner", fields, id=entry)


def test_the_same_seed_gives_the_same_plan_and_another_seed_another_one() -> None:
    assert plan(7, 3, 20) == plan(7, 3, 20)
    assert plan(7, 3, 20) != plan(8, 3, 20)
    assert plan(7, 3, 20) != plan(7, 4, 20)


def test_a_plan_has_as_many_kills_as_were_asked_for_and_in_time_every_kind() -> None:
    drawn = [plan(7, number, 7) for number in range(1, 41)]

    assert {each.kills for each in drawn} == {7}
    assert {strike.kind for each in drawn for strike in each.strikes} == set(Kind)
    assert {each.sync for each in drawn} == {"always", "everysec"}
    assert sum(strike.kind in DEADLY for each in drawn for strike in each.strikes) == 280


def test_the_crash_plan_of_a_daemon_has_every_named_place_once() -> None:
    for daemon in LEDGERED:
        struck = crashes(5, daemon).strikes
        assert sorted(strike.point for strike in struck) == sorted(POINTS)
        assert {strike.target for strike in struck} == {daemon}


def test_streams_that_are_what_the_ledgers_say_have_no_fault(run: Path, redis: Redis, redis_url: str) -> None:
    add(redis, "1-0", 1)
    add(redis, "2-0", 2)

    assert stream_faults(redis_url, run) == []


def test_an_entry_that_was_trimmed_behind_its_consumer_is_no_fault(run: Path, redis: Redis, redis_url: str) -> None:
    add(redis, "2-0", 2)

    assert stream_faults(redis_url, run) == []


@pytest.mark.parametrize(
    ("entries", "fault"),
    [
        ([("1-0", 1)], "has a hole at (2, 0)"),
        ([("1-0", 1), ("2-0", 1)], "(2, 0) is not what the ledger says"),
        ([("1-0", 1), ("2-0", 2), ("3-0", 3)], "has (3, 0), which the ledger does not"),
        ([], "is empty"),
    ],
)
def test_streams_that_differ_from_the_ledgers_are_found_out(
    run: Path, redis: Redis, redis_url: str, entries: list[tuple[str, int]], fault: str
) -> None:
    for entry, number in entries:
        add(redis, entry, number)

    assert any(fault in each for each in stream_faults(redis_url, run))


def test_an_entry_that_was_trimmed_before_its_consumer_had_it_is_found_out(
    run: Path, redis: Redis, redis_url: str
) -> None:
    (run / "ledgers" / "risk_engine.ndjson").write_bytes(b"")
    add(redis, "2-0", 2)

    assert stream_faults(redis_url, run) == ["stream strategy_runner lost (1, 0) before risk_engine had it"]


def test_a_message_is_under_way_from_the_line_that_says_it_to_the_line_that_took_it(run: Path) -> None:
    found = deliveries_of(run / "ledgers")
    said = len((run / "ledgers" / "strategy_runner.ndjson").read_bytes().splitlines(keepends=True)[0])
    taken = (run / "ledgers" / "risk_engine.ndjson").stat().st_size

    def at(strategy: int, risk: int) -> int:
        return unsettled(found, {"strategy_runner": strategy, "risk_engine": risk, "paper_trader": 0})

    assert [at(said - 1, 0), at(said, 0), at(said, taken - 1), at(said, taken)] == [0, 1, 1, 0]
