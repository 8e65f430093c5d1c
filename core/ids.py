"""Deterministic identities: the same cause gives the same id, so that a repeat is recognised as one.

One stem runs through the life of an order and only the prefix changes: intent ``i-k3…``, decision
``d-k3…``, order ``o-k3…``, fills ``f-k3…-1``, ``f-k3…-2``. An id has at most 36 characters of
``[a-z0-9-]``, which every venue accepts as a client order id.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import Final

from core.errors import ContractError

_STEM_BYTES: Final = 10  # 16 characters of base 32; collisions are out of reach below 10^10 intents
_BASE32: Final = b"abcdefghijklmnopqrstuvwxyz234567".ljust(256, b"=")
_SPREADS: Final = (
    ((1 << 40) - 1 << 40, 24),
    (((1 << 20) - 1 << 20) * (1 | 1 << 64), 12),
    (((1 << 10) - 1 << 10) * sum(1 << at for at in range(0, 128, 32)), 6),
    (((1 << 5) - 1 << 5) * sum(1 << at for at in range(0, 128, 16)), 3),
)
"""Eighty bits to sixteen times five, each in a byte of its own, by halves: which bits move up, and how far."""
_OURS: Final = re.compile(r"(?P<prefix>[a-z])-(?P<stem>[a-z2-7]{16})")


def stem(*parts: str) -> str:
    """Sixteen characters derived from the parts; the separator cannot be confused with their content."""
    encoded = [part.encode() for part in parts]
    framed = b"".join([len(raw).to_bytes(4, "big") + raw for raw in encoded])
    bits = int.from_bytes(hashlib.blake2b(framed, digest_size=_STEM_BYTES).digest(), "big")
    for every_other, shift in _SPREADS:
        upper = bits & every_other
        bits ^= upper ^ upper << shift
    return bits.to_bytes(16, "big").translate(_BASE32).decode()


def intent_id(strategy_id: str, cause: str, index: int) -> str:
    """The id of a strategy's ``index``-th answer to the event that ``cause`` names."""
    return f"i-{stem(strategy_id, cause, str(index))}"


@lru_cache(maxsize=1024)  # one order asks for its ids a dozen times
def decision_id(intent: str) -> str:
    """The id of the one decision on an intent."""
    return f"d-{_stem_of('i', intent)}"


@lru_cache(maxsize=1024)
def order_id(intent: str) -> str:
    """The id of the one order that an allowed intent becomes; also its client order id at a venue."""
    return f"o-{_stem_of('i', intent)}"


def fill_id(order: str, count: int) -> str:
    """The id of the ``count``-th fill (from 1) of an order."""
    return f"f-{_stem_of('o', order)}-{count}"


@lru_cache(maxsize=1024)
def _stem_of(prefix: str, identity: str) -> str:
    """The stem of one of our ids of that kind; a foreign one, such as one typed by hand, is hashed into one.

    Only what is certainly ours is taken apart: two foreign ids must never end in one order.
    """
    if not identity:
        raise ContractError("expected a non-empty id to derive from, got ''")
    ours = _OURS.fullmatch(identity)
    return ours["stem"] if ours is not None and ours["prefix"] == prefix else stem(identity)
