"""What the Linux kernel offers: each feature is tried, not deduced from a version number."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

from .finding import Finding, error, ok, skipped, warning
from .subject import Subject, existing

_PR_GET_CHILD_SUBREAPER = 37
_SOCKET_PATH_BYTES = 107  # sun_path less its final NUL
_RUN_SOCKET = "jobs/j-0123456789/runs/9999-99/control.sock"
NOFILE_WANTED = 4096  # a coordinator holds a socket per agent; an agent opens a few files per connection and thread


def findings(subject: Subject) -> Iterator[Finding]:
    yield ok("kernel.release", f"{platform.system()} {platform.release()} {platform.machine()}")
    yield pidfd()
    yield subreaper()
    yield cgroups(subject.sys_root)
    yield sendfile()
    yield congestion(subject.proc_root)
    yield from links(subject.proc_root)
    yield from limits()
    for daemon in subject.daemons:
        yield tmpfile(daemon.state_dir)
    if (agent := subject.agent_daemon) is not None:
        yield socket_path(agent.state_dir)


def pidfd() -> Finding:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as cause:
        remedy = "Run Linux 5.3 or later, and allow pidfd_open where a container's filter forbids it."
        return error("kernel.pidfd", f"pidfd_open: {cause.strerror}; jobs cannot be signalled safely", remedy)
    return ok("kernel.pidfd", "processes can be signalled without mistaking one for another")


def subreaper() -> Finding:
    value = ctypes.c_int()
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(value), 0, 0, 0) != 0:
        text = f"prctl: {os.strerror(ctypes.get_errno())}; a job's orphans would escape its supervisor"
        return error("kernel.subreaper", text, "Run Linux 3.4 or later, and allow prctl in a container.")
    return ok("kernel.subreaper", "a supervisor can keep the orphans of its job")


def cgroups(sys_root: Path) -> Finding:
    """Version 2 gives limits and CPU time per job; without it both are done per process."""
    controllers = sys_root / "fs" / "cgroup" / "cgroup.controllers"
    try:
        names = controllers.read_text().split()
    except OSError:
        return warning(
            "kernel.cgroup",
            f"no cgroup v2 at {controllers.parent}; memory and processes of jobs cannot be limited together",
            "Boot with systemd.unified_cgroup_hierarchy=1, or mount cgroup2 there.",
        )
    missing = sorted({"cpu", "memory", "pids"} - set(names))
    if missing:
        text = f"cgroup v2 without the controllers {', '.join(missing)}"
        return warning("kernel.cgroup", text, "Delegate them to this container or machine.", controllers=names)
    return ok("kernel.cgroup", f"cgroup v2 with {', '.join(names)}", controllers=names)


def sendfile() -> Finding:
    here, there = socket.socketpair()
    with here, there, open(__file__, "rb") as file:
        try:
            sent_bytes = os.sendfile(here.fileno(), file.fileno(), 0, 512)
        except OSError as cause:
            text = f"sendfile: {cause.strerror}; unencoded chunks are copied once more"
            return warning("kernel.sendfile", text, "Allow sendfile where a container's filter forbids it.")
    return ok("kernel.sendfile", "files go to sockets without a copy", sent_bytes=sent_bytes)


def congestion(proc_root: Path) -> Finding:
    """BBR keeps a long path full where a lost packet halves CUBIC's rate."""
    folder = proc_root / "sys" / "net" / "ipv4"
    try:
        names = (folder / "tcp_available_congestion_control").read_text().split()
        chosen = (folder / "tcp_congestion_control").read_text().strip()
    except OSError as cause:
        return skipped("kernel.congestion", f"cannot read {folder}: {cause.strerror}")
    if "bbr" in names:
        return ok("kernel.congestion", f"BBR is available, {chosen} is the default", available=names, default=chosen)
    text = f"only {', '.join(names)}; transfers over long paths with loss are slower without BBR"
    remedy = "Load it (modprobe tcp_bbr) and name it in /etc/modules-load.d/."
    return warning("kernel.congestion", text, remedy, available=names, default=chosen)


def links(proc_root: Path) -> Iterator[Finding]:
    """Without the first a job could have a link of its own to another user's file, and have us carry it; of symbolic
    links the agent itself follows none in a job's folders.
    """
    for name, danger, bad in (
        ("protected_hardlinks", "a job may link another user's file into its checkpoint", error),
        ("protected_symlinks", "a job may lay links for others in shared folders", warning),
    ):
        check = f"kernel.{name}"
        try:
            value = int((proc_root / "sys" / "fs" / name).read_text())
        except (OSError, ValueError) as cause:
            yield skipped(check, f"cannot read fs.{name}: {cause}")
            continue
        if value:
            yield ok(check, f"fs.{name} = {value}", value=value)
        else:
            remedy = f"Run: sysctl -w fs.{name}=1, and write it into /etc/sysctl.d/."
            yield bad(check, f"fs.{name} = 0: {danger}", remedy, value=value)


def limits() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if 0 <= soft < NOFILE_WANTED:
        remedy = f"Set LimitNOFILE={NOFILE_WANTED} or more in the unit, or raise `ulimit -n`."
        yield warning("kernel.nofile", f"{soft} open files allowed", remedy, soft=soft, hard=hard)
    else:
        yield ok("kernel.nofile", f"{_limit(soft)} open files allowed (hard {_limit(hard)})", soft=soft, hard=hard)
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    text = f"{_limit(soft)} bytes may be locked; a job that registers memory for RDMA or the GPU needs more than 64 KiB"
    if 0 <= soft <= 64 * 1024:
        yield warning("kernel.memlock", text, "Set LimitMEMLOCK=infinity in the unit.", soft_bytes=soft)
    else:
        yield ok("kernel.memlock", f"{_limit(soft)} bytes may be locked", soft_bytes=soft)


def _limit(value: int) -> str:
    return "unlimited" if value == resource.RLIM_INFINITY else str(value)


def tmpfile(state_dir: Path) -> Finding:
    check, folder = "kernel.tmpfile", existing(state_dir)
    try:
        os.close(os.open(folder, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except PermissionError as cause:
        return skipped(check, f"cannot try it in {folder}: {cause.strerror}")
    except OSError as cause:
        text = f"{folder} has no unnamed files (O_TMPFILE: {cause.strerror}); they get a name and are removed"
        return warning(check, text, "Put the state on ext4, XFS, Btrfs or tmpfs.")
    return ok(check, f"{folder} has unnamed temporary files")


def socket_path(state_dir: Path) -> Finding:
    """Ours bind and connect through /proc/self/fd; a job in another language connects by the path it is given."""
    size_bytes = len(os.fsencode(state_dir / _RUN_SOCKET))
    if size_bytes > _SOCKET_PATH_BYTES:
        return warning(
            "kernel.socket_path",
            f"a run's socket has a path of {size_bytes} bytes, Unix sockets take {_SOCKET_PATH_BYTES}: only jobs that "
            "use heliotrope.job reach it",
            f"Choose a state_dir that is at least {size_bytes - _SOCKET_PATH_BYTES} bytes shorter.",
            size_bytes=size_bytes,
        )
    return ok("kernel.socket_path", f"{size_bytes} of {_SOCKET_PATH_BYTES} bytes", size_bytes=size_bytes)
