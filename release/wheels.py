"""The packages that Heliotrope stands on, as wheels for the target, and what each one is."""

from __future__ import annotations

import email
import re
import shutil
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path

from .interpreter import Interpreter
from .sources import sha256
from .target import Target
from .toolchain import run

EXTRAS = ("coordinator",)  # the agent is the base install; one bundle serves both daemons


@dataclass(frozen=True, slots=True)
class Component:
    """A line of the bill of materials; ``licence`` as the package itself says it."""

    name: str
    version: str
    licence: str
    file: str
    sha256: str


def install(root: Path, target: Target, interpreter: Interpreter, work: Path, log: Path) -> list[Component]:
    """Download the wheels of pyproject.toml's requirements and unpack them into the interpreter's site-packages."""
    folder, site = work / "wheels", interpreter.library / "site-packages"
    selection = ["--only-binary=:all:", "--implementation=cp", f"--python-version={_dotted(interpreter)}"]
    selection += [f"--platform={tag}" for tag in target.platform_tags()]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run([*pip, "download", "-d", folder, *selection, *requirements(root)], cwd=work, log=log)
    wheels = sorted(folder.glob("*.whl"))
    # By name, out of the folder: of a wheel that is named by its path, pip writes down where it lay.
    exact = ["==".join(wheel.name.split("-")[:2]) for wheel in wheels]
    unpack = [*pip, "install", "--no-index", "--no-deps", "--no-compile", *selection]
    run([*unpack, "--find-links", folder, "--target", site, *exact], cwd=work, log=log)
    shutil.rmtree(site / "bin", ignore_errors=True)  # programs that would start the builder's interpreter
    files = {_canonical(wheel.name.split("-")[0]): wheel for wheel in wheels}
    return sorted(_components(site, files), key=lambda component: component.name)


def requirements(root: Path) -> list[str]:
    """Of the base install and of the extras that a bundle has."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    return [*project["dependencies"], *(one for extra in EXTRAS for one in extras[extra])]


def _components(site: Path, files: dict[str, Path]) -> Iterator[Component]:
    for path in site.glob("*.dist-info/METADATA"):
        about = email.message_from_string(path.read_text(encoding="utf-8"))
        wheel = files[_canonical(about["Name"])]
        yield Component(about["Name"], about["Version"], _licence(about), wheel.name, sha256(wheel))


def _licence(about: Message) -> str:
    """From the newest of the three places that metadata has had for it."""
    named = [text.rpartition(" :: ")[2] for text in about.get_all("Classifier", []) if text.startswith("License ::")]
    stated = str(about["License-Expression"] or about["License"] or "").strip()
    name = "" if "\n" in stated else stated  # some put the whole text there
    return name or "; ".join(named) or stated.partition("\n")[0] or "not stated"


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _dotted(interpreter: Interpreter) -> str:
    return ".".join(map(str, interpreter.version))
