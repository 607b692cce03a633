"""Who may call what. An rpc without an entry is refused, and a test compares the table with the services."""

from __future__ import annotations

from heliotrope.foundation.errors import Denied
from heliotrope.foundation.identity import MEMBERS, Name, Role

_AGENTS = frozenset({Role.AGENT})
_CHANGE = frozenset({Role.OPERATOR})
_READ = frozenset({Role.OPERATOR, Role.OBSERVER})
_MEMBERS = frozenset(MEMBERS)
_RENEWING = frozenset({Role.AGENT, Role.OPERATOR, Role.OBSERVER})
_JOINERS = frozenset({Role.JOINER})

ALLOWED: dict[str, frozenset[Role]] = {
    "/heliotrope.v1.FleetService/Session": _AGENTS,
    "/heliotrope.v1.FleetService/FetchBundle": _AGENTS,
    "/heliotrope.v1.FleetService/RelayOutputs": _AGENTS,
    "/heliotrope.v1.OperatorService/GetFleet": _READ,
    "/heliotrope.v1.OperatorService/WatchFleet": _READ,
    "/heliotrope.v1.OperatorService/SubmitJob": _CHANGE,
    "/heliotrope.v1.OperatorService/GetJob": _READ,
    "/heliotrope.v1.OperatorService/MoveJob": _CHANGE,
    "/heliotrope.v1.OperatorService/PauseJob": _CHANGE,
    "/heliotrope.v1.OperatorService/ResumeJob": _CHANGE,
    "/heliotrope.v1.OperatorService/CancelJob": _CHANGE,
    "/heliotrope.v1.OperatorService/WatchLogs": _READ,
    "/heliotrope.v1.OperatorService/FetchOutputs": _CHANGE,  # outputs are the job owner's, not every reader's
    "/heliotrope.v1.OperatorService/DrainNode": _CHANGE,
    "/heliotrope.v1.OperatorService/ForgetNode": _CHANGE,
    "/heliotrope.v1.OperatorService/ReadmitNode": _CHANGE,
    "/heliotrope.v1.OperatorService/CapNode": _CHANGE,
    "/heliotrope.v1.OperatorService/UncapNode": _CHANGE,
    "/heliotrope.v1.OperatorService/ListPowerCapEvents": _READ,
    "/heliotrope.v1.OperatorService/GetMigration": _READ,
    "/heliotrope.v1.OperatorService/ListMigrations": _READ,
    "/heliotrope.v1.OperatorService/GetDecision": _READ,
    "/heliotrope.v1.OperatorService/ListDecisions": _READ,
    "/heliotrope.v1.OperatorService/GetReport": _READ,
    "/heliotrope.v1.OperatorService/ExportLedger": _READ,
    "/heliotrope.v1.IdentityService/Enrol": _JOINERS,
    "/heliotrope.v1.IdentityService/Renew": _RENEWING,  # the coordinator, which holds the authority, needs no rpc
    "/heliotrope.v1.IdentityService/ListIdentities": _READ,
    "/heliotrope.v1.IdentityService/RevokeIdentity": _CHANGE,
    "/grpc.health.v1.Health/Check": _MEMBERS,
    "/grpc.health.v1.Health/List": _MEMBERS,
    "/grpc.health.v1.Health/Watch": _MEMBERS,
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": _READ,
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": _READ,
}


def authorise(method: str, caller: Name, fleet: str) -> None:
    """Raises Denied, naming the caller, the rpc and the roles that may call it."""
    allowed = ALLOWED.get(method)
    if allowed is None:
        raise Denied(f"cannot call {method}: no role may; it has no entry in the table of roles")
    if caller.fleet != fleet:
        raise Denied(f"cannot call {method}: {caller} is of another fleet than {fleet}")
    if caller.role not in allowed:
        roles = ", ".join(sorted(role.value for role in allowed))
        raise Denied(f"cannot call {method} as {caller.role.value} {caller.id}: it takes the role {roles}")
