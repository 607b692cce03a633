"""Log lines: one per record, readable by people and programs, without secrets."""

from __future__ import annotations

import io
import json
import logging as standard
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import logging
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.logging import fields

LOG = standard.getLogger("heliotrope.agent.session")
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root, ours = standard.getLogger(), standard.getLogger("heliotrope")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:], _, _ = before
    root.setLevel(before[1])
    ours.setLevel(before[2])
    standard.captureWarnings(False)


def _line(message: str, /, *args: object, json_lines: bool = False, journal: bool = False, **values: Any) -> str:
    record = LOG.makeRecord(LOG.name, standard.WARNING, __file__, 1, message, args, None, extra=fields(**values))
    return logging.LineFormatter(json_lines=json_lines, journal=journal).format(record)


def test_a_line_has_time_level_component_and_fields() -> None:
    line = _line("moved %s", "job-1", size_bytes=12, rate=1.5, note="two words", empty="", none=None)
    assert re.fullmatch(
        TIME + r' warning agent\.session: moved job-1 size_bytes=12 rate=1\.5 note="two words" empty="" none=None', line
    )


def test_a_json_line_is_one_object() -> None:
    line = json.loads(_line("moved", json_lines=True, size_bytes=12, path=Path("/x"), message="other"))
    assert re.fullmatch(TIME, line.pop("time"))
    assert line == {
        "level": "warning",
        "component": "agent.session",
        "message": "moved",
        "size_bytes": 12,
        "path": "/x",
        "message_": "other",
    }


def test_the_journal_gets_a_priority_and_no_time() -> None:
    assert _line("moved", journal=True) == "<4>warning agent.session: moved"
    assert "time" not in json.loads(_line("moved", journal=True, json_lines=True).removeprefix("<4>"))


@given(text=st.text(), value=st.text())
def test_no_text_makes_a_second_line(text: str, value: str) -> None:
    for json_lines in (False, True):
        line = _line("%s", text, json_lines=json_lines, note=value)
        assert len(line.splitlines()) == 1
        assert "\x1b" not in line
        line.encode("utf-8")


def test_an_exception_stays_on_its_line() -> None:
    stream = io.StringIO()
    logging.setup(stream=stream)
    try:
        raise ValueError("bad\nthing at https://ann:hush-1234@example.org")
    except ValueError:
        LOG.exception("cannot go on")
    (line,) = stream.getvalue().splitlines()
    assert r'error="ValueError: bad\nthing at https://(hidden)@example.org"' in line
    assert "hush" not in line
    assert "test_log_lines.py" in line


KEY = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49\n-----END PRIVATE KEY-----"


@pytest.mark.parametrize("json_lines", [False, True])
@pytest.mark.parametrize(
    ("message", "values"),
    [
        ("x", {"token": "hush-1234"}),
        ("x", {"join_token": "hush-1234"}),
        ("x", {"api_key": "hush-1234"}),
        ("x", {"password": "hush-1234"}),
        ("x", {"Authorization": "hush-1234"}),
        ("x", {"blob": b"hush-1234"}),
        ("read " + KEY.replace("MIG", "hush-1234"), {}),
        ("x", {"note": KEY.replace("MIG", "hush-1234")}),
        ("x", {"note": "-----BEGIN EC PRIVATE KEY-----\nhush-1234 cut off"}),
        ("get https://ann:hush-1234@example.org/x", {}),
        ("sent Bearer hush-1234.abc", {}),
    ],
)
def test_secrets_are_hidden(message: str, values: dict[str, Any], json_lines: bool) -> None:
    line = _line("%s", message, json_lines=json_lines, **values)
    assert "hush" not in line
    assert logging._HIDDEN in line or "bytes)" in line


def test_harmless_fields_are_shown() -> None:
    assert "key_count=3 ticketing=no chunk_key=abc" in _line("x", key_count=3, ticketing="no", chunk_key="abc")


def test_levels_and_other_packages() -> None:
    stream = io.StringIO()
    logging.setup(level="info", stream=stream)
    LOG.info("ours")
    LOG.debug("too much")
    standard.getLogger("elsewhere").info("theirs")
    standard.getLogger("elsewhere").warning("a warning of theirs")
    assert [line.split(" ", 1)[1] for line in stream.getvalue().splitlines()] == [
        "info agent.session: ours",
        "warning elsewhere: a warning of theirs",
    ]
    logging.setup(level="debug", stream=stream)
    LOG.debug("now wanted")
    assert stream.getvalue().count("now wanted") == 1, "setting up again replaces, it does not double"
    with pytest.raises(InvalidInput, match="field log level"):
        logging.setup(level="loud")


def test_the_journal_is_recognised_by_its_inode(tmp_path: Path) -> None:
    with open(tmp_path / "journal", "w") as stream:
        status = os.fstat(stream.fileno())
        assert logging.is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not logging.is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not logging.is_journal(stream, {})
    assert not logging.is_journal(stream, {"JOURNAL_STREAM": "1:2"}), "closed"
    assert not logging.is_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


def test_a_daemon_under_the_journal_writes_priorities(tmp_path: Path) -> None:
    program = (
        "import logging as l; from heliotrope.foundation import logging; logging.setup();"
        "l.getLogger('heliotrope.agent').error('x', extra=logging.fields(n=1))"
    )
    with open(tmp_path / "journal", "w") as stream:
        status = os.fstat(stream.fileno())
        environment = {**os.environ, "JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        subprocess.run([sys.executable, "-c", program], stderr=stream, env=environment, check=True, timeout=60)
    assert (tmp_path / "journal").read_text() == "<3>error agent: x n=1\n"
