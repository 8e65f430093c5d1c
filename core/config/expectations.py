"""The expectation behind a value that a section refuses, in words."""

from __future__ import annotations

import re
from typing import Final

from pydantic_core import ErrorDetails

from core.config.schema import PATTERNS

_PREAMBLE: Final = re.compile(r"^.*?\bshould (?:be|have) ")
_DECIMAL: Final = re.compile(r"Decimal\('([^']*)'\)")


def expectation(details: ErrorDetails) -> str:
    """The requirement, as ``expected …``, without the value that came instead."""
    if details["type"] == "string_pattern_mismatch":
        return "expected " + PATTERNS.get(details["ctx"]["pattern"], f"text of the form {details['ctx']['pattern']}")
    if details["type"] in ("model_type", "model_attributes_type", "mapping_type", "dict_type"):
        return "expected keys and values below this one"
    if details["type"] == "tuple_type":
        return "expected a list"
    if details["type"] == "value_error":
        return str(details["ctx"]["error"]).partition(", got")[0]
    message = _PREAMBLE.sub("", _DECIMAL.sub(r"\1", details["msg"]))
    requirement = message.partition(", unable")[0].partition(" after validation")[0]
    return (
        f"expected a number {requirement}" if requirement.startswith(("greater", "less")) else f"expected {requirement}"
    )
