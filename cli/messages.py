"""Messages as plain records: what ``--json`` prints and what the tables are made from, in one place.

The rule (docs/cli.md): every field of the message under its own name; a Timestamp gets ``_utc`` and is a datetime, a
Duration gets ``_s`` and is seconds; an enum is its value's name without the prefix; bytes are hexadecimal; what is
absent or not a number is None.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC
from typing import Any, TypeAlias

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

Record: TypeAlias = dict[str, Any]

_TIMESTAMP = "google.protobuf.Timestamp"
_DURATION = "google.protobuf.Duration"


def record(message: Message) -> Record:
    """The message as a dict with every field in it, in the order of the .proto file."""
    return {_name(field): _field(message, field) for field in _fields(message.DESCRIPTOR)}


def names(kind: type[Message]) -> tuple[str, ...]:
    """The keys of such a message's record, in order."""
    return tuple(_name(field) for field in _fields(kind.DESCRIPTOR))


def _fields(descriptor: Any) -> Sequence[FieldDescriptor]:  # the type stubs know two classes of Descriptor
    return tuple(descriptor.fields)


def _name(field: FieldDescriptor) -> str:
    suffix = {_TIMESTAMP: "utc", _DURATION: "s"}.get(field.message_type.full_name if field.message_type else "", "")
    # A point in time that is called `utc` or `trace_utc` already says so.
    if not suffix or field.name.split("_")[-1] == suffix:
        return field.name
    return f"{field.name}_{suffix}"


def _field(message: Message, field: FieldDescriptor) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        inner = field.message_type.fields_by_name["value"]
        return {key: _value(inner, one) for key, one in sorted(value.items())}
    if field.is_repeated:
        return [_value(field, one) for one in value]
    if field.has_presence and not message.HasField(field.name):
        return None
    return _value(field, value)


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        if field.message_type.full_name == _TIMESTAMP:
            return value.ToDatetime(tzinfo=UTC)
        if field.message_type.full_name == _DURATION:
            return value.seconds + value.nanos / 1e9
        return record(value)
    if field.enum_type is not None:
        return _enum_name(field.enum_type, value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _enum_name(kind: EnumDescriptor, number: int) -> str:
    """A number that a newer coordinator knows and this version does not is shown as itself."""
    known = kind.values_by_number.get(number)
    if known is None:
        return str(number)
    prefix = "".join(f"_{letter}" if letter.isupper() else letter.upper() for letter in kind.name).lstrip("_")
    return str(known.name.removeprefix(f"{prefix}_"))
