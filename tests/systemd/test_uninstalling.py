"""The way out on a running system: refused under a running job, then everything but configuration and state goes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .conftest import Services
from .nested import Machine, until, why_not

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def services(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    """A machine of its own: after this test its fleet is gone."""
    if reason := why_not():
        pytest.skip(reason)
    with Machine(tmp_path_factory.mktemp("leaving")) as machine:
        made = Services(machine)
        made.set_up()
        until(made.connected, "the agent's session")
        yield made


def test_uninstalling(services: Services) -> None:
    machine = services.machine
    job_id = services.submit("staying", ["sleep", "1000"])
    unit = services.unit(job_id)
    refused = machine.run("heliotrope", "uninstall", check=False)
    assert refused.returncode == 4 and unit in refused.stderr
    assert machine.show("heliotrope-agent", "ActiveState") == "active"

    machine.run("systemctl", "stop", unit)
    machine.run("heliotrope", "uninstall")
    for part in ("agent", "coordinator"):
        assert machine.show(f"heliotrope-{part}", "LoadState") == "not-found"
        assert machine.path(f"/etc/heliotrope/{part}.toml").exists()
        assert machine.path(f"/var/lib/heliotrope-{part}/identity").exists()
    machine.run("heliotrope", "uninstall", "--purge")
    assert not machine.path("/etc/heliotrope").exists()
    assert [path.name for path in machine.path("/var/lib").glob("heliotrope*")] == []
