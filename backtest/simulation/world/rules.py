"""The rules of the fleet's ledgers at every instant, checked transaction by transaction with code of their own.

Nothing of the fleet's code is used but the tables of topics and daemons: a rule that shares a mistake with what it
judges finds nothing.
``take`` costs what is new; ``finish`` asks what must hold once the fleet came to rest.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

import msgspec

from core.daemons import LEDGERED
from core.topics import TABLE, Delivery

Plain = dict[str, Any]
Entry = tuple[int, int]
GUARD: Final = "KillSwitchEvent"
_HASH: Final = b',"hash":"'
_DONE: Final = ("filled", "canceled", "rejected")
_COPIED: Final = ("symbol", "side", "type", "qty", "limit_price", "strategy_id")  # from the intent into the order
_decoder: Final = msgspec.json.Decoder(float_hook=Decimal)

Report = Callable[[str], None]


def parsed(line: bytes | str) -> Plain:
    """One line; numbers with a fraction are exact decimals."""
    values: Plain = _decoder.decode(line)
    return values


class Chain:
    """Reads one ledger's lines; each carries its own hash and the one before."""

    def __init__(self, name: str, fault: Report) -> None:
        self.number = 0
        self._name = f"{name}.ndjson"
        self._prev = hashlib.sha256(f"njord ledger {name}".encode()).hexdigest()
        self._fault = fault

    def read(self, lines: Sequence[bytes]) -> Iterator[Plain]:
        """The transactions of further lines, given without their newlines."""
        for line in lines:
            self.number += 1
            body, mark, tail = line.rpartition(_HASH)
            digest = hashlib.sha256(body + b"}").hexdigest()
            transaction = parsed(line)
            if not mark or tail != digest.encode() + b'"}':
                self._fault(f"{self._name}:{self.number}: does not match its hash")
            if transaction["prev"] != self._prev or transaction["seq"] != self.number:
                self._fault(f"{self._name}:{self.number}: breaks the chain")
            self._prev = digest
            yield transaction


class FleetRules:
    """All rules over all ledgers.

    Attributes:
        entries: by daemon and entry id, the topic and event of every ledger message.
        preceding: by daemon and entry id, the entry ahead of it.
        violations: the breaches.
    """

    def __init__(self) -> None:
        self.violations: list[str] = []
        self.entries: dict[str, dict[Entry, tuple[str, Plain]]] = {name: {} for name in LEDGERED}
        self.preceding: dict[str, dict[Entry, Entry]] = {name: {} for name in LEDGERED}
        self._newest: dict[str, Entry] = {}
        self._ledger_topics = {row.template: row for row in TABLE if row.delivery is Delivery.LEDGER}
        self._to_come: dict[tuple[str, str], deque[Entry]] = defaultdict(deque)  # by producer and consumer
        self._last: dict[tuple[str, str], Entry] = {}
        self._intents: dict[str, Plain] = {}
        self._decisions: dict[str, Plain] = {}
        self._decision_ids: dict[str, str] = {}  # to the intent
        self._orders: dict[str, Plain] = {}  # by intent
        self._orders_by_id: dict[str, Plain] = {}
        self._updates: dict[str, Plain] = {}
        self._fills: dict[str, Entry] = {}
        self._filled: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._positions: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._fees: defaultdict[str, Decimal] = defaultdict(Decimal)
        self._halted: dict[str, bool] = {}

    def fault(self, text: str) -> None:
        """Note a breach."""
        self.violations.append(text)

    @property
    def positions(self) -> dict[str, Decimal]:
        """By symbol, the sum of all fills."""
        return dict(self._positions)

    @property
    def counts(self) -> dict[str, int]:
        """The counts of what happened, so that a run in which nothing happens shows."""
        return {
            "intents": len(self._intents),
            "decisions": len(self._decisions),
            "orders": len(self._orders),
            "fills": len(self._fills),
            "cancels": sum(1 for topic, _ in self.entries["strategy_runner"].values() if topic == "orders.cancel"),
        }

    def take(self, batch: Sequence[tuple[str, Plain]]) -> None:
        """Judge further transactions of any ledgers. Those that others of the batch answer may stand behind them."""
        for daemon, transaction in batch:
            self._index(daemon, transaction)
        for daemon, transaction in batch:
            self._check_cause(daemon, transaction)
            if daemon == "risk_engine":
                self._check_decisions(transaction)
            elif daemon == "paper_trader":
                self._check_fills(transaction)
                self._check_positions(transaction)
            self._check_halt(daemon, transaction)

    def finish(self) -> None:
        """Judge a fleet at rest: nothing is under way any more."""
        for (producer, consumer), places in self._to_come.items():
            for place in places:
                self.fault(f"{consumer} never processed {producer} {place}")
        for intent_id in self._intents:
            if intent_id not in self._decisions:
                self.fault(f"no decision on intent {intent_id}")
        for order_id in self._orders_by_id:
            if order_id not in self._updates:
                self.fault(f"order {order_id} never reached the venue")

    def waiting(self) -> Iterator[str]:
        """Messages that a daemon has yet to process."""
        for (producer, consumer), places in self._to_come.items():
            for place in places:
                yield f"{consumer} has yet to process {producer} {place}"

    @property
    def at_rest(self) -> bool:
        """Whether everything that was said has been processed by all it was said to."""
        return not any(self._to_come.values())

    # ---- what is said

    def _index(self, daemon: str, transaction: Plain) -> None:
        for index, message in enumerate(transaction["events"]):
            topic, event = message["topic"], message["event"]
            row = self._ledger_topics.get(topic)
            if row is None:
                continue
            place = (transaction["seq"], index)
            self.entries[daemon][place] = (topic, event)
            self.preceding[daemon][place] = self._newest.get(daemon, (0, 0))
            self._newest[daemon] = place
            for consumer in row.consumers:
                if consumer in self.entries:
                    self._to_come[daemon, consumer].append(place)
            if topic == "strat.intent":
                self._once(self._intents, "intent_id", event, place)
            elif topic == "risk.decisions":
                self._once(self._decisions, "intent_id", event, place)
                other = self._decision_ids.setdefault(event["decision_id"], event["intent_id"])
                if other != event["intent_id"]:
                    self.fault(f"decision id {event['decision_id']} on two intents")
            elif topic == "orders.accepted":
                self._once(self._orders, "intent_id", event, place)
                self._orders_by_id[event["order_id"]] = event

    def _once(self, seen: dict[str, Plain], name: str, event: Plain, place: Entry) -> None:
        if event[name] in seen:
            self.fault(f"{name} {event[name]} again at {place}")
        seen[event[name]] = event

    # ---- what is processed

    def _check_cause(self, consumer: str, transaction: Plain) -> None:
        """Each ledger message is processed once, in order, as it was said, by every daemon that consumes its topic."""
        cause = transaction["cause"]
        producer = cause["stream"]
        if producer not in self.entries or "event" not in cause:
            return
        transaction_, _, index = cause["id"].partition("-")
        place = int(transaction_), int(index)
        if place <= self._last.get((producer, consumer), (0, 0)):
            self.fault(f"{consumer} processed {producer} {cause['id']} twice or out of order")
            return
        self._last[producer, consumer] = place
        if place not in self.entries[producer]:
            self.fault(f"{consumer} processed {producer} {place}, which that ledger does not have")
        elif self.entries[producer][place][1] != cause["event"]:
            self.fault(f"{consumer} processed another {producer} {place} than was said")
        to_come = self._to_come[producer, consumer]
        while to_come and to_come[0] <= place:
            skipped = to_come.popleft()
            if skipped != place:
                self.fault(f"{consumer} never processed {producer} {skipped}")

    # ---- decisions and orders

    def _check_decisions(self, transaction: Plain) -> None:
        """Allowed if and only if there is one order, which is what was asked for and carries its decision."""
        for message in transaction["events"]:
            event = message["event"]
            if message["topic"] == "risk.decisions":
                intent_id = event["intent_id"]
                if intent_id not in self._intents:
                    self.fault(f"a decision on intent {intent_id}, which nobody had")
                if event["allowed"] != (intent_id in self._orders):
                    self.fault(
                        f"intent {intent_id}: allowed is {event['allowed']}, orders {int(intent_id in self._orders)}"
                    )
            elif message["topic"] == "orders.accepted":
                self._check_order(event)

    def _check_order(self, order: Plain) -> None:
        if order["decision"] != self._decisions.get(order["intent_id"]):
            self.fault(
                f"order {order['order_id']} carries another decision than was taken on intent {order['intent_id']}"
            )
        intent = self._intents.get(order["intent_id"], {})
        differing = [name for name in _COPIED if order[name] != intent.get(name)]
        if differing:
            self.fault(f"order {order['order_id']} differs from its intent in {', '.join(differing)}")

    # ---- fills and positions

    def _check_fills(self, transaction: Plain) -> None:
        """Each fill belongs to an order, is counted once, and an order is never filled beyond its quantity."""
        touched: dict[str, None] = {}
        for index, message in enumerate(transaction["events"]):
            event = message["event"]
            if message["topic"] == "orders.updates":
                touched[event["order_id"]] = None
                self._check_update(event)
            elif message["topic"] == "fills.new":
                touched[event["order_id"]] = None
                self._check_fill(event, (transaction["seq"], index))
        for order_id in touched:
            self._check_sum(order_id)

    def _check_update(self, update: Plain) -> None:
        previous = self._updates.get(update["order_id"])
        if previous is not None and previous["status"] in _DONE:
            self.fault(f"order {update['order_id']} changed after it was {previous['status']}")
        self._updates[update["order_id"]] = update

    def _check_fill(self, fill: Plain, place: Entry) -> None:
        if fill["fill_id"] in self._fills:
            self.fault(f"fill_id {fill['fill_id']} again at {place}")
            return
        self._fills[fill["fill_id"]] = place
        order = self._orders_by_id.get(fill["order_id"])
        if order is None:
            self.fault(f"fill {fill['fill_id']} of order {fill['order_id']}, which was never accepted")
            return
        self._filled[fill["order_id"]] += fill["qty"]
        if any(fill[name] != order[name] for name in ("symbol", "side", "intent_id")):
            self.fault(f"fill {fill['fill_id']} does not fit its order {order['order_id']}")
        limit, sign = order["limit_price"], 1 if order["side"] == "buy" else -1
        if order["type"] == "limit" and sign * fill["price"] > sign * limit:
            self.fault(f"fill {fill['fill_id']} at {fill['price']} is worse than the limit {limit}")

    def _check_sum(self, order_id: str) -> None:
        order, last = self._orders_by_id.get(order_id), self._updates.get(order_id)
        if order is None:
            return
        filled = self._filled[order_id]
        if filled > order["qty"]:
            self.fault(f"order {order_id}: filled {filled} of {order['qty']}")
        if last is not None and (
            last["filled_qty"] != filled or (last["status"] == "filled") != (filled == order["qty"])
        ):
            self.fault(f"order {order_id}: fills add up to {filled}, its last update says {last['filled_qty']}")

    def _check_positions(self, transaction: Plain) -> None:
        """After every fill the position snapshot is the sum of the fills so far, fees too."""
        fresh = 0
        for message in transaction["events"]:
            event = message["event"]
            if message["topic"] == "fills.new":
                self._positions[event["symbol"]] += event["qty"] if event["side"] == "buy" else -event["qty"]
                self._fees[event["symbol"]] += event["fee"]
                fresh += 1
            elif message["topic"] == "positions.snapshot":
                fresh -= 1
                qty, fees = self._positions[event["symbol"]], self._fees[event["symbol"]]
                if (event["qty"], event["fees_paid"]) != (qty, fees):
                    self.fault(
                        f"position in {event['symbol']} at transaction {transaction['seq']}: expected {qty} with fees "
                        f"{fees}, got {event['qty']} with {event['fees_paid']}"
                    )
        if fresh:
            self.fault(f"transaction {transaction['seq']}: {fresh} more fills than position snapshots")

    # ---- the kill switch

    def _check_halt(self, daemon: str, transaction: Plain) -> None:
        """While the kill switch is tripped every intent is denied as halted and nothing is filled."""
        if daemon == "strategy_runner":
            return
        cause = transaction["cause"]
        if cause["id"] == GUARD:
            self._halted[daemon] = cause["event"]["tripped"]
        halted = self._halted.get(daemon, False)
        for message in transaction["events"]:
            topic, event = message["topic"], message["event"]
            if topic == "risk.decisions":
                if halted and event["reason"] != "halted":
                    self.fault(f"{daemon} transaction {transaction['seq']}: {topic} while halted")
                if not halted and event["reason"] == "halted":
                    self.fault(f"{daemon} transaction {transaction['seq']}: denied as halted without a halt")
            elif topic == "fills.new" and halted:
                self.fault(f"{daemon} transaction {transaction['seq']}: {topic} while halted")
