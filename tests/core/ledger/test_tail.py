"""Reading a ledger from its middle gives what reading all of it gives, and reads no more than it must."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.component import Message
from core.contracts import Contract, FillEvent, OrderIntent, PositionSnapshot, RiskDecision
from core.errors import LedgerCorruptError
from core.ledger import Cause, Ledger, Place, ledger
from core.ledger import lines as ledger_lines
from tests.support.contract_samples import SAMPLE_OF

INTENT, DECISION, FILL = SAMPLE_OF[OrderIntent], SAMPLE_OF[RiskDecision], SAMPLE_OF[FillEvent]
SNAPSHOT = SAMPLE_OF[PositionSnapshot]  # a broadcast: in the ledger, but not in the stream
CAUSE = Cause("strategy_runner", "4-0", "strat.intent", INTENT)
ANSWERS = st.sampled_from([(), (), (SNAPSHOT,), (DECISION,), (SNAPSHOT, DECISION, FILL), (DECISION, SNAPSHOT)])


def write(path: Path, answers: Sequence[tuple[Contract, ...]]) -> Path:
    book = Ledger(path, durable=False)
    for number, events in enumerate(answers, 1):
        book.append(number, CAUSE._replace(id=f"{number}-0"), events)
    book.close()
    return path


def plainly(path: Path, after: tuple[int, int]) -> Iterator[Message]:
    """The messages behind an entry, by reading everything."""
    prev, identity = (0, 0), ""
    for transaction in ledger.read(path):
        identity = identity or ledger.identity_of(transaction.hash)
        for message in ledger.outgoing("risk_engine", transaction, prev, identity):
            if message.entry > after:
                yield message
            prev = message.entry


@settings(deadline=None)
@given(answers=st.lists(ANSWERS, max_size=60), after=st.tuples(st.integers(0, 62), st.integers(0, 3)))
def test_messages_behind_any_place_are_those_of_the_whole_ledger(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[Contract, ...]], after: tuple[int, int]
) -> None:
    path = write(tmp_path_factory.mktemp("l") / "risk_engine.ndjson", answers)
    assert list(ledger.messages_after(path, "risk_engine", after)) == list(plainly(path, after))


@settings(deadline=None)
@given(answers=st.lists(ANSWERS, max_size=40), near=st.integers(1, 3_000))
def test_every_place_is_found_and_read_on_from(
    tmp_path_factory: pytest.TempPathFactory, answers: list[tuple[Contract, ...]], near: int
) -> None:
    path = write(tmp_path_factory.mktemp("l") / "risk_engine.ndjson", answers)
    everything = list(ledger.read(path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ledger_lines, "_NEAR", near)
        for seq in range(len(everything) + 3):
            place = ledger_lines.place_before(path, seq)
            assert ledger_lines.stands_at(path, place)
            assert place.seq == min(max(seq - 1, 0), len(everything))
            assert list(ledger.read(path, place)) == everything[place.seq :]


def test_a_place_that_the_ledger_does_not_have_is_known(tmp_path: Path) -> None:
    path = write(tmp_path / "risk_engine.ndjson", [(DECISION,)] * 5)
    place = ledger_lines.place_before(path, 4)
    wrong = [
        place._replace(hash="0" * 64), place._replace(seq=2), place._replace(offset=place.offset - 1),
        place._replace(offset=10**9), Place(0, place.hash, 0),
    ]  # fmt: skip
    assert ledger_lines.stands_at(path, place)
    assert not any(ledger_lines.stands_at(path, each) for each in wrong)
    assert not ledger_lines.stands_at(tmp_path / "none.ndjson", place)


def test_the_tail_is_read_without_what_lies_far_before_it(tmp_path: Path) -> None:
    path = write(tmp_path / "risk_engine.ndjson", [(DECISION,), *[()] * 2_000, (DECISION,), (FILL,)])
    spoiled = bytearray(path.read_bytes())
    spoiled[len(spoiled) // 3] ^= 1
    path.write_bytes(spoiled)
    assert [m.prev for m in ledger.messages_after(path, "risk_engine", (2002, 0))] == [(2002, 0)]
    with pytest.raises(LedgerCorruptError):
        list(ledger.messages_after(path, "risk_engine", (1500, 0)))


def test_the_chain_is_verified_from_the_place_on(tmp_path: Path) -> None:
    path = write(tmp_path / "risk_engine.ndjson", [(DECISION,)] * 5)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:3], lines[4]]))
    with pytest.raises(LedgerCorruptError, match=rf"{path.name}:4: expected prev"):
        list(ledger.messages_after(path, "risk_engine", (2, 0)))
