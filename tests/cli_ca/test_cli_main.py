"""The command itself: verbs found late, one line per error, the documented exit codes, no trace unless asked for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import click
import pytest

from heliotrope.cli import main as entry
from heliotrope.cli.main import VERBS, Verb, run
from heliotrope.foundation import errors
from heliotrope.foundation.errors import HeliotropeError

Capture = pytest.CaptureFixture[str]
Install = Callable[[Callable[[], object]], None]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Install:
    """Makes a function the verb ``try``, as a module of its own in the table."""

    def add(function: Callable[[], object]) -> None:
        module = ModuleType("heliotrope_test_verb")
        module.__spec__ = spec_from_loader(module.__name__, loader=None)
        module.attempt = click.command()(function)  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, module.__name__, module)
        monkeypatch.setitem(VERBS, "try", Verb("heliotrope_test_verb:attempt", "For this test."))

    return add


@pytest.mark.parametrize("kind", [kind for kind in errors.catalogue() if kind.__module__ == errors.__name__])
def test_every_error_of_the_catalogue_is_one_line_with_its_code(
    install: Install, capsys: Capture, kind: type[HeliotropeError]
) -> None:
    def fail() -> None:
        raise kind("cannot move x:\n  y; do z")

    install(fail)
    assert run(["try"]) == kind.exit_code
    assert capsys.readouterr() == ("", "heliotrope: cannot move x: y; do z\n")


def test_a_defect_is_one_line_and_says_how_to_see_more(install: Install, capsys: Capture) -> None:
    def fail() -> None:
        raise ZeroDivisionError("by\nzero")

    install(fail)
    assert run(["try"]) == 70
    out, err = capsys.readouterr()
    assert out == ""
    assert re.fullmatch(r"heliotrope: unexpected ZeroDivisionError: by zero; .*--debug.*\n", err)


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_trace(install: Install, capsys: Capture, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    def fail_here() -> None:
        raise ZeroDivisionError("by zero")

    install(fail_here)
    if how == "variable":
        monkeypatch.setenv(entry.DEBUG_VARIABLE, "1")
    assert run(["--debug", "try"] if how == "option" else ["try"]) == 70
    err = capsys.readouterr().err
    assert "Traceback" in err and "fail_here" in err
    assert err.splitlines()[-1].startswith("heliotrope: unexpected ZeroDivisionError")


def test_interrupted(install: Install, capsys: Capture) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    install(fail)
    assert run(["try"]) == 130
    assert capsys.readouterr().err.strip() == "heliotrope: interrupted"


def test_a_verb_may_choose_its_exit_code(install: Install) -> None:
    install(lambda: click.get_current_context().exit(3))
    assert run(["try"]) == 3
    install(lambda: 4)
    assert run(["try"]) == 4
    install(lambda: None)
    assert run(["try"]) == 0


def test_a_missing_package_says_what_to_install(
    tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "heliotrope_test_needy.py").write_text("import a_package_that_is_not_there\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(VERBS, "needy", Verb("heliotrope_test_needy:needy", "For this test."))
    assert run(["needy"]) == errors.Incompatible.exit_code
    assert "a_package_that_is_not_there is missing; run: pip install" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["ca", "init"], "Missing argument 'DIR'"),
        (["ca", "init", "x"], "Missing option '--fleet'; see: heliotrope ca init --help"),
        (["--colour"], "No such option"),
    ],
)
def test_usage_errors_are_one_line_too(capsys: Capture, arguments: list[str], text: str) -> None:
    code = run(arguments)
    out, err = capsys.readouterr()
    assert (code, out) == (2, "")
    assert text in err and err.startswith("heliotrope: ") and err.count("\n") == 1


@pytest.mark.parametrize("arguments", [[], ["ca"]])
def test_a_group_alone_shows_its_help(capsys: Capture, arguments: list[str]) -> None:
    assert run(arguments) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("Usage: heliotrope") and "Commands:" in err


def test_help_offers_existing_verbs_without_importing_them(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(VERBS, "ghost", Verb("heliotrope.cli.no_such_module:ghost", "Not part of this installation."))
    assert run(["--help"]) == 0
    out = capsys.readouterr().out
    assert "Make a fleet's certificate authority" in out
    assert "ghost" not in out
    assert run(["ghost"]) == 2


def test_every_existing_verb_loads() -> None:
    for name, verb in VERBS.items():
        context = click.Context(entry.cli)
        if find_spec(verb.module) is not None:
            assert isinstance(entry.cli.get_command(context, name), click.Command)


def _heliotrope(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from heliotrope.cli.main import main; main()", *arguments],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_version_as_a_process() -> None:
    done = _heliotrope("--version")
    assert done.returncode == 0
    assert re.fullmatch(r"heliotrope \d+\.\d+\S*\n", done.stdout)


def test_an_error_as_a_process(tmp_path: Path) -> None:
    done = _heliotrope("ca", "show", str(tmp_path / "none"))
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("heliotrope: cannot read ") and done.stderr.count("\n") == 1


def test_the_console_script_is_installed() -> None:
    script = Path(sys.executable).with_name("heliotrope")
    done = subprocess.run([script, "--version"], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.startswith("heliotrope ")


def test_ca_does_not_wait_for_what_it_does_not_need() -> None:
    program = (
        "import sys; from heliotrope.cli.main import run; code = run(['ca', 'show', '/nonexistent']);"
        "heavy = ['numpy', 'google.protobuf', 'sqlalchemy', 'psutil', 'pynvml', 'heliotrope.foundation.tls'];"
        "print(code, [name for name in heavy if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "3 []\n"


def test_a_closed_pipe_is_no_error() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    with os.fdopen(write_end, "wb") as closed:
        done = subprocess.run(
            [sys.executable, "-c", "from heliotrope.cli.main import main; main()", "--version"],
            stdout=closed,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
    assert "Traceback" not in done.stderr
    assert "unexpected" not in done.stderr
