"""Contracts built quickly: the same objects, the same refusals, as frozen as those that ``dataclasses`` builds."""

from __future__ import annotations

import copy
import inspect
import pickle
from dataclasses import MISSING, FrozenInstanceError, dataclass, field, fields, replace
from typing import Any

import pytest

from core import codec
from core.contracts import Contract, FillEvent, OrderUpdate
from core.contracts.fast_init import quickly_built, trusted
from core.errors import ContractError
from tests.support.contract_samples import SAMPLES

ALL = [pytest.param(sample, id=type(sample).__name__) for sample in SAMPLES]


def values_of(contract: Contract) -> dict[str, Any]:
    return {each.name: getattr(contract, each.name) for each in fields(contract)}


@pytest.mark.parametrize("sample", ALL)
def test_built_without_checks_is_the_same_as_built_with_them(sample: Contract) -> None:
    kind: Any = type(sample)

    made = trusted(kind)(**values_of(sample))

    assert type(made) is kind
    assert made == kind(**values_of(sample)) == sample
    assert (repr(made), codec.encode(made)) == (repr(sample), codec.encode(sample))
    assert pickle.loads(pickle.dumps(made)) == copy.copy(made) == replace(made) == sample


@pytest.mark.parametrize("sample", ALL)
def test_what_is_built_quickly_stays_frozen_and_slotted(sample: Contract) -> None:
    for made in (type(sample)(**values_of(sample)), trusted(type(sample))(**values_of(sample))):
        with pytest.raises(FrozenInstanceError):
            setattr(made, fields(made)[0].name, 1)
        assert not hasattr(made, "__dict__")


@pytest.mark.parametrize("sample", ALL)
def test_names_order_and_defaults_of_the_arguments_are_the_fields(sample: Contract) -> None:
    found = list(inspect.signature(type(sample)).parameters.values())

    assert [each.name for each in found] == [each.name for each in fields(sample)]
    for given, known in zip(found, fields(sample), strict=True):
        optional = known.default is not MISSING or known.default_factory is not MISSING
        assert (given.default is not inspect.Parameter.empty) == optional


def test_checks_still_refuse_and_name_the_contract() -> None:
    with pytest.raises(ContractError, match=r"^FillEvent\.qty: expected"):
        FillEvent("o-1", "BTC/USDT", "buy", -1.0, 1.0, 0.0, 1)
    with pytest.raises(TypeError, match="missing"):
        OrderUpdate("o-1")  # type: ignore[call-arg]


def test_every_object_gets_a_container_of_its_own() -> None:
    one, other = (FillEvent("o-1", "BTC/USDT", "buy", 1.0, 1.0, 0.0, 1) for _ in range(2))
    third = trusted(FillEvent)("o-1", "BTC/USDT", "buy", 1.0, 1.0, 0.0, 1)

    assert one.meta == other.meta == third.meta == {}
    assert len({id(each.meta) for each in (one, other, third)}) == 3


def test_a_subclass_is_built_as_ever() -> None:
    @quickly_built
    @dataclass(frozen=True, slots=True)
    class Base:
        first: int
        more: list[int] = field(default_factory=list)

    class Named(Base):
        pass

    named = Named(3)

    assert type(named) is Named
    assert (named.first, named.more) == (3, [])
