"""Read a PyTorch pickle's structure without running it: which storage has which element type, and its tensor's name.

``pickle.load`` calls whatever the file names; a job's file must never make the daemon do that. Here the opcodes are
listed with ``pickletools`` and followed on a stack of inert nodes: globals stay names, calls stay (function,
arguments) pairs.
"""

from __future__ import annotations

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_MARK = object()
_STRINGS = {"BINUNICODE", "SHORT_BINUNICODE", "UNICODE", "BINUNICODE8"}
_NUMBERS = {"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG"}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT"}
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_DEPTH_LIMIT = 64


@dataclass
class _Node:
    """A dict (pairs in ``items``), a list or tuple (values in ``items``), a call or a storage reference (``head``)."""

    head: Any = None
    items: list[Any] = field(default_factory=list)


@dataclass(frozen=True)
class Storage:
    """A persistent id of a PyTorch pickle: the member it is stored in and its storage class's name."""

    key: str
    kind: str


def storages(data: bytes) -> dict[str, tuple[str, str]]:
    """Storage key -> (storage class such as ``FloatStorage``, dotted name of the first tensor that uses it).

    Empty for bytes that are not such a pickle. Time and memory are linear in the pickle's length.
    """
    try:
        machine = _Machine()
        for opcode, argument, _ in pickletools.genops(data):
            machine.step(opcode, argument)
    except (ValueError, IndexError, KeyError, TypeError, UnicodeDecodeError):
        return {}
    found = {storage.key: (storage.kind, "") for storage in machine.seen}
    for name, storage in _named(machine.stack[-1] if machine.stack else None):
        if not found[storage.key][1]:
            found[storage.key] = (storage.kind, name)
    return found


class _Machine:
    """The pickle machine with everything that acts left out."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}
        self.seen: list[Storage] = []

    def step(self, opcode: pickletools.OpcodeInfo, argument: Any) -> None:
        name = opcode.name
        if name in _STRINGS or name in _NUMBERS:
            self.stack.append(argument)
        elif name in _GETS:
            self.stack.append(self.memo[int(argument)])
        elif name in _PUTS:
            self.memo[int(argument)] = self.stack[-1]
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name == "GLOBAL":
            self.stack.append(("global", str(argument).rpartition(" ")[2]))
        elif name == "STACK_GLOBAL":
            _, kind = self._take(2)
            self.stack.append(("global", kind))
        elif not self._container(name):
            self._other(opcode)

    def _container(self, name: str) -> bool:
        if name in ("MARK", "EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE", "EMPTY_SET"):
            self.stack.append(_MARK if name == "MARK" else _Node())
        elif name in ("SETITEMS", "APPENDS"):
            values = self._to_mark()
            self._extend(self.stack[-1], values, pairs=name == "SETITEMS")
        elif name == "SETITEM":
            key, value = self._take(2)
            self._extend(self.stack[-1], [key, value], pairs=True)
        elif name == "APPEND":
            (value,) = self._take(1)
            self._extend(self.stack[-1], [value], pairs=False)
        elif name in _TUPLES or name == "TUPLE":
            self.stack.append(_Node(items=self._to_mark() if name == "TUPLE" else self._take(_TUPLES[name])))
        elif name == "REDUCE":
            function, arguments = self._take(2)
            self.stack.append(_Node(head=function, items=[arguments]))
        elif name == "BINPERSID":
            (key,) = self._take(1)
            self.stack.append(self._storage(key))
        else:
            return False
        return True

    def _other(self, opcode: pickletools.OpcodeInfo) -> None:
        """Any other opcode: take what its description says it takes, put what it gives, understand nothing."""
        if opcode.name == "STOP":
            return
        before = opcode.stack_before
        if opcode.name == "BUILD":  # the state goes into the object, which stays
            target, state = self._take(2)
            self._extend(target, [state], pairs=False)
            self.stack.append(target)
            return
        if pickletools.markobject in before:
            self._to_mark()
            self._take(before.index(pickletools.markobject))
        else:
            self._take(len(before))
        self.stack.extend(None for _ in opcode.stack_after)

    def _take(self, count: int) -> list[Any]:
        if count > len(self.stack):
            raise IndexError(count)
        values = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return values

    def _to_mark(self) -> list[Any]:
        values: list[Any] = []
        while (value := self.stack.pop()) is not _MARK:
            values.append(value)
        return values[::-1]

    def _storage(self, key: Any) -> Any:
        # ("storage", storage class, key, device, element count): torch.serialization, persistent_id
        match key:
            case _Node(items=["storage", ("global", str(kind)), str(name), *_]):
                storage = Storage(name, kind)
                self.seen.append(storage)
                return storage
        return None

    @staticmethod
    def _extend(node: Any, values: list[Any], *, pairs: bool) -> None:
        if isinstance(node, _Node):
            node.items.extend(zip(values[::2], values[1::2], strict=True) if pairs else values)


def _named(root: Any) -> Iterator[tuple[str, Storage]]:
    """Every storage with the dotted path of keys that leads to it, depth first; every node is entered once."""
    visited: set[int] = set()
    waiting: list[tuple[str, int, Any]] = [("", 0, root)]
    while waiting:
        name, depth, value = waiting.pop()
        if isinstance(value, Storage):
            yield name, value
        elif isinstance(value, _Node) and id(value) not in visited and depth < _DEPTH_LIMIT:
            visited.add(id(value))
            for item in reversed(value.items):
                match item:
                    case (str() | int() as key, inner):
                        waiting.append((f"{name}.{key}" if name else str(key), depth + 1, inner))
                    case _:
                        waiting.append((name, depth + 1, item))
