"""Tables become frozen dataclasses and come back; what does not fit is refused by name."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fcn_edge.errors import BadInput
from fcn_edge.schema import StoredValue, from_mapping, nearest, read_toml, to_mapping
from tests.refusals import refused

TOO_DEEP = 200_000  # brackets; Python's own parsers give up long before


@dataclass(frozen=True)
class Wheel:
    inches: int
    name: str = "wheel"


@dataclass(frozen=True)
class Car:
    """A field of every kind that the project's own dataclasses have."""

    wheels: tuple[Wheel, ...]
    size: tuple[int, int]
    weight: float
    drive: Literal["front", "rear"] = "front"
    electric: bool = False
    seats: int | None = None
    owners: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


VALID = {"wheels": [{"inches": 16}], "size": [2, 4], "weight": 900}


def test_missing_keys_take_their_defaults():
    car = from_mapping(Car, VALID, "car.toml")
    assert car == Car((Wheel(16),), (2, 4), 900.0)
    assert isinstance(car.weight, float)


@pytest.mark.parametrize(
    ("changed", "facts"),
    [
        ({"weigth": 1}, ("weigth", "weight")),
        ({"zzz": 1}, ("zzz", "wheels, size")),
        ({"wheels": [{"inch": 3}]}, ("wheels", "inch", "inches")),
        ({"wheels": [{}]}, ("wheels", "inches")),
        ({"wheels": {"inches": 3}}, ("wheels", "list")),
        ({"wheels": [3]}, ("wheels", "table", "int")),
        ({"size": [2]}, ("size", 2, 1)),
        ({"size": [2, "4"]}, ("size", "int", "4")),
        ({"size": "24"}, ("size", "list", "24")),
        ({"weight": "heavy"}, ("weight", "float", "heavy")),
        ({"weight": True}, ("weight", "float", "True")),
        ({"weight": float("nan")}, ("weight", "nan")),
        ({"weight": float("-inf")}, ("weight", "-inf")),
        ({"weight": 10**400}, ("weight", "finite")),
        ({"drive": "all"}, ("drive", "all", "front", "rear")),
        ({"electric": 1}, ("electric", "bool", 1)),
        ({"seats": 1.5}, ("seats", "int", 1.5)),
        ({"seats": True}, ("seats", "int", "True")),
        ({"owners": ["me"]}, ("owners", "table", "list")),
        ({"owners": {"2024": "me"}}, ("owners.2024", "list", "me")),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_what_does_not_fit_is_refused_by_name(changed, facts):
    with refused(BadInput, "car.toml", *facts):
        from_mapping(Car, VALID | changed, "car.toml")


def test_all_missing_keys_are_named_at_once():
    with refused(BadInput, "car.toml", "wheels", "size", "weight"):
        from_mapping(Car, {}, "car.toml")


def test_what_is_no_table_is_refused():
    with refused(BadInput, "car.toml", "list"):
        from_mapping(Car, [1], "car.toml")


def test_optional_may_be_none_and_others_may_not():
    assert from_mapping(Car, VALID | {"seats": None}, "car").seats is None
    with refused(BadInput, "car", "weight", "float", "None"):
        from_mapping(Car, VALID | {"weight": None}, "car")


cars = st.builds(
    Car,
    wheels=st.lists(st.builds(Wheel, st.integers(), st.text())).map(tuple),
    size=st.tuples(st.integers(), st.integers()),
    weight=st.floats(allow_nan=False, allow_infinity=False),
    drive=st.sampled_from(["front", "rear"]),
    electric=st.booleans(),
    seats=st.none() | st.integers(),
    owners=st.dictionaries(st.text(), st.lists(st.text()).map(tuple)),
)


@given(cars)
def test_dataclass_survives_the_way_to_plain_types_and_back(car):
    assert from_mapping(Car, to_mapping(car), "car") == car


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.slow
@given(st.fixed_dictionaries({}, optional=dict.fromkeys(Car.__dataclass_fields__, json_values)))
def test_any_json_makes_a_car_or_one_kind_of_error(mapping):
    with suppress(BadInput):
        assert isinstance(from_mapping(Car, VALID | mapping, "car"), Car)


def test_plain_types_hold_lists_and_tables():
    car = from_mapping(Car, VALID | {"owners": {"2024": ["me"]}}, "car")
    assert to_mapping(car) == VALID | {
        "wheels": [{"inches": 16, "name": "wheel"}],
        "weight": 900.0,
        "drive": "front",
        "electric": False,
        "seats": None,
        "owners": {"2024": ["me"]},
    }


def test_nearest_names_one_or_lists_all():
    assert "'road'" in nearest("rood", ["road", "car"]) and "car" not in nearest("rood", ["road", "car"])
    assert "road, car" in nearest("xyz", ["road", "car"])


def test_toml_is_read(tmp_path):
    (tmp_path / "a.toml").write_text("[network]\nbackbone = 'vgg16'\n", encoding="utf-8")
    assert read_toml(tmp_path / "a.toml") == {"network": {"backbone": "vgg16"}}


@pytest.mark.parametrize(
    ("content", "facts"),
    [
        (b"a = 1\nb = [1, 2}\n", ("TOML", "line 2")),
        (b"a = 1\na = 2\n", ("TOML",)),
        (b"a = '\xff'", ("TOML",)),
        (b"", ("empty",)),
        (b"a = " + b"[" * TOO_DEEP, ("TOML",)),
    ],
    ids=["bracket", "twice", "bytes", "empty", "too deep"],
)
def test_toml_that_does_not_parse_is_told(tmp_path, content, facts):
    (tmp_path / "a.toml").write_bytes(content)
    with refused(BadInput, tmp_path / "a.toml", *facts):
        read_toml(tmp_path / "a.toml")


@dataclass(frozen=True)
class Kept(StoredValue):
    size: float
    name: str = field(default="", metadata={"key": "label"})
    note: str | None = field(default=None, metadata={"omit_default": True})


def test_stored_value_keeps_unknown_keys_and_numbers_as_they_were_written():
    kept = from_mapping(Kept, {"size": 3, "label": "a", "later": [1]}, "kept.json")
    assert kept == Kept(3.0, "a")
    assert repr(to_mapping(kept)) == "{'size': 3, 'label': 'a', 'later': [1]}"
    assert to_mapping(replace(kept, name="b", note="n")) == {"size": 3, "label": "b", "later": [1], "note": "n"}
    assert to_mapping(Kept(3.0)) == {"size": 3.0, "label": ""}
    with refused(BadInput, "kept.json", "size"):
        from_mapping(Kept, {"label": "a"}, "kept.json")
