"""The edge between protobuf messages and our own frozen structures: one walker instead of a converter per message.

Names correspond: a ``Timestamp`` field ``ended`` is the structure's ``ended_utc: datetime`` (one called ``utc`` keeps
its name), a ``Duration`` field ``lease`` is ``lease_s: float``, an enum is the StrEnum of its value names without the
prefix; everything else has the same name on both sides. A message field that is absent leaves the structure's default.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar

import msgspec
from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

from .config import explain
from .errors import InvalidInput

M = TypeVar("M", bound=Message)
T = TypeVar("T")

_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"


def to_message(record: Any, kind: type[M]) -> M:
    """A message of ``kind`` with every field that ``record`` has; None leaves a field absent."""
    message = kind()
    _fill(message, record)
    return message


def from_message(message: Message, kind: type[T]) -> T:
    """A structure of ``kind``; fields it does not know are left out. Raises InvalidInput naming the field."""
    try:
        return msgspec.convert(_read(message), kind)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"{message.DESCRIPTOR.name}: {explain(error)}") from error


def timestamp_utc(message: Any) -> datetime:
    """A protobuf Timestamp as a datetime in UTC."""
    moment: datetime = message.ToDatetime(tzinfo=UTC)
    return moment


class _Field:
    """One field's plan: its name on our side and how a single value crosses."""

    def __init__(self, field: FieldDescriptor) -> None:
        self.wire_name = field.name
        self.repeated = field.is_repeated
        inner: Any = field.message_type
        self.message = inner is not None
        self.map_value: _Field | None = None
        self.has_presence = field.has_presence
        self.name = field.name
        self.outward: Callable[[Any, Any], Any] = lambda _message, value: value
        self.inward: Callable[[Any], Any] = lambda value: value
        if self.message and inner.GetOptions().map_entry:
            self.map_value = _Field(inner.fields_by_name["value"])
        elif self.message and inner.full_name == _TIMESTAMP:
            self.name, self.inward = "utc" if field.name == "utc" else f"{field.name}_utc", timestamp_utc
        elif self.message and inner.full_name == _DURATION:
            self.name, self.inward = f"{field.name}_s", lambda value: value.seconds + value.nanos / 1e9
        elif self.message:
            self.inward = _read
        elif field.enum_type is not None:
            names, numbers = _enum_tables(field.enum_type)
            self.inward = lambda value: names.get(value, "UNSPECIFIED")
            self.outward = lambda _message, value: numbers[value]


@cache
def _enum_tables(kind: EnumDescriptor) -> tuple[dict[int, str], dict[str, int]]:
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in kind.name).lstrip("_") + "_"
    names = {value.number: value.name.removeprefix(prefix) for value in kind.values}
    return names, {name: number for number, name in names.items()}


@cache
def _plan(descriptor: Descriptor) -> tuple[_Field, ...]:
    return tuple(_Field(field) for field in descriptor.fields)


def _read(message: Message) -> dict[str, Any]:
    record: dict[str, Any] = {}
    for field in _plan(message.DESCRIPTOR):
        if field.map_value is not None:
            record[field.name] = {
                key: field.map_value.inward(value) for key, value in getattr(message, field.wire_name).items()
            }
        elif field.repeated:
            record[field.name] = [field.inward(value) for value in getattr(message, field.wire_name)]
        elif not field.has_presence or message.HasField(field.wire_name):
            record[field.name] = field.inward(getattr(message, field.wire_name))
    return record


def _fill(message: Message, record: Any) -> None:
    for field in _plan(message.DESCRIPTOR):
        value = getattr(record, field.name, None)
        if value is None:
            continue
        if field.map_value is not None or (field.repeated and not field.message):
            target = getattr(message, field.wire_name)
            if field.map_value is not None:
                target.update(value)
            else:
                target.extend(field.outward(message, item) for item in value)
        elif field.repeated:
            for item in value:
                _fill(getattr(message, field.wire_name).add(), item)
        elif field.message:
            _set_message(getattr(message, field.wire_name), value)
        else:
            setattr(message, field.wire_name, field.outward(message, value))


def _set_message(target: Any, value: Any) -> None:
    target.SetInParent()
    if target.DESCRIPTOR.full_name == _TIMESTAMP:
        target.FromDatetime(value)
    elif target.DESCRIPTOR.full_name == _DURATION:
        target.FromNanoseconds(round(value * 1e9))
    else:
        _fill(target, value)
