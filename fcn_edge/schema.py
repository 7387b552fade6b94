"""Frozen dataclasses from JSON or TOML, and back.

Unknown keys are refused with the nearest name; those of a `StoredValue` are kept instead.
"""

from __future__ import annotations

import dataclasses
import difflib
import sys
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from fcn_edge.atomic_io import require_file
from fcn_edge.errors import BadInput

if sys.version_info >= (3, 11):
    import tomllib
else:  # JetPack 6 has Python 3.10
    import tomli as tomllib

T = TypeVar("T")

# Told by their type alone: lists of thousands of them, such as histograms, are common.
PLAIN = frozenset({bool, float, int, str, type(None)})
STORED = "stored"


@dataclasses.dataclass(frozen=True)
class StoredValue:
    """Base of values in files that other versions of fcn-edge read and write too.

    Keys that this version does not know are no error, and `to_mapping` writes them back; so are numbers as they were
    written, so that the checksum of an unchanged value stays what it was. A field's metadata may hold `key`, its name
    in the file, and `omit_default`: a new file does not name it while it has its default.

    Args:
        stored: the table that the value was read from; None for a value that was made here.
    """

    stored: Mapping[str, Any] | None = dataclasses.field(default=None, repr=False, compare=False, kw_only=True)


def read_toml(path: Path) -> dict[str, Any]:
    """The table in a TOML file. Raises BadInput with the line that does not parse."""
    require_file(path, "a TOML file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise BadInput(f"{path}: not TOML ({error})") from error


def from_mapping(kind: type[T], mapping: Mapping[str, Any], where: str) -> T:
    """Make a `kind` (a dataclass) from `mapping`; `where` names the origin in errors.

    Raises:
        BadInput: an unknown or missing key, or a value of another type than declared.
    """
    if not isinstance(mapping, Mapping):
        raise BadInput(f"{where}: expected a table, found {type(mapping).__name__}")
    fields = _fields_by_key(typing.cast(type, kind))
    is_stored = issubclass(kind, StoredValue)
    hints = _types_of(typing.cast(type, kind))
    values: dict[str, Any] = {STORED: mapping} if is_stored else {}
    for key, value in mapping.items():
        if key in fields:
            name = fields[key].name
            values[name] = _convert(hints[name], value, f"{where}: {key}")
        elif not is_stored:
            raise BadInput(f"{where}: unknown key {key!r}{nearest(key, fields)}")
    missing = [key for key, field in fields.items() if field.name not in values and _is_required(field)]
    if missing:
        raise BadInput(f"{where}: missing {', '.join(missing)}")
    return kind(**values)


_FIELDS: dict[type, dict[str, dataclasses.Field[Any]]] = {}
_TYPES: dict[type, dict[str, Any]] = {}


def _fields_by_key(kind: type) -> dict[str, dataclasses.Field[Any]]:
    """The fields of a dataclass by their names in a file."""
    if kind not in _FIELDS:
        fields = (field for field in dataclasses.fields(kind) if field.name != STORED)
        _FIELDS[kind] = {field.metadata.get("key", field.name): field for field in fields}
    return _FIELDS[kind]


def _types_of(kind: type) -> dict[str, Any]:
    """The type of each field; annotations are evaluated once."""
    if kind not in _TYPES:
        _TYPES[kind] = typing.get_type_hints(kind)
    return _TYPES[kind]


def to_mapping(value: Any) -> Any:
    """Plain JSON types from a dataclass: tuples become lists, nested dataclasses become tables."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, StoredValue):
        return _stored_table(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_mapping(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, (list, tuple)):
        return [item if type(item) in PLAIN else to_mapping(item) for item in value]
    if isinstance(value, Mapping):
        return {key: to_mapping(item) for key, item in value.items()}
    return value


def _stored_table(value: StoredValue) -> dict[str, Any]:
    """The table of a stored value: as it was read, but for fields that have changed since."""
    table = dict(value.stored or {})
    for key, field in _fields_by_key(type(value)).items():
        item = to_mapping(getattr(value, field.name))
        if key in table:
            if table[key] != item:
                table[key] = item
        elif not _is_left_out(field, item, is_new=value.stored is None):
            table[key] = item
    return table


def _is_left_out(field: dataclasses.Field[Any], item: Any, *, is_new: bool) -> bool:
    """Whether a field that the file did not name stays unnamed."""
    if is_new and not field.metadata.get("omit_default"):
        return False
    if field.default_factory is not dataclasses.MISSING:
        return bool(item == to_mapping(field.default_factory()))
    return bool(item == to_mapping(field.default))


def nearest(word: str, names: typing.Iterable[str]) -> str:
    """'; did you mean X?' for the closest of `names`, else the list of them."""
    names = list(names)
    close = difflib.get_close_matches(word, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(names)}"


def _is_required(field: dataclasses.Field[Any]) -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return None if value is None else _convert(next(a for a in args if a is not type(None)), value, where)
    if origin is typing.Literal:
        if value not in args:
            raise BadInput(f"{where}: {value!r} is not one of {', '.join(map(str, args))}")
        return value
    if origin is tuple:
        return _tuple(args, value, where)
    if origin in (dict, Mapping):
        return {str(key): _convert(args[1], item, f"{where}.{key}") for key, item in _table(value, where).items()}
    if dataclasses.is_dataclass(hint):
        return from_mapping(hint, value, where)  # type: ignore[arg-type]
    return _scalar(hint, value, where)


def _table(value: Any, where: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise BadInput(f"{where}: expected a table, found {type(value).__name__}")
    return value


def _tuple(args: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)):
        raise BadInput(f"{where}: expected a list, found {value!r}")
    if len(args) == 2 and args[1] is Ellipsis:
        if args[0] in (int, str) and set(map(type, value)) <= {args[0]}:
            return tuple(value)
        if args[0] in PLAIN:
            return tuple(_scalar(args[0], item, where) for item in value)
        return tuple(_convert(args[0], item, where) for item in value)
    if len(value) != len(args):
        raise BadInput(f"{where}: expected {len(args)} values, found {len(value)}")
    return tuple(_convert(arg, item, where) for arg, item in zip(args, value, strict=True))


def _scalar(hint: Any, value: Any, where: str) -> Any:
    if hint is Any:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _finite(value, where)
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise BadInput(f"{where}: expected {hint.__name__}, found {value!r}")
    return value


def _finite(value: float, where: str) -> float:
    if not -sys.float_info.max <= value <= sys.float_info.max:  # also true of NaN
        raise BadInput(f"{where}: expected a finite number, found {value}")
    return float(value)
