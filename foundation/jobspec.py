"""The job file: what a person writes to have a job run, checked strictly (docs/job-contract.md is its guide)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal, dataclass_transform

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from . import config, safenames, spans
from .errors import InvalidInput

Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Ratio = Annotated[float, Meta(gt=0, le=1)]
Count = Annotated[int, Meta(ge=0)]


@dataclass_transform(frozen_default=True, kw_only_default=True)
class Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of everything read from a file: frozen, and an unknown key is an error."""


class Resources(Strict):
    """What the job needs of its one node."""

    gpu_count: Count = 0
    gpu_model: str = ""  # empty: any; by default a move keeps the model it started on
    gpu_memory_bytes: Count = 0
    memory_bytes: Count = 0
    disk_bytes: Count = 0
    cpu_count: Count = 1


class CheckpointRules(Strict):
    """Where checkpoints appear, when one is whole, and how one is asked for."""

    directory: str = "checkpoints"  # relative to the working directory; the job sees HELIOTROPE_CHECKPOINT_DIR
    complete: Literal["rename", "marker", "message"] = "rename"
    marker: str = ""  # bare file name in the checkpoint directory or in its entries, for complete = "marker"
    request: Literal["socket", "signal", "none"] = "socket"
    signal: str = "SIGUSR1"
    interval_s: NotNegative = 0.0  # 0: the job decides by itself; else the agent asks this often
    timeout_s: Positive = 300.0  # how long a request may stay unanswered
    keep_count: Annotated[int, Meta(ge=1)] = 2
    replicate_every: str = ""  # "10m": the newest checkpoint is copied to a second node this often; empty: never
    replicas: Annotated[int, Meta(ge=1, le=8)] = 1  # how many other nodes hold a copy
    replicate_to: tuple[str, ...] = ()  # sites that hold them, best first; others only when none of these can

    @property
    def replicate_every_s(self) -> float:
        """0: no replicas are made. The text was checked by :func:`check`."""
        return spans.parse_s(self.replicate_every) if self.replicate_every else 0.0


class Requirement(Strict):
    """A path of the node that the job reads: a dataset, a mount. Checked there, as the job's account."""

    path: str  # absolute
    kind: Literal["any", "folder", "file", "mount"] = "any"


class Policy(Strict):
    """What the planner may do with the job."""

    sites_allowed: tuple[str, ...] = ()  # empty: all
    sites_preferred: tuple[str, ...] = ()
    sites_forbidden: tuple[str, ...] = ()
    movable: bool = True
    alpha: Ratio = 0.1  # tolerated disruption as a share of the destination's window
    deadline: str = ""  # RFC 3339 with zone, empty: none
    priority: int = 0
    same_fingerprint: bool = False
    disconnect: Literal["keep", "stop"] = "keep"
    lease_s: Positive = 900.0  # for disconnect = "stop": the job stops itself this long after the last renewal
    # When its node is lost and no checkpoint of it can be reached: wait for one, or start from the beginning.
    on_loss: Literal["wait", "restart"] = "wait"
    restart_limit: Count = 3  # restarts after failures before the job counts as FAILED
    grace_s: Positive = 30.0  # between a stop request and SIGKILL
    # Whether its base is sent to its likeliest next site before it moves; "auto": as the coordinator's rule says.
    stage_ahead: Literal["auto", "on", "off"] = "auto"
    stage_ahead_bytes_per_day: Count = 0  # what that may send in any 24 hours; 0: as the coordinator's rule says


class JobSpec(Strict):
    """A job: command, files, environment, resources, checkpoint rules, outputs, policy."""

    name: str
    command: Annotated[tuple[str, ...], Meta(min_length=1)]
    files: tuple[str, ...] = ()  # brought along, relative to the job file's folder; globs allowed
    environment: dict[str, str] = {}
    prepare: tuple[str, ...] = ()  # run at every node before the first start there, e.g. to build an environment
    resources: Resources = Resources()
    checkpoint: CheckpointRules = CheckpointRules()
    outputs: tuple[str, ...] = ()  # fetched by `heliotrope job fetch`, relative to the working directory
    requires: tuple[Requirement, ...] = ()  # what every node must have already; a bare path in the file is of any kind
    policy: Policy = Policy()
    stopped_codes: tuple[int, ...] = (75,)
    user: str = ""  # local account; empty: the node's default


_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")
_REQUIRES_LIMIT = 64  # each is looked at on every node before a start
_CODE_LIMIT = 255  # the greatest exit code there is
_SITES = ("sites_allowed", "sites_preferred", "sites_forbidden")
_SIZES = ("gpu_memory_bytes", "memory_bytes", "disk_bytes")
_COUNTS = ("gpu_count", "cpu_count")


def load(path: Path) -> JobSpec:
    """Read and check a job file. Raises InvalidInput naming the file and the field."""
    return from_table(config.read_table(path), where=str(path))


def from_table(table: dict[str, Any], *, where: str) -> JobSpec:
    """A checked job of a job file's table, whose ``requires`` may name bare paths. Raises InvalidInput."""
    listed = table.get("requires")
    if isinstance(listed, list):
        table = {**table, "requires": [{"path": one} if isinstance(one, str) else one for one in listed]}
    spec = _to_nanoseconds(config.parse(table, JobSpec, where=where))
    check(spec, where=where)
    return spec


def _to_nanoseconds(spec: JobSpec) -> JobSpec:
    """As spans travel: the job is the same one at the coordinator and at the agent."""
    rules, policy = spec.checkpoint, spec.policy
    rules = replace(rules, interval_s=round(rules.interval_s, 9), timeout_s=round(rules.timeout_s, 9))
    policy = replace(policy, lease_s=round(policy.lease_s, 9), grace_s=round(policy.grace_s, 9))
    return replace(spec, checkpoint=rules, policy=policy)


def check(spec: JobSpec, *, where: str = "job") -> None:
    """The rules that types cannot say. Raises InvalidInput naming the field."""
    for field, cause in (
        *_word_faults(spec),
        *_path_faults(spec),
        *_checkpoint_faults(spec.checkpoint),
        *_replica_faults(spec),
        *_ahead_faults(spec.policy),
        *_number_faults(spec),
    ):
        raise InvalidInput(f"{where}: field {field}: {cause}")
    both = set(spec.policy.sites_allowed) & set(spec.policy.sites_forbidden)
    if both:
        raise InvalidInput(
            f"{where}: field policy.sites_forbidden: {sorted(both)} is also in sites_allowed; decide for one"
        )


def _word_faults(spec: JobSpec) -> Iterator[tuple[str, str]]:
    """Names, and texts that become arguments and variables."""
    if not _NAME.fullmatch(spec.name):
        yield "name", f"{spec.name!r} is not a name; use 1-63 of a-z, 0-9, '.', '_' and '-'"
    if spec.user and (fault := safenames.account_fault(spec.user)):
        yield "user", f"{spec.user!r} {fault}"
    if not spec.command[0]:
        yield "command", "its first word is empty; name the program to run"
    if spec.prepare and not spec.prepare[0]:
        yield "prepare", "its first word is empty; name the program to run"
    for name, value in spec.environment.items():
        if fault := safenames.variable_fault(name):
            yield f"environment.{name}", fault
        if fault := safenames.text_fault(value):
            yield f"environment.{name}", f"{value!r} {fault}"
    texts = {"command": spec.command, "prepare": spec.prepare, "resources.gpu_model": (spec.resources.gpu_model,)}
    texts |= {"policy.deadline": (spec.policy.deadline,)}
    texts |= {f"policy.{name}": getattr(spec.policy, name) for name in _SITES}
    for field, words in texts.items():
        yield from ((field, f"{word!r} {fault}") for word in words if (fault := safenames.text_fault(word)))


def _path_faults(spec: JobSpec) -> Iterator[tuple[str, str]]:
    for field, paths in (("files", spec.files), ("outputs", spec.outputs)):
        yield from ((field, f"{path!r} {fault}") for path in paths if (fault := safenames.pattern_fault(path)))
    if len(spec.requires) > _REQUIRES_LIMIT:
        yield "requires", f"{len(spec.requires)} paths, at most {_REQUIRES_LIMIT}; name the folders that hold them"
    for one in spec.requires:
        if fault := safenames.absolute_fault(one.path):
            yield "requires", f"{one.path!r} {fault}"


def _checkpoint_faults(rules: CheckpointRules) -> Iterator[tuple[str, str]]:
    if fault := safenames.inside_fault(rules.directory):
        yield "checkpoint.directory", f"{rules.directory!r} {fault}"
    elif PurePosixPath(rules.directory) == PurePosixPath():
        yield "checkpoint.directory", f"{rules.directory!r} is the working directory; name a folder inside it"
    if rules.complete == "marker" and not rules.marker:
        yield "checkpoint.marker", 'complete = "marker" needs the marker\'s file name'
    elif rules.marker and (fault := safenames.name_fault(rules.marker)):
        yield "checkpoint.marker", f"{rules.marker!r} {fault}"
    if fault := safenames.signal_fault(rules.signal):
        yield "checkpoint.signal", f"{rules.signal!r} {fault}"


def _number_faults(spec: JobSpec) -> Iterator[tuple[str, str]]:
    if 0 in spec.stopped_codes:
        yield "stopped_codes", "0 always means finished; leave it out"
    yield from (
        ("stopped_codes", f"{code} is no exit code; use 1 to {_CODE_LIMIT}")
        for code in spec.stopped_codes
        if not 0 <= code <= _CODE_LIMIT
    )
    seconds = {
        "checkpoint.interval_s": spec.checkpoint.interval_s,
        "checkpoint.timeout_s": spec.checkpoint.timeout_s,
        "policy.lease_s": spec.policy.lease_s,
        "policy.grace_s": spec.policy.grace_s,
    }
    for field, span_s in seconds.items():
        if not (span_s == 0 or spans.SHORTEST_S <= span_s <= spans.LONGEST_S):  # not a number compares as false too
            most = f"{spans.SHORTEST_S:g} to {spans.LONGEST_S:.0f}"
            yield field, f"{span_s} is no span of time; give seconds, {most}"
    counts = {"policy.stage_ahead_bytes_per_day": spec.policy.stage_ahead_bytes_per_day}
    counts |= {f"resources.{name}": getattr(spec.resources, name) for name in (*_SIZES, *_COUNTS)}
    counts |= {"checkpoint.keep_count": spec.checkpoint.keep_count}
    counts |= {f"policy.{name}": getattr(spec.policy, name) for name in ("restart_limit", "priority")}
    for field, count in counts.items():
        limit = 2**63 if "_bytes" in field else 2**31
        if not -limit < count < limit:
            yield field, f"{count} is beyond what can be counted; give less than {limit}"


def _replica_faults(spec: JobSpec) -> Iterator[tuple[str, str]]:
    rules = spec.checkpoint
    if rules.replicate_every:
        try:
            spans.parse_s(rules.replicate_every)
        except ValueError as error:
            yield "checkpoint.replicate_every", str(error)
    elif rules.replicate_to or rules.replicas != 1:
        yield "checkpoint.replicate_every", 'replicas and replicate_to need it; write how often, say "10m"'
    both = set(rules.replicate_to) & set(spec.policy.sites_forbidden)
    if both:
        yield "checkpoint.replicate_to", f"{sorted(both)} is also in policy.sites_forbidden; decide for one"


def _ahead_faults(policy: Policy) -> Iterator[tuple[str, str]]:
    if policy.stage_ahead == "on" and not policy.movable:
        yield "policy.stage_ahead", '"on", but movable is false: it has no next site; decide for one'
    if policy.stage_ahead == "off" and policy.stage_ahead_bytes_per_day:
        yield "policy.stage_ahead_bytes_per_day", 'a budget for what stage_ahead = "off" forbids; leave one of them out'
