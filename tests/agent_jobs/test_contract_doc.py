"""docs/job-contract.md says what the code does: every field of the job file, variable and message is in it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec

from heliotrope.agent.jobs import runfolder, spawn
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy, Resources

TEXT = (Path(__file__).parents[2] / "docs/job-contract.md").read_text()


def default_of(field: msgspec.structs.FieldInfo) -> str:
    value = field.default
    if value is msgspec.NODEFAULT or isinstance(value, msgspec.Struct):
        return ""
    if isinstance(value, tuple):
        return str(list(value))
    if isinstance(value, bool):
        return str(value).lower()
    return f'"{value}"' if isinstance(value, str) else f"{value:g}"


def test_every_field_of_the_job_file_is_there_with_its_default() -> None:
    rows: dict[str, str] = {}
    for line in TEXT.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        for name in re.findall(r"`(\w+)`", cells[0]):
            rows.setdefault(name, cells[1].strip("`") if len(cells) > 1 else "")
    for kind in (JobSpec, Resources, CheckpointRules, Policy):
        for field in msgspec.structs.fields(kind):
            if isinstance(field.default, msgspec.Struct):
                assert f"`[{field.name}]`" in TEXT
                continue
            assert field.name in rows, field.name
            if default_of(field):
                assert rows[field.name] == default_of(field), field.name


def test_every_variable_the_job_gets_is_there(workshop: Any) -> None:
    request = workshop.request("/bin/true", request_mode="signal")
    folder = Path(request.run_dir)
    folder.mkdir()
    (folder / runfolder.RUN).write_bytes(msgspec.json.encode(request))
    parameters = runfolder.Parameters(str(folder))
    for name in spawn.environment(parameters, str(folder), spawn.account(parameters)):
        assert f"`{name}`" in TEXT, name
    assert f"`{spawn.READY_FILE}`" in TEXT


def test_every_message_is_there() -> None:
    for kind in ("hello", "progress", "checkpoint", "checkpoint_failed", "welcome", "cancel", "error"):
        assert f'{{"type": "{kind}"' in TEXT, kind
