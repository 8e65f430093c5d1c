"""What every shipped strategy has to show: its golden file. Subclass ``GoldenConformance`` with its name."""

from __future__ import annotations

import pytest

from core import codec
from core.contracts import OrderIntent
from scripts.regenerate_goldens import FOLDER, Golden, hash_of, read


class GoldenConformance:
    """Rules that hold for every sample strategy over its golden file."""

    name: str

    @pytest.fixture
    def golden(self) -> Golden:
        """The strategy's prices."""
        return read(FOLDER / f"{self.name}.jsonl")

    def test_it_answers_the_golden_prices_with_the_golden_intents(self, golden: Golden) -> None:
        recorded = [codec.decode_plain(line) for line in (FOLDER / f"{self.name}.jsonl").read_bytes().splitlines()]
        expected = [OrderIntent.from_dict(line["intent"]) for line in recorded if "intent" in line]

        intents = [intent for _, answered in golden.answers() for intent in answered]

        assert intents == expected
        assert recorded[-1] == {"intents": len(intents), "sha256": hash_of(intents)}

    def test_every_line_of_the_file_is_what_it_gives_today(self, golden: Golden) -> None:
        assert golden.lines() == (FOLDER / f"{self.name}.jsonl").read_bytes().splitlines()

    def test_it_acts_both_ways_and_seldom(self, golden: Golden) -> None:
        intents = [intent for _, answered in golden.answers() for intent in answered]

        assert {intent.side for intent in intents} == {"buy", "sell"}
        assert 2 < len(intents) < len(golden.prices) / 10

    def test_it_never_looks_ahead(self, golden: Golden) -> None:
        """Cut off at any price, it has answered what it answers with the rest still to come."""
        whole = golden.answers()
        for end in (50, 151, 300, 452):
            cut = Golden(golden.entry, golden.instrument, golden.prices[:end])
            assert cut.answers() == whole[:end]
