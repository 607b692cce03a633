"""The job file: what a person writes to have a job run, checked strictly (docs/job-contract.md is its guide)."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, dataclass_transform

import msgspec
from msgspec import Meta

from . import config
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
    marker: str = ""  # file name inside the checkpoint directory's entry, for complete = "marker"
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
        return span_s(self.replicate_every) if self.replicate_every else 0.0


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
    policy: Policy = Policy()
    stopped_codes: tuple[int, ...] = (75,)
    user: str = ""  # local account; empty: the node's default


_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


_SPAN = re.compile(r"(\d+(?:\.\d+)?)(s|m|h|d)")
_SPAN_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def span_s(text: str) -> float:
    """Seconds of a span such as "90s", "10m", "1.5h" or "1d". Raises ValueError for another form or zero."""
    match = _SPAN.fullmatch(text)
    if match is None or float(match[1]) == 0:
        raise ValueError(f"{text!r} is not a span; write a number with its unit: 90s, 10m, 1.5h or 1d")
    return float(match[1]) * _SPAN_UNITS_S[match[2]]


def load(path: Path) -> JobSpec:
    """Read and check a job file. Raises InvalidInput naming the file and the field."""
    spec = config.load(path, JobSpec)
    check(spec, where=str(path))
    return spec


def check(spec: JobSpec, *, where: str = "job") -> None:
    """The rules that types cannot say. Raises InvalidInput naming the field."""

    def refuse(field: str, cause: str) -> None:
        raise InvalidInput(f"{where}: field {field}: {cause}")

    if not _NAME.fullmatch(spec.name):
        refuse("name", f"{spec.name!r} is not a name; use 1-63 of a-z, 0-9, '.', '_' and '-'")
    for field, paths in (("files", spec.files), ("outputs", spec.outputs)):
        for path in paths:
            if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
                refuse(field, f"{path!r} leaves the job's folder; name a path inside it")
    directory = PurePosixPath(spec.checkpoint.directory)
    if directory.is_absolute() or ".." in directory.parts or directory == PurePosixPath("."):
        refuse("checkpoint.directory", f"{str(directory)!r} must be a folder inside the working directory")
    if spec.checkpoint.complete == "marker" and not spec.checkpoint.marker:
        refuse("checkpoint.marker", 'complete = "marker" needs the marker\'s file name')
    if spec.checkpoint.request == "signal" and not spec.checkpoint.signal.startswith("SIG"):
        refuse("checkpoint.signal", f"{spec.checkpoint.signal!r} is not a signal name such as SIGUSR1")
    _check_replicas(spec, refuse)
    for name in spec.environment:
        if name.startswith("HELIOTROPE_"):
            refuse(f"environment.{name}", "names starting with HELIOTROPE_ are set by the agent; choose another")
    if 0 in spec.stopped_codes:
        refuse("stopped_codes", "0 always means finished; leave it out")
    both = set(spec.policy.sites_allowed) & set(spec.policy.sites_forbidden)
    if both:
        refuse("policy.sites_forbidden", f"{sorted(both)} is also in sites_allowed; decide for one")


def _check_replicas(spec: JobSpec, refuse: Callable[[str, str], None]) -> None:
    rules = spec.checkpoint
    if rules.replicate_every:
        try:
            span_s(rules.replicate_every)
        except ValueError as error:
            refuse("checkpoint.replicate_every", str(error))
    elif rules.replicate_to or rules.replicas != 1:
        refuse("checkpoint.replicate_every", 'replicas and replicate_to need it; write how often, say "10m"')
    both = set(rules.replicate_to) & set(spec.policy.sites_forbidden)
    if both:
        refuse("checkpoint.replicate_to", f"{sorted(both)} is also in policy.sites_forbidden; decide for one")
