"""Identities, permissions, disk and clock of a node with real files."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.config import StoreConfig
from heliotrope.agent.doctor import certificates, clock, disk, permissions
from heliotrope.agent.doctor.clock import KernelTime
from heliotrope.agent.doctor.finding import Finding, Status
from heliotrope.agent.doctor.subject import Daemon
from heliotrope.foundation import authority
from heliotrope.foundation.identity import Role

from .conftest import Node

Tree = Callable[[dict[str, str]], Path]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become another user")


# -- certificates


def test_an_identity_that_is_well(node: Node, named: Any) -> None:
    node.issue()
    found = named(certificates.findings(node.subject()))
    assert {one.status for one in found.values()} == {Status.OK}
    assert found["certificates.agent"].figures["name"] == "heliotrope://lab/node/a"
    assert found["certificates.agent_expiry"].figures["left_s"] == pytest.approx(100 * 86400, abs=2)


def test_a_renewal_that_is_overdue_is_a_warning(node: Node, named: Any) -> None:
    node.issue()
    for days, status in ((83, Status.OK), (87, Status.WARNING)):
        found = named(certificates.findings(node.subject(clock=node.later(days))))
        assert found["certificates.agent_expiry"].status is status
    assert "in 12 days; it was to be renewed from" in found["certificates.agent_expiry"].found
    assert "enrolment.authority" in found["certificates.agent_expiry"].remedy
    (expired,) = certificates.findings(node.subject(clock=node.later(101)))
    assert expired.status is Status.ERROR and "expired at" in expired.found and "new one issued" in expired.remedy


def test_a_certificate_of_tomorrow(node: Node) -> None:
    node.issue()
    (found,) = certificates.findings(node.subject(clock=node.later(-1)))
    assert found.status is Status.ERROR and "Set the clock." in found.remedy


def test_wrong_role_foreign_authority_foreign_key_and_no_files(node: Node, named: Any) -> None:
    (missing,) = certificates.findings(node.subject())
    assert missing.status is Status.ERROR and "no such file" in missing.found and missing.remedy
    folder = node.issue(Role.OPERATOR, "alice")
    assert "no agent's" in named(certificates.findings(node.subject()))["certificates.agent"].found
    shutil.rmtree(folder)
    node.issue()
    other = authority.create(node.folder / "other", "lab")
    (folder / "ca.crt").write_bytes(other.ca_pem)
    (found,) = certificates.findings(node.subject())
    assert found.status is Status.ERROR and "not signed by this authority" in found.found
    (folder / "ca.crt").write_bytes(node.ca.ca_pem)
    shutil.copy(node.issue(name="b", folder="identity-b") / "identity.key", folder / "identity.key")
    (found,) = certificates.findings(node.subject())
    assert found.status is Status.ERROR and "not the key of" in found.found


def test_two_daemons_of_two_fleets(node: Node, named: Any) -> None:
    node.issue()
    authority.create(node.folder / "other", "mine").issue(Role.COORDINATOR, "c").save(node.folder / "identity-c")
    second = Daemon(Role.COORDINATOR, node.folder / "identity-c", node.folder / "c", "127.0.0.1:0")
    found = named(certificates.findings(node.subject(daemons=(*node.subject().daemons, second))))
    assert found["certificates.fleet"].figures == {"fleets": ["lab", "mine"]}


# -- permissions


def test_a_key_that_others_may_read(node: Node) -> None:
    path = node.issue() / "identity.key"
    assert permissions.key(path).status is Status.OK
    path.chmod(0o640)
    found = permissions.key(path)
    assert found.status is Status.ERROR and found.remedy == f"Run: chmod 0600 {path}."
    assert permissions.key(path.with_name("none")).status is Status.ERROR


@pytest.mark.parametrize(
    ("mode", "status"), [(0o711, "ok"), (0o700, "ok"), (0o755, "warning"), (0o777, "error"), (0o730, "error")]
)
def test_the_states_folder(node: Node, mode: int, status: str) -> None:
    node.state_dir.chmod(mode)
    assert permissions.state_dir(node.state_dir, os.geteuid()).status == status


def test_the_states_folder_of_somebody_else_or_not_there(node: Node) -> None:
    assert permissions.state_dir(node.state_dir, 12345).status is Status.ERROR
    assert "will be made" in permissions.state_dir(node.folder / "later", os.geteuid()).found


def test_private_things_that_are_open(node: Node) -> None:
    (node.state_dir / "spool").mkdir(mode=0o700)
    (node.state_dir / "pins").mkdir(mode=0o711)  # to pass through is allowed
    assert permissions.private(node.state_dir).status is Status.OK
    (node.state_dir / "spool").chmod(0o750)
    found = permissions.private(node.state_dir)
    assert found.status is Status.ERROR and f"chmod go-rw {node.state_dir}/spool" in found.remedy


def test_capabilities_are_read_from_the_status(tree: Tree, node: Node) -> None:
    root = tree({"self/status": "Name:\tx\nCapEff:\t00000000000000c5\n"})
    held = permissions.capabilities(root)
    assert held == {"CAP_CHOWN", "CAP_DAC_READ_SEARCH", "CAP_SETGID", "CAP_SETUID"}
    found = permissions.runner(0, held, node.subject())
    assert found.status is Status.ERROR and "CAP_KILL" in found.remedy
    assert permissions.runner(1000, frozenset(), node.subject()).status is Status.ERROR
    assert permissions.runner(1000, frozenset(), node.subject(agent=None, daemons=())).status is Status.OK


def users(node: Node, **jobs: Any) -> list[Finding]:
    node.fields["jobs"] = jobs
    subject = node.subject()
    assert subject.agent is not None
    return list(permissions.job_users(subject.agent.jobs, subject.agent_daemon, os.geteuid()))


def test_accounts_of_jobs(node: Node) -> None:
    (none,) = users(node)
    assert none.status is Status.ERROR and "every job is refused" in none.found
    (same,) = users(node, allow_same_user=True)
    assert same.check == "permissions.same_user" and same.status is Status.WARNING
    root, missing = users(node, user="root", users_allowed=("no-such-account",))
    assert root.status is missing.status is Status.ERROR
    assert "uid 0" in root.found and "useradd" in missing.remedy


def test_an_account_that_cannot_pass_through_to_the_state(node: Node) -> None:
    for folder in (node.state_dir, *node.state_dir.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | stat.S_IXOTH) if folder.is_relative_to("/tmp") else None
    node.folder.chmod(0o700)
    (found,) = users(node, user="nobody")
    assert found.status is Status.ERROR and f"cannot pass through {node.folder}" in found.found
    node.folder.chmod(0o711)
    (found,) = users(node, user="nobody")
    assert str(node.folder) not in found.found


# -- disk


def test_room_against_reserve() -> None:
    store = StoreConfig(reserve_bytes=10, quota_bytes=50)
    here = Path("/x")
    assert disk.room(here, 90, 100, store).status is Status.OK
    assert "the quota limits" in disk.room(here, 90, 100, store).found
    assert "not the quota" in disk.room(here, 90, 100, StoreConfig(reserve_bytes=10)).found
    assert disk.room(here, 15, 100, store).status is Status.WARNING
    full = disk.room(here, 10, 100, store)
    assert full.status is Status.ERROR and full.figures["free_bytes"] == 10


def test_inodes_and_mounts() -> None:
    assert disk.inodes(Path("/x"), 0, 0).status is Status.OK  # Btrfs counts none
    assert disk.inodes(Path("/x"), 9_999, 10**6).status is Status.ERROR
    assert disk.inodes(Path("/x"), 10**5, 10**6).status is Status.OK
    assert disk.writable(Path("/x"), True).status is Status.ERROR


def test_the_features_of_this_file_system_leave_nothing(node: Node, named: Any) -> None:
    found = named(disk.findings(node.subject()))
    for feature in ("rename", "sync", "hard_links", "sparse"):
        assert found[f"disk.{feature}"].status is Status.OK
    assert found["disk.room"].figures["reserve_bytes"] == 1
    assert list(node.state_dir.iterdir()) == []


@AS_ROOT
def test_a_state_that_may_not_be_written_is_skipped_not_failed(node: Node) -> None:
    for folder in (node.folder, *list(node.folder.parents)[:2]):
        folder.chmod(0o755)
    os.seteuid(65534)
    try:
        (found,) = disk.features(node.state_dir)
    finally:
        os.seteuid(0)
    assert found.status is Status.SKIPPED


# -- clock


def test_a_clock_before_the_installation_or_the_newest_file(node: Node, named: Any) -> None:
    (node.state_dir / "spool").mkdir()
    (node.state_dir / "spool" / "segment").write_text("x")
    (node.state_dir / "jobs").mkdir()
    (node.state_dir / "jobs" / "of-the-future").touch()
    os.utime(node.state_dir / "jobs" / "of-the-future", (4e9, 4e9))
    found = named(clock.findings(node.subject()))
    assert found["clock.installed"].status is found["clock.persisted"].status is Status.OK
    early = named(clock.findings(node.subject(clock=node.later(-20 * 365))))
    assert early["clock.installed"].status is early["clock.persisted"].status is Status.ERROR
    assert "timedatectl" in early["clock.installed"].remedy


def test_a_few_minutes_are_no_wrong_clock(node: Node) -> None:
    now = node.now_utc
    assert clock.floor(now, now + timedelta(minutes=4), "clock.installed", "x").status is Status.OK
    assert clock.floor(now, now + timedelta(minutes=6), "clock.installed", "x").status is Status.ERROR


def test_an_empty_state_has_no_last_time(node: Node, named: Any) -> None:
    assert named(clock.findings(node.subject()))["clock.persisted"].status is Status.SKIPPED


def test_synchronisation() -> None:
    assert clock.synchronised(KernelTime(True, 0.02, 0.001)).status is Status.OK
    assert clock.synchronised(KernelTime(True, 3.0, 0.001)).status is Status.WARNING
    assert clock.synchronised(KernelTime(False, 16.0, 16.0)).status is Status.WARNING
    assert clock.synchronised("Operation not permitted").status is Status.SKIPPED


def test_the_kernels_own_word_is_plausible() -> None:
    """Synchronised or not, the error is a few seconds at most: read as another unit it would be far off."""
    read = clock.kernel_time()
    assert isinstance(read, str) or 0 <= read.max_error_s <= 17
