"""Job files: the defaults, and a refusal that names the field for everything else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.foundation import jobspec
from heliotrope.foundation.errors import InvalidInput
from heliotrope.foundation.jobspec import CheckpointRules, JobSpec, Policy

LEAST = 'name = "train"\ncommand = ["python", "train.py"]\n'


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.toml"
    path.write_text(text)
    return path


def test_the_shortest_job_file_has_sound_defaults(tmp_path: Path) -> None:
    spec = jobspec.load(_write(tmp_path, LEAST))
    assert spec.command == ("python", "train.py")
    assert spec.stopped_codes == (75,)
    assert spec.policy.movable and spec.policy.disconnect == "keep"
    assert spec.checkpoint.complete == "rename"


def test_a_full_job_file_is_read(tmp_path: Path) -> None:
    text = LEAST + (
        'files = ["train.py", "data/*.txt"]\noutputs = ["final"]\nenvironment = { SEED = "1" }\n'
        '[checkpoint]\ncomplete = "marker"\nmarker = "done"\nrequest = "signal"\nsignal = "SIGUSR2"\n'
        '[policy]\nsites_allowed = ["oslo"]\nalpha = 0.2\n[resources]\ngpu_count = 2\n'
    )
    spec = jobspec.load(_write(tmp_path, text))
    assert (spec.checkpoint.marker, spec.checkpoint.signal) == ("done", "SIGUSR2")
    assert spec.policy.sites_allowed == ("oslo",)
    assert spec.resources.gpu_count == 2
    assert spec.files == ("train.py", "data/*.txt")


@pytest.mark.parametrize(
    ("addition", "field"),
    [
        ("nodes = 2", "nodes"),
        ("files = 'train.py'", "files"),
        ('files = ["/etc/passwd"]', "files"),
        ('files = ["../secret"]', "files"),
        ('outputs = ["a/../../b"]', "outputs"),
        ('environment = { HELIOTROPE_SOCKET = "x" }', "environment.HELIOTROPE_SOCKET"),
        ("environment = { SEED = 1 }", "environment"),
        ("stopped_codes = [0]", "stopped_codes"),
        ('[checkpoint]\ndirectory = "/tmp"', "checkpoint.directory"),
        ('[checkpoint]\ndirectory = "."', "checkpoint.directory"),
        ('[checkpoint]\ncomplete = "marker"', "checkpoint.marker"),
        ('[checkpoint]\ncomplete = "magic"', "checkpoint.complete"),
        ('[checkpoint]\nrequest = "signal"\nsignal = "USR1"', "checkpoint.signal"),
        ("[checkpoint]\nkeep_count = 0", "checkpoint.keep_count"),
        ("[checkpoint]\ntimeout_s = 0", "checkpoint.timeout_s"),
        ("[policy]\nalpha = 0", "policy.alpha"),
        ("[policy]\nalpha = 1.5", "policy.alpha"),
        ("[policy]\nlease_s = -1", "policy.lease_s"),
        ('[policy]\ndisconnect = "maybe"', "policy.disconnect"),
        ('[policy]\nsites_allowed = ["a"]\nsites_forbidden = ["a"]', "policy.sites_forbidden"),
        ("[resources]\ngpu_count = -1", "resources.gpu_count"),
        ("[resources]\ngpus = 1", "resources.gpus"),
    ],
)
def test_bad_fields_are_named(tmp_path: Path, addition: str, field: str) -> None:
    path = _write(tmp_path, LEAST + addition)
    with pytest.raises(InvalidInput) as caught:
        jobspec.load(path)
    assert f"field {field}" in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ['command = ["a"]', 'name = "x"', 'name = "x"\ncommand = []'])
def test_name_and_command_are_required(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidInput, match=r"field (name|command)"):
        jobspec.load(_write(tmp_path, text))


@given(st.text(max_size=70))
def test_names_are_safe_as_file_names_or_refused(name: str) -> None:
    try:
        jobspec.check(JobSpec(name=name, command=("true",)))
    except InvalidInput as error:
        assert "field name" in str(error)
    else:
        assert 1 <= len(name) <= 63
        assert "/" not in name and not name.startswith(".") and name.isascii() and name == name.lower()


def test_a_spec_is_frozen_and_survives_json() -> None:
    spec = JobSpec(name="a", command=("true",), policy=Policy(alpha=0.5), checkpoint=CheckpointRules(request="none"))
    assert msgspec.json.decode(msgspec.json.encode(spec), type=JobSpec) == spec
    with pytest.raises(AttributeError):
        spec.name = "b"  # type: ignore[misc]
