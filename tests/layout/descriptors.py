"""The committed description of the wire contract, and what a change to it may not do.

``descriptors.json`` was written from the protos of ``heliotrope.v1``. Peers of other versions are in the field, so
names, numbers, types and the shapes of calls stay; what is new may be added. ``make proto`` adds it to the file, and
refuses the rest. To break the contract on purpose, write heliotrope.v2 beside it; before the first release,
``python -m tests.layout.descriptors --break`` writes the file anew, and the commit says why.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor, ServiceDescriptor

from heliotrope.v1 import common_pb2, fleet_pb2, identity_pb2, operator_pb2

COMMITTED = Path(__file__).with_name("descriptors.json")
FILES = (common_pb2.DESCRIPTOR, fleet_pb2.DESCRIPTOR, identity_pb2.DESCRIPTOR, operator_pb2.DESCRIPTOR)
TYPES = {
    value: name.removeprefix("TYPE_").lower()
    for name, value in vars(FieldDescriptor).items()
    if name.startswith("TYPE_")
}

Contract = dict[str, Any]


def current() -> Contract:
    """The contract of the installed generated code: messages, enums and services by full name."""
    contract: Contract = {"messages": {}, "enums": {}, "services": {}}
    for file in FILES:
        for message in file.message_types_by_name.values():
            _add_message(contract, message)
        for enum in file.enum_types_by_name.values():
            contract["enums"][enum.full_name] = _enum(enum)
        for service in file.services_by_name.values():
            contract["services"][service.full_name] = _service(service)
    return contract


def committed() -> Contract:
    contract: Contract = json.loads(COMMITTED.read_text(encoding="utf-8"))
    return contract


def broken(old: Contract, new: Contract) -> list[str]:
    """What of ``old`` a peer that was built from it would miss or misread in ``new``; empty when compatible."""
    found: list[str] = []
    for kind in ("messages", "enums", "services"):
        for name, members in old[kind].items():
            if name not in new[kind]:
                found.append(f"{name} is gone")
                continue
            for member, meaning in members.items():
                now = new[kind][name].get(member)
                if now != meaning:
                    found.append(f"{name}.{member} was {meaning}, is {now or 'gone'}")
    return found


def _add_message(contract: Contract, message: Descriptor) -> None:
    contract["messages"][message.full_name] = {field.name: _field(field) for field in message.fields}
    for nested in message.nested_types:
        _add_message(contract, nested)
    for enum in message.enum_types:
        contract["enums"][enum.full_name] = _enum(enum)


def _field(field: FieldDescriptor) -> str:
    """Number, label and type, and the oneof it is in: all that the encoding and a reader depend on."""
    inner = field.message_type or field.enum_type
    kind = inner.full_name if inner is not None else TYPES[field.type]
    label = "repeated " if field.is_repeated else "optional " if field.has_presence else ""
    choice = field.containing_oneof
    return f"{label}{kind} = {field.number}" + (f" in {choice.name}" if choice is not None else "")


def _enum(enum: EnumDescriptor) -> dict[str, int]:
    return {value.name: value.number for value in enum.values}


def _service(service: ServiceDescriptor) -> dict[str, str]:
    def shape(message: Descriptor, stream: bool) -> str:
        return ("stream " if stream else "") + message.full_name

    return {
        method.name: f"{shape(method.input_type, method.client_streaming)} -> "
        f"{shape(method.output_type, method.server_streaming)}"
        for method in service.methods
    }


def main(arguments: list[str]) -> int:
    """Extend the committed file by what is new. Exit code 1, and nothing written, when something old is broken."""
    new = current()
    problems = broken(committed(), new) if COMMITTED.exists() and arguments != ["--break"] else []
    for problem in problems:
        print(f"cannot extend {COMMITTED.name}: {problem}; keep it, and add a new name or number", file=sys.stderr)
    if not problems:
        COMMITTED.write_text(json.dumps(new, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
