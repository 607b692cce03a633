"""The coordinator as verbs see it: records in and out over mutual TLS, and its errors as the catalogue's classes."""

from __future__ import annotations

import contextlib
import functools
import os
import re
import uuid
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import click

# Before grpc is imported: its C core prints every failed handshake to stderr, where one line of ours is the contract.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")

import grpc
from google.protobuf.timestamp_pb2 import Timestamp

from heliotrope.foundation import errors, tls, wire
from heliotrope.foundation.errors import DeadlineExceeded, Denied, HeliotropeError, Incompatible, NotFound, Unreachable
from heliotrope.foundation.jobspec import JobSpec
from heliotrope.foundation.model import LogOffset, LogStream
from heliotrope.v1 import common_pb2, identity_pb2, identity_pb2_grpc, operator_pb2_grpc
from heliotrope.v1 import operator_pb2 as pb

from . import connection
from .connection import Target
from .messages import Record, names, record

R = TypeVar("R")
Connect: TypeAlias = "Callable[[], Operator]"

CALL_TIMEOUT_S = 30.0
REPORT_TIMEOUT_S = 600.0
ERROR_KIND = "heliotrope-error"  # trailing metadata: the catalogue's class, see heliotrope.coordinator.server.guard
OPTIONS: tls.Options = (
    ("grpc.enable_http_proxy", 0),  # the address is dialled as it is named: TLS must end at the coordinator
    ("grpc.max_receive_message_length", 64 * 1024**2),  # a fleet of thousands of jobs is one message
)

REPORT_COLUMNS = names(pb.ReportRow)

_PREFIX = re.compile(r"^(UNKNOWN: )?((ipv4|ipv6):\S+: )?")  # the address is said already
_HANDSHAKE = re.compile(r"handshake|SSL|TSI_|certificate|Peer name", re.IGNORECASE)


def options(command: Callable[..., R]) -> Callable[..., R]:
    """Adds ``--coordinator`` and ``--identity``; the command gets an open ``operator: Operator``."""

    @functools.wraps(command)
    def wrapped(*args: Any, connect: Connect, **kwargs: Any) -> R:
        with connect() as operator:
            return command(*args, operator=operator, **kwargs)

    return connect_option(wrapped)


def connect_option(command: Callable[..., R]) -> Callable[..., R]:
    """The same for a command that may not need a coordinator: it gets ``connect``, which gives an ``Operator``."""

    @click.option(
        "--coordinator",
        metavar="HOST:PORT",
        help=f"Where the coordinator is [else {connection.COORDINATOR_VARIABLE}, else operator.toml].",
    )
    @click.option(
        "--identity",
        "identity_folder",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help=f"The identity to show it [else {connection.IDENTITY_VARIABLE}, else operator.toml].",
    )
    @functools.wraps(command)
    def wrapped(*args: Any, coordinator: str | None, identity_folder: Path | None, **kwargs: Any) -> R:
        return command(*args, connect=lambda: Operator(connection.find(coordinator, identity_folder)), **kwargs)

    return wrapped


def request_option(command: Callable[..., R]) -> Callable[..., R]:
    """Adds ``--request-id``, passed to the command as ``request_id``; by default a new random one."""
    option = click.option(
        "--request-id",
        default=lambda: uuid.uuid4().hex,
        metavar="ID",
        help="Of your choice: a repeated call with the same one changes nothing [default: random].",
    )
    return option(command)


@dataclass(frozen=True, slots=True)
class LogPiece:
    """Bytes that a job wrote, as they are. ``offsets``: how far its outputs are read with this piece, its own last."""

    data: bytes
    offsets: tuple[LogOffset, ...]

    @property
    def is_stderr(self) -> bool:
        return bool(self.data) and self.offsets[-1].stream is LogStream.STDERR


class Operator:
    """One operator's connection to a coordinator; a context manager.

    Every method raises the catalogue's error that the coordinator answered with, Unreachable when there is no
    coordinator, Denied when the two do not trust each other, DeadlineExceeded after ``call_timeout_s``.
    """

    def __init__(self, target: Target, *, call_timeout_s: float = CALL_TIMEOUT_S) -> None:
        self.target = target
        self._call_timeout_s = call_timeout_s
        self._channel = tls.grpc_channel(target.address, target.identity, OPTIONS)
        self._stub = operator_pb2_grpc.OperatorServiceStub(self._channel)
        self._identities = identity_pb2_grpc.IdentityServiceStub(self._channel)

    def __enter__(self) -> Operator:
        return self

    def __exit__(self, *_: object) -> None:
        self._channel.close()

    # -- reading

    def fleet(self) -> Record:
        return self._call(self._stub.GetFleet, pb.GetFleetRequest())

    def job(self, job: str) -> Record:
        return self._call(self._stub.GetJob, pb.GetJobRequest(job=job))

    def migration(self, migration_id: str) -> Record:
        return self._call(self._stub.GetMigration, pb.GetMigrationRequest(migration_id=migration_id))

    def migrations(self, *, job: str = "", limit_count: int = 0) -> list[Record]:
        request = pb.ListMigrationsRequest(job=job, limit_count=limit_count)
        found: list[Record] = self._call(self._stub.ListMigrations, request)["migrations"]
        return found

    def decision(self, id_or_job: str) -> Record:
        return self._call(self._stub.GetDecision, pb.GetDecisionRequest(decision_id=id_or_job))

    def decisions(self, *, job: str = "", limit_count: int = 0) -> list[Record]:
        request = pb.ListDecisionsRequest(job=job, limit_count=limit_count)
        found: list[Record] = self._call(self._stub.ListDecisions, request)["decisions"]
        return found

    def report(
        self, *, job: str = "", since: datetime | None = None, until: datetime | None = None, points: bool = False
    ) -> Record:
        """With a longer deadline than other calls: years of a large fleet take their time."""
        request = pb.GetReportRequest(job=job, start=_timestamp(since), end=_timestamp(until), points=points)
        with self._translated():
            return record(self._stub.GetReport(request, timeout=REPORT_TIMEOUT_S))

    def ledger(self, node_id: str = "") -> Iterator[bytes]:
        """The export's lines, in pieces."""
        for piece in self._stream(self._stub.ExportLedger, pb.ExportLedgerRequest(node_id=node_id)):
            yield piece.lines

    # -- jobs

    def submit(
        self, spec: JobSpec, *, digest: bytes, size_bytes: int, pieces: Iterable[bytes], request_id: str
    ) -> Record:
        """No deadline: how long an upload takes is the link's business; a dead one is noticed by its keepalive."""
        header = pb.SubmitJobHeader(
            request_id=request_id,
            spec=wire.to_message(spec, common_pb2.JobSpec),
            bundle=common_pb2.Bundle(digest=digest, size_bytes=size_bytes),
        )

        def requests() -> Iterator[pb.SubmitJobRequest]:
            yield pb.SubmitJobRequest(header=header)
            for data in pieces:
                yield pb.SubmitJobRequest(data=data)

        with self._translated():
            return record(self._stub.SubmitJob(requests()))

    def move(self, job: str, destination: str, *, request_id: str) -> Record:
        return self._call(
            self._stub.MoveJob, pb.MoveJobRequest(request_id=request_id, job=job, destination=destination)
        )

    def pause(self, job: str, *, request_id: str) -> Record:
        return self._call(self._stub.PauseJob, pb.ChangeJobRequest(request_id=request_id, job=job))

    def resume(self, job: str, *, request_id: str) -> Record:
        return self._call(self._stub.ResumeJob, pb.ChangeJobRequest(request_id=request_id, job=job))

    def cancel(self, job: str, *, request_id: str) -> Record:
        return self._call(self._stub.CancelJob, pb.ChangeJobRequest(request_id=request_id, job=job))

    def logs(
        self, job: str, *, follow: bool, tail_bytes: int = 0, offsets: Iterable[LogOffset] = ()
    ) -> Iterator[LogPiece]:
        """Pieces of output in order; with ``follow`` until the job ended. ``offsets``: go on after these."""
        request = pb.WatchLogsRequest(
            job=job,
            follow=follow,
            tail_bytes=tail_bytes,
            offsets=[wire.to_message(offset, pb.LogOffset) for offset in offsets],
        )
        for chunk in self._stream(self._stub.WatchLogs, request):
            begun = tuple(wire.from_message(offset, LogOffset) for offset in chunk.offsets)
            stream = LogStream.STDERR if chunk.stream == common_pb2.LOG_STREAM_STDERR else LogStream.STDOUT
            after = LogOffset(
                epoch=chunk.epoch, attempt=chunk.attempt, stream=stream, bytes=chunk.offset + len(chunk.data)
            )
            yield LogPiece(data=chunk.data, offsets=(*begun, after) if chunk.data else begun)

    def outputs(self, job: str, paths: Iterable[str]) -> Iterator[bytes]:
        """The pieces of one tar archive."""
        for chunk in self._stream(self._stub.FetchOutputs, pb.FetchOutputsRequest(job=job, paths=list(paths))):
            yield chunk.data

    # -- nodes

    def node(self, node_id: str) -> Record:
        nodes: list[Record] = self.fleet()["nodes"]
        found = next((one for one in nodes if one["node_id"] == node_id), None)
        if found is None:
            raise NotFound(f"cannot find node {node_id!r}: none of this id ever connected; see: heliotrope node list")
        return found

    def drain(self, node_id: str, *, mode: str, deadline_s: float | None, message: str, request_id: str) -> Record:
        """``mode``: migrate, stop or leave; ``deadline_s`` from now on, None: none."""
        request = pb.DrainNodeRequest(
            request_id=request_id,
            node_id=node_id,
            enable=True,
            message=message,
            mode=f"DRAIN_MODE_{mode.upper()}",
        )
        if deadline_s is not None:
            request.deadline.FromMilliseconds(round(deadline_s * 1000))
        return self._call(self._stub.DrainNode, request)

    def undrain(self, node_id: str, *, request_id: str) -> Record:
        return self._call(self._stub.DrainNode, pb.DrainNodeRequest(request_id=request_id, node_id=node_id))

    def readmit(self, node_id: str, *, request_id: str) -> Record:
        return self._call(self._stub.ReadmitNode, pb.ReadmitNodeRequest(request_id=request_id, node_id=node_id))

    def forget(self, node_id: str, *, request_id: str) -> Record:
        return self._call(self._stub.ForgetNode, pb.ForgetNodeRequest(request_id=request_id, node_id=node_id))

    # -- identities

    def identities(self, *, include_expired: bool) -> Record:
        request = identity_pb2.ListIdentitiesRequest(include_expired=include_expired)
        return self._call(self._identities.ListIdentities, request)

    def revoke(self, subject: str, *, reason: str, request_id: str) -> Record:
        request = identity_pb2.RevokeIdentityRequest(request_id=request_id, subject=subject, reason=reason)
        return self._call(self._identities.RevokeIdentity, request)

    def certify(self, csr_pem: bytes) -> bytes:
        """A signing request to a certificate of the caller's own name, both PEM."""
        with self._translated():
            request = identity_pb2.RenewRequest(csr_pem=csr_pem)
            return bytes(self._identities.Renew(request, timeout=self._call_timeout_s).certificate_pem)

    def cap(
        self, node_id: str, *, device: str, limit_w: float, lifetime_s: float, message: str, request_id: str
    ) -> list[Record]:
        """The events of the answer, one per device."""
        request = pb.CapNodeRequest(
            request_id=request_id, node_id=node_id, device=device, limit_w=limit_w, message=message
        )
        request.lifetime.FromNanoseconds(round(lifetime_s * 1e9))
        return list(self._call(self._stub.CapNode, request)["events"])

    def uncap(self, node_id: str, *, device: str, message: str, request_id: str) -> list[Record]:
        """The events of the answer, one per device that was capped."""
        request = pb.UncapNodeRequest(request_id=request_id, node_id=node_id, device=device, message=message)
        return list(self._call(self._stub.UncapNode, request)["events"])

    def power_cap_events(self, *, node_id: str = "", limit_count: int = 0) -> list[Record]:
        """Newest first."""
        request = pb.ListPowerCapEventsRequest(node_id=node_id, limit_count=limit_count)
        return list(self._call(self._stub.ListPowerCapEvents, request)["events"])

    def _call(self, rpc: Any, request: Any) -> Record:
        with self._translated():
            return record(rpc(request, timeout=self._call_timeout_s))

    def _stream(self, rpc: Any, request: Any) -> Iterator[Any]:
        with self._translated():
            yield from rpc(request)

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise translate(error, self.target.address) from error


def translate(error: Any, address: str) -> HeliotropeError:
    """A failed call (a grpc.RpcError that is a grpc.Call) as an error of the catalogue."""
    code, details = error.code(), error.details() or "no details"
    kind = dict(error.trailing_metadata() or ()).get(ERROR_KIND)
    if kind is not None:
        return errors.by_name(str(kind))(details)
    if code is grpc.StatusCode.UNAVAILABLE:
        return _unavailable(details, address)
    if code is grpc.StatusCode.CANCELLED or "RST_STREAM" in details:  # how a stream ends when its server does
        return Unreachable(f"cannot go on with the coordinator at {address}: it broke off ({details}); ask again")
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"cannot get an answer from the coordinator at {address}: none in time; see its log, or try again"
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        return Incompatible(f"cannot ask the coordinator at {address}: {details}; upgrade the older of the two")
    return HeliotropeError(f"cannot get an answer from {address}: {code.name}: {details}; see the coordinator's log")


def _unavailable(details: str, address: str) -> HeliotropeError:
    """gRPC gives one status for a dead host and for a broken handshake; only its text tells them apart."""
    cause = _PREFIX.sub("", details.rpartition("last error: ")[2])
    if _HANDSHAKE.search(cause):
        return Denied(
            f"cannot trust the far end at {address}: the TLS handshake failed ({cause}); it is no coordinator, or of "
            "another fleet than --identity"
        )
    return Unreachable(
        f"cannot reach the coordinator at {address}: {cause}; check that it runs, and the address in --coordinator"
    )


def _timestamp(utc: datetime | None) -> Timestamp | None:
    if utc is None:
        return None
    message = Timestamp()
    message.FromDatetime(utc)
    return message
