"""Who runs it and what that allows: private files, the state's folder, and the accounts that jobs may run as."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from heliotrope.foundation.identity import KEY_FILE

from ..config import JobsConfig
from .finding import Finding, error, ok, skipped, warning
from .subject import Daemon, Subject, existing

# linux/capability.h, in the order of their numbers; only those that the agent can have a use for are named.
_CAPABILITIES = {
    0: "CAP_CHOWN",
    1: "CAP_DAC_OVERRIDE",
    2: "CAP_DAC_READ_SEARCH",
    3: "CAP_FOWNER",
    5: "CAP_KILL",
    6: "CAP_SETGID",
    7: "CAP_SETUID",
    19: "CAP_SYS_PTRACE",
    21: "CAP_SYS_ADMIN",
    24: "CAP_SYS_RESOURCE",
}
_FOR_JOBS = ("CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FOWNER", "CAP_KILL", "CAP_SETGID", "CAP_SETUID")
# What only the daemon reads; others may at most pass through.
_PRIVATE = ("checkpoints", "pins", "store", "spool", "commands", "lock", "coordinator.sqlite", "bundles", "logs")


def findings(subject: Subject) -> Iterator[Finding]:
    yield runner(os.geteuid(), capabilities(subject.proc_root), subject)
    if not subject.daemons:
        yield skipped("permissions.state_dir", "no configuration was given")
    for daemon in subject.daemons:
        yield key(daemon.identity_dir / KEY_FILE)
        yield state_dir(daemon.state_dir, os.geteuid())
        yield private(daemon.state_dir)
    if subject.agent is not None:
        yield from job_users(subject.agent.jobs, subject.agent_daemon, os.geteuid())


def capabilities(proc_root: Path) -> frozenset[str]:
    """The effective capabilities of this process, as far as they are named above."""
    lines = (proc_root / "self" / "status").read_text().splitlines()
    mask = next((int(line.split()[1], 16) for line in lines if line.startswith("CapEff:")), 0)
    return frozenset(name for bit, name in _CAPABILITIES.items() if mask >> bit & 1)


def runner(uid: int, held: frozenset[str], subject: Subject) -> Finding:
    """Jobs of another account need root with these capabilities; a coordinator needs neither."""
    check = "permissions.runner"
    figures = {"uid": uid}
    names = sorted(held)
    jobs = subject.agent.jobs if subject.agent else None
    wants_users = jobs is not None and bool(jobs.user or jobs.users_allowed or jobs.users_pool)
    missing = sorted(set(_FOR_JOBS) - held)
    text = f"runs as uid {uid} with {', '.join(names) or 'no capability of use'}"
    if wants_users and uid != 0:
        remedy = "Run it as root, as the agent's unit does; `sudo heliotrope doctor` examines it so."
        return error(check, f"{text}; jobs of other accounts cannot be started", remedy, **figures, capabilities=names)
    if wants_users and missing:
        remedy = f"Grant {', '.join(missing)} in the unit's CapabilityBoundingSet."
        return error(check, f"{text}; {', '.join(missing)} is missing", remedy, **figures, capabilities=names)
    return ok(check, text, **figures, capabilities=names)


def key(path: Path) -> Finding:
    check = "permissions.key"
    try:
        status = path.stat()
    except OSError as cause:
        return error(check, f"{path}: {cause.strerror}", "Have the identity issued, or run as the user that owns it.")
    mode = stat.S_IMODE(status.st_mode)
    if mode & 0o077:
        return error(check, f"{path} may be accessed by others (mode {mode:04o})", f"Run: chmod 0600 {path}.")
    return ok(check, f"{path} is private (mode {mode:04o})")


def state_dir(folder: Path, uid: int) -> Finding:
    """Others may pass through (jobs reach their own folders so), never list and never write."""
    check = "permissions.state_dir"
    if not folder.exists():
        parent = existing(folder)
        if os.access(parent, os.W_OK | os.X_OK, effective_ids=True):
            return ok(check, f"{folder} is not there yet; it will be made in {parent}")
        return error(check, f"{folder} is not there and cannot be made in {parent}", f"Run: mkdir -m 0711 {folder}.")
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    text = f"{folder} of uid {status.st_uid}, mode {mode:04o}"
    if mode & 0o022:
        return error(check, f"{text}: others may write there", f"Run: chmod 0711 {folder}.", mode=f"{mode:04o}")
    if uid not in (0, status.st_uid):
        return error(check, f"{text}, while this is uid {uid}", "Run as the user that owns it.", mode=f"{mode:04o}")
    if mode & 0o044:
        return warning(check, f"{text}: others may list it", f"Run: chmod 0711 {folder}.", mode=f"{mode:04o}")
    return ok(check, text, mode=f"{mode:04o}")


def private(folder: Path) -> Finding:
    """The stores inside hold keys' results, checkpoints and orders of all jobs."""
    check = "permissions.private"
    open_ones = []
    for name in _PRIVATE:
        path = folder / name
        try:
            mode = stat.S_IMODE(path.lstat().st_mode)
        except OSError:
            continue  # not there, or not for this user to see
        if mode & 0o066:
            open_ones.append(f"{path} ({mode:04o})")
    if open_ones:
        remedy = f"Run: chmod go-rw {' '.join(one.partition(' ')[0] for one in open_ones)}."
        return error(check, f"others may read or write {', '.join(open_ones)}", remedy, paths=open_ones)
    return ok(check, f"nothing private in {folder} is open to others")


@dataclass(frozen=True)
class Account:
    """A local account as far as permissions go."""

    name: str
    uid: int
    gids: frozenset[int]


def job_users(jobs: JobsConfig, daemon: Daemon | None, uid: int) -> Iterator[Finding]:
    check = "permissions.job_user"
    names = [name for name in dict.fromkeys((jobs.user, *jobs.users_pool, *jobs.users_allowed)) if name]
    if jobs.allow_same_user:
        text = "jobs.allow_same_user: a job may run as the agent itself and read its keys"
        yield warning(
            "permissions.same_user", text, "Set jobs.user to an ordinary account, and allow_same_user = false."
        )
    elif not names:
        text = "no account is named for jobs: every job is refused"
        yield error(check, text, "Set jobs.user, or jobs.users_allowed, to an ordinary account.")
    for name in names:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            yield error(check, f"there is no account {name!r}", f"Run: useradd --system {name}.", user=name)
            continue
        if entry.pw_uid == 0:
            yield error(check, f"{name!r} is uid 0", "Name an ordinary account: jobs never run as root.", user=name)
        elif entry.pw_uid == uid and not jobs.allow_same_user:
            remedy = "Name another account: this one can read the agent's keys."
            yield error(check, f"{name!r} is the account that this runs as", remedy, user=name)
        else:
            gids = frozenset(os.getgrouplist(name, entry.pw_gid))
            yield reaches(Account(name, entry.pw_uid, gids), daemon.state_dir if daemon else Path("/"))


def reaches(account: Account, folder: Path) -> Finding:
    """A job's folder lies below the state's: its account must be able to pass through every folder above."""
    check = "permissions.job_user"
    for above in reversed((folder, *folder.parents)):
        if above.exists() and not may_enter(account, above.stat()):
            text = f"{account.name!r} (uid {account.uid}) cannot pass through {above}"
            remedy = f"Run: chmod o+x {above}; or choose a state_dir outside of it."
            return error(check, text, remedy, user=account.name, uid=account.uid)
    return ok(check, f"{account.name!r}, uid {account.uid}", user=account.name, uid=account.uid)


def may_enter(account: Account, status: os.stat_result) -> bool:
    """What the mode bits say for an account that is not root; access lists are not looked at. Pure."""
    if account.uid == status.st_uid:
        return bool(status.st_mode & stat.S_IXUSR)
    if status.st_gid in account.gids:
        return bool(status.st_mode & stat.S_IXGRP)
    return bool(status.st_mode & stat.S_IXOTH)
