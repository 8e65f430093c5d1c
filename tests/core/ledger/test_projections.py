"""Journals are brought up to their ledger line by line, also where the ledger says the same thing several times."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from core import codec
from core.contracts import OrderIntent, RiskState, TradingState
from core.journal.files import last_lines
from core.ledger import Cause, Ledger, projections
from core.ledger.lines import place_before
from core.ledger.projections import ProjectionOffset, digest
from core.service.host import JournalSet
from tests.support.topic_tables import SECOND, TWO_PRODUCERS, topic_table

STREAM = "risk.state"


def state(name: str) -> RiskState:
    return RiskState(TradingState.ACTIVE, name, 1_700_000_000_000_000_000)


def written(folder: Path, names: str) -> Path:
    book = Ledger(folder / "risk_engine.ndjson", durable=False)
    for name in names:
        book.append(1, Cause("local", "test"), [state(name)])
    book.close()
    return book.path


def lines(names: str) -> list[bytes]:
    return [codec.encode(state(name)) for name in names]


def journaled(folder: Path) -> str:
    path = folder / f"{STREAM}.ndjson"
    return "".join(codec.decode(RiskState, line).reason for line in path.read_bytes().splitlines())


@settings(max_examples=200, deadline=None)
@given(names=st.text("ab", max_size=40), share=st.floats(0, 1), marked=st.floats(0, 1))
def test_whatever_a_crash_left_of_a_journal_is_completed_though_events_repeat(
    names: str, share: float, marked: float
) -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        path = written(folder, names)
        kept = round(share * len(names))
        (folder / f"{STREAM}.ndjson").write_bytes(b"".join(line + b"\n" for line in lines(names[:kept])))
        at = round(marked * kept)  # a snapshot is taken when the journals are on the disk
        offset = None
        if at:
            offset = ProjectionOffset(place_before(path, at + 1), {STREAM: digest(lines(names[at - 1])[0])})
        journals = JournalSet(folder)
        projections.repair(journals, path, offset)
        journals.close()
        assert (journaled(folder) if names else "") == names


def test_two_producers_of_a_topic_write_journals_of_their_own_and_repair_them_from_their_own_ledgers(
    tmp_path: Path,
) -> None:
    with topic_table(TWO_PRODUCERS):
        for producer, quantities in (("strategy_runner", (1.0, 2.0)), (SECOND, (3.0,))):
            book = Ledger(tmp_path / f"{producer}.ndjson", durable=False)
            for quantity in quantities:
                intent = OrderIntent("s", "BTC/USDT", "buy", "market", quantity, intent_id=f"i{quantity}")
                book.append(1, Cause("local", "test"), [intent])
            book.close()
            journals = JournalSet(tmp_path / "journals")
            projections.repair(journals, book.path, None)
            journals.close()

    def journaled_quantities(name: str) -> list[float]:
        lines = (tmp_path / "journals" / f"{name}.ndjson").read_bytes().splitlines()
        return [codec.decode(OrderIntent, line).qty for line in lines]

    assert journaled_quantities("strat.intent") == [1.0, 2.0]
    assert journaled_quantities(f"strat.intent.{SECOND}") == [3.0]


def test_the_last_lines_of_a_file_leave_out_half_a_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    assert last_lines(path, 3) == []
    path.write_bytes(b"")
    assert last_lines(path, 3) == []
    path.write_bytes(b"1\n2\n3\n4\nhalf")
    assert last_lines(path, 3) == [b"4", b"3", b"2"]
    assert last_lines(path, 9) == [b"4", b"3", b"2", b"1"]
    path.write_bytes(b"".join(b"%06d\n" % number for number in range(100_000)))
    assert last_lines(path, 20_000) == [b"%06d" % number for number in range(99_999, 79_999, -1)]
