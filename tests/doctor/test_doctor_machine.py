"""The machine itself: software, kernel, systemd, sensors; each in its good and its bad case."""

from __future__ import annotations

import os
import resource
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from heliotrope.agent.doctor import kernel, sensors, software, systemd
from heliotrope.agent.doctor.finding import Status

from .conftest import Node

Tree = Callable[[dict[str, str]], Path]
Run = Callable[..., Any]


def test_python_that_is_too_old() -> None:
    assert software.python((3, 10), "3.10.4", "CPython").status is Status.ERROR
    assert software.python(sys.version_info[:2], "3.x", "CPython").status is Status.OK


def test_packages_against_what_is_asked_for() -> None:
    version = metadata.version("click")
    wanted = [
        "click>=1",
        f"click<{version}",
        "no-such-package>=1",
        'no-such-extra>=1; extra == "coordinator"',
        'no-such-tool>=1; extra == "dev"',
    ]
    found = list(software.packages(wanted, {"coordinator"}))
    assert [(one.check, one.status.value) for one in found] == [
        ("software.click", "ok"),
        ("software.click", "error"),
        ("software.no-such-package", "error"),
        ("software.no-such-extra", "error"),
    ]
    assert found[1].remedy == f"Run: pip install 'click<{version}'." and "not installed" in found[2].found


@pytest.mark.parametrize(
    ("version", "wanted", "met"),
    [
        ("6.33.6", ">=6.30,<8", True),
        ("8.0", ">=6.30,<8", False),
        ("6.3", ">=6.30", False),
        ("1.2", "==1.2.0", True),
        ("1.4.2", "~=1.4", True),
        ("2.0", "~=1.4", False),
        ("2", "!=2.0", False),
        ("3.0rc1", "", True),
    ],
)
def test_versions_are_compared_by_number(version: str, wanted: str, met: bool) -> None:
    assert software.satisfies(version, wanted) is met


def test_generated_code_and_kernels_of_this_installation() -> None:
    found = software.generated()
    assert found.status is Status.OK and found.figures["protobuf_version"] == metadata.version("protobuf")
    assert software.native().figures["kernels"]


def test_a_kernel_that_cannot_run_here_is_an_error(heliotrope: Run) -> None:
    done = heliotrope("doctor", "--only", "software.native", "--json", env={"HELIOTROPE_KERNEL": "nonesuch"})
    (found,) = done.value["findings"]
    assert done.code == 1 and found["status"] == "error" and "nonesuch" in found["found"]


def test_scalar_kernels_only_are_a_warning(heliotrope: Run) -> None:
    done = heliotrope("doctor", "--only", "software.native", "--json", env={"HELIOTROPE_KERNEL": "scalar"})
    (found,) = done.value["findings"]
    assert done.code == 0 and found["status"] == "warning" and found["figures"] == {"kernels": ["scalar"]}


def test_features_of_this_kernel() -> None:
    assert kernel.pidfd().status is Status.OK
    assert kernel.subreaper().status is Status.OK
    assert kernel.sendfile().figures == {"sent_bytes": 512}


def test_control_groups(tree: Tree) -> None:
    assert kernel.cgroups(tree({"x": ""})).status is Status.WARNING
    some = kernel.cgroups(tree({"fs/cgroup/cgroup.controllers": "cpu memory\n"}))
    assert some.status is Status.WARNING and "pids" in some.found
    assert kernel.cgroups(tree({"fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n"})).status is Status.OK


def test_congestion_control(tree: Tree) -> None:
    assert kernel.congestion(tree({"x": ""})).status is Status.SKIPPED
    names = "sys/net/ipv4/tcp_available_congestion_control"
    root = tree({names: "reno cubic\n", "sys/net/ipv4/tcp_congestion_control": "cubic\n"})
    poor = kernel.congestion(root)
    assert poor.status is Status.WARNING and "modprobe tcp_bbr" in poor.remedy
    assert kernel.congestion(tree({names: "reno bbr cubic\n"})).figures["default"] == "cubic"


def test_unprotected_links_are_an_error(tree: Tree) -> None:
    root = tree({"sys/fs/protected_hardlinks": "0\n", "sys/fs/protected_symlinks": "0\n"})
    hard, soft = kernel.links(root)
    assert hard.status is Status.ERROR and "sysctl -w fs.protected_hardlinks=1" in hard.remedy
    assert soft.status is Status.WARNING and "sysctl -w fs.protected_symlinks=1" in soft.remedy
    assert [one.status for one in kernel.links(root / "none")] == [Status.SKIPPED, Status.SKIPPED]


@contextmanager
def limited(what: int, value: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(what)
    resource.setrlimit(what, (value, hard))
    try:
        yield
    finally:
        resource.setrlimit(what, (soft, hard))


def test_limits_of_this_process() -> None:
    with limited(resource.RLIMIT_NOFILE, 256), limited(resource.RLIMIT_MEMLOCK, 4096):
        files, memory = kernel.limits()
    assert files.status is memory.status is Status.WARNING
    assert files.figures["soft"] == 256 and memory.figures["soft_bytes"] == 4096


def test_a_state_folder_too_deep_for_a_socket(tmp_path: Path) -> None:
    assert kernel.socket_path(Path("/var/lib/heliotrope")).status is Status.OK
    deep = kernel.socket_path(Path("/var/lib/" + "x" * 60))
    assert deep.status is Status.WARNING and "bytes shorter" in deep.remedy
    assert kernel.tmpfile(tmp_path / "not" / "yet").status is Status.OK
    assert kernel.tmpfile(Path("/proc")).status is not Status.OK


@pytest.mark.parametrize(
    ("running", "text", "status"),
    [
        (True, "systemd 252 (252.22-1~deb12u1)", Status.OK),
        (True, "systemd 219", Status.WARNING),
        (True, "", Status.WARNING),
        (False, "systemd 252", Status.WARNING),
    ],
)
def test_the_service_manager(running: bool, text: str, status: Status) -> None:
    assert systemd.manager(running, text).status is status


ZONE = "class/powercap/intel-rapl:0"
RAPL = {f"{ZONE}/name": "package-0\n", f"{ZONE}/energy_uj": "1000\n", f"{ZONE}/max_energy_range_uj": "99999\n"}


def sensed(node: Node, root: Path, named: Any) -> Any:
    node.fields["power"]["sys_root"] = str(root)
    node.fields["power"]["sources"] = ["rapl", "hwmon"] + (["model"] if "model" in node.fields["power"] else [])
    return named(sensors.findings(node.subject()))


def test_sensors_that_answer(node: Node, tree: Tree, named: Any) -> None:
    found = sensed(node, tree(RAPL), named)
    assert found["sensors.rapl"].figures == {"channel_count": 1, "failed_count": 0}
    assert found["sensors.host"].status is Status.OK and "measured" in found["sensors.host"].found


@pytest.mark.skipif(os.geteuid() != 0, reason="root is needed to become somebody who may not read")
def test_rapl_that_may_not_be_read_names_the_capability(node: Node, tree: Tree, named: Any, tmp_path: Path) -> None:
    root = tree(RAPL)
    (root / ZONE / "energy_uj").chmod(0o400)
    base = Path(tempfile.gettempdir())
    for folder in (root, *root.parents):
        if folder != base and folder.is_relative_to(base):
            # pytest's own folders, which are closed to others
            folder.chmod(0o755)
    os.seteuid(65534)
    try:
        found = sensed(node, root, named)
    finally:
        os.seteuid(0)
    hidden = found["sensors.rapl_permission"]
    assert hidden.status is Status.WARNING and "CAP_DAC_READ_SEARCH" in hidden.remedy
    assert hidden.figures == {"zones": ["intel-rapl:0"]} and "sensors.problem" not in found
    assert "declared model" in found["sensors.host"].found


def test_a_machine_that_nothing_measures(node: Node, tree: Tree, named: Any) -> None:
    del node.fields["power"]["model"]
    assert sensed(node, tree({"x": ""}), named)["sensors.host"].status is Status.ERROR
    bare = node.subject(agent=None, sys_root=tree({"x": ""}))
    assert named(sensors.findings(bare))["sensors.host"].status is Status.WARNING
