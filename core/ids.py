"""Deterministic identities: the same cause gives the same id, so that a repeat is recognised as one.

One stem runs through the life of an order and only the prefix changes: intent ``i-k3…``, decision
``d-k3…``, order ``o-k3…``, fills ``f-k3…-1``, ``f-k3…-2``. An id has at most 36 characters of
``[a-z0-9-]``, which every venue accepts as a client order id.
"""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from typing import Final

from core.errors import ContractError

_STEM_BYTES: Final = 10  # 16 characters of base 32; collisions are out of reach below 10^10 intents
_OURS: Final = re.compile(r"(?P<prefix>[a-z])-(?P<stem>[a-z2-7]{16})")


def stem(*parts: str) -> str:
    """Sixteen characters derived from the parts; the separator cannot be confused with their content."""
    digest = hashlib.blake2b(digest_size=_STEM_BYTES)
    for part in parts:
        raw = part.encode()
        digest.update(len(raw).to_bytes(4, "big"))
        digest.update(raw)
    return base64.b32encode(digest.digest()).decode().lower()


def intent_id(strategy_id: str, cause: str, index: int) -> str:
    """The id of a strategy's ``index``-th answer to the event that ``cause`` names."""
    return f"i-{stem(strategy_id, cause, str(index))}"


def decision_id(intent: str) -> str:
    """The id of the one decision on an intent."""
    return f"d-{_stem_of('i', intent)}"


def order_id(intent: str) -> str:
    """The id of the one order that an allowed intent becomes; also its client order id at a venue."""
    return f"o-{_stem_of('i', intent)}"


def fill_id(order: str, count: int) -> str:
    """The id of the ``count``-th fill (from 1) of an order."""
    return f"f-{_stem_of('o', order)}-{count}"


@lru_cache(maxsize=1024)  # one order asks for its ids a dozen times
def _stem_of(prefix: str, identity: str) -> str:
    """The stem of one of our ids of that kind; a foreign one, such as one typed by hand, is hashed into one.

    Only what is certainly ours is taken apart: two foreign ids must never end in one order.
    """
    if not identity:
        raise ContractError("expected a non-empty id to derive from, got ''")
    ours = _OURS.fullmatch(identity)
    return ours["stem"] if ours is not None and ours["prefix"] == prefix else stem(identity)
