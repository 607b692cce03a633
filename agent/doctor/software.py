"""Python, the packages that this installation asks for, the generated code's demands, and the native kernels.

What may not load is loaded by an interpreter of its own: a broken installation is a finding here, not a failed start.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata

from .finding import Finding, error, ok, warning
from .subject import Subject

OLDEST_PYTHON = (3, 11)
_REQUIREMENT = re.compile(r"([\w.-]+)(?:\[[^]]*\])?\s*([^;]*)(?:;\s*(.*))?")
_CLAUSE = re.compile(r"(>=|<=|==|!=|~=|<|>)\s*([\w.]+)")
_REINSTALL = "Install it again: pip install --upgrade heliotrope."


def findings(subject: Subject) -> Iterator[Finding]:
    yield python(sys.version_info[:2], platform.python_version(), platform.python_implementation())
    yield from packages(metadata.requires("heliotrope") or [], {role_extra(one.role) for one in subject.daemons})
    yield generated()
    yield native()


def role_extra(role: str) -> str:
    """The extra that a daemon of that role is installed with; the base install is the agent."""
    return "coordinator" if role == "coordinator" else ""


def python(version: tuple[int, int], text: str, implementation: str) -> Finding:
    if version < OLDEST_PYTHON:
        return error("software.python", f"{implementation} {text}", "Install Python 3.11 or later.", version=text)
    return ok("software.python", f"{implementation} {text} at {sys.executable}", version=text)


def packages(requirements: list[str], extras: set[str]) -> Iterator[Finding]:
    """Each package that ``requirements`` (as in a wheel's metadata) asks for without an extra or with one of those."""
    for requirement in requirements:
        match = _REQUIREMENT.fullmatch(requirement.strip())
        if match is None:
            continue
        name, wanted, marker = match.groups(default="")
        extra = re.search(r"extra\s*==\s*['\"](\w+)['\"]", marker)
        if (extra is not None and extra[1] not in extras) or name == "heliotrope":
            continue
        check = f"software.{name}"
        install = f"Run: pip install '{name}{wanted.strip()}'."
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            yield error(check, f"not installed; {wanted.strip() or 'any version'} is asked for", install)
            continue
        if satisfies(version, wanted):
            yield ok(check, version, version=version)
        else:
            yield error(check, f"{version}; {wanted.strip()} is asked for", install, version=version)


def satisfies(version: str, wanted: str) -> bool:
    """Whether a version meets all clauses such as ``>=1.2,<2``. Only the leading numbers are compared."""
    have = _numbers(version)
    for operator, text in _CLAUSE.findall(wanted):
        limit = _numbers(text)
        width = max(len(have), len(limit))
        left, right = (one + (0,) * (width - len(one)) for one in (have, limit))
        met = {
            ">=": left >= right,
            "<=": left <= right,
            "==": left == right,
            "!=": left != right,
            "<": left < right,
            ">": left > right,
            "~=": left >= right and left[: len(limit) - 1] == right[: len(limit) - 1],
        }[operator]
        if not met:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else (0,)


def generated() -> Finding:
    """The generated code checks the versions of its runtimes itself, when it is imported."""
    check = "software.generated"
    source = "from heliotrope.v1 import fleet_pb2_grpc as stubs; show(stubs.GRPC_GENERATED_VERSION)"
    version, complaint = evaluated(source)
    if complaint:
        return error(check, f"the generated code refuses its runtime: {complaint}", _REINSTALL)
    runtime, grpc_version = metadata.version("protobuf"), metadata.version("grpcio")
    return ok(
        check,
        f"made by gRPC tools {version}, runs on grpcio {grpc_version} and protobuf {runtime}",
        generator_version=str(version),
        grpcio_version=grpc_version,
        protobuf_version=runtime,
    )


def native() -> Finding:
    """Which kernels run; the scalar ones on a processor that has vectors mean slow transfers."""
    check = "software.native"
    kernels, complaint = evaluated("from heliotrope.native import kernels; show(kernels())")
    if complaint or not isinstance(kernels, dict):
        return error(check, f"the native module cannot be loaded: {complaint}", _REINSTALL)
    names = sorted(set(kernels.values()))
    text = ", ".join(f"{operation}: {kernel}" for operation, kernel in sorted(kernels.items()))
    if names == ["scalar"]:
        return warning(
            check,
            f"only scalar kernels run on this {platform.machine()} ({text})",
            "Unset HELIOTROPE_KERNEL, or install a wheel that was built for this processor.",
            kernels=names,
        )
    return ok(check, text, kernels=names)


def evaluated(source: str) -> tuple[object, str]:
    """What ``source`` gives to ``show`` in a fresh interpreter, and its complaint, empty if it had none."""
    program = f"import json\ndef show(value): print(json.dumps(value))\n{source}\n"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=20, check=False)
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"the interpreter ended with code {done.returncode}"
    return json.loads(done.stdout), ""
