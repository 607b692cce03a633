"""Power caps on a stub driver whose limits, like a real GPU's, outlive whoever set them. Real processes throughout."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from heliotrope.agent.power.caps import steps
from heliotrope.agent.power.caps.driver import Driver
from heliotrope.agent.power.caps.keeper import VERIFY_S, Keeper, Wanted
from heliotrope.agent.restoring import Restored, restore_power_limits
from heliotrope.foundation import failpoints
from heliotrope.foundation.errors import Conflict, Denied, Incompatible, InvalidInput, NotFound, Unreachable

PREVIOUS_W, CAPPED_W = 600.0, 300.0


class HandClock:
    """All three clocks, moved by hand."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def monotonic_s(self) -> float:
        return self.now_s

    boottime_s = monotonic_s

    def utc(self) -> datetime:
        return datetime.fromtimestamp(1_800_000_000 + self.now_s, UTC)


@pytest.fixture
def gpus(scenario: Any) -> Any:
    """Two GPUs, the first set to 600 W by somebody, the second at its default of 700 W."""
    for index in (0, 1):
        scenario.gpu(index, power_w=100, limit_range_mw="100000 700000")
    scenario.set_limit_w(0, PREVIOUS_W)
    return scenario


@pytest.fixture
def keep(gpus: Any, tmp_path: Path) -> Callable[..., Keeper]:
    """A keeper over the same folder, as each new agent makes one."""
    folder = tmp_path / "state" / "power-caps"
    folder.mkdir(parents=True)

    def make(clock: HandClock, *, boot: str = "boot-1", timeout_s: float = 20.0) -> Keeper:
        return Keeper(folder, Driver(folder, os.fspath(tmp_path / "sys"), timeout_s=timeout_s), clock, boot=boot)

    return make


def wanted(device: str = "GPU-0", limit_w: float = CAPPED_W, cap_id: str = "p-1", lifetime_s: float = 60.0) -> Wanted:
    return Wanted(cap_id=cap_id, device=device, limit_w=limit_w, lifetime_s=lifetime_s, operator="ann", message="hot")


def kinds(keeper: Keeper) -> list[str]:
    return [str(event.kind) for event in keeper.audit.waiting()]


def test_a_cap_is_set_read_back_and_ends_in_time(gpus: Any, keep: Any) -> None:
    gpus.set(gpu0__limit_step_mw=7000, gpu0__ceiling_mw=250_000)
    clock = HandClock()
    keeper = keep(clock)
    (cap,) = keeper.cap(wanted())
    # Rounded by the device, and something else holds it lower still: three different figures.
    assert (cap.requested_w, cap.limit_w, cap.enforced_w, cap.previous_w) == (300.0, 294.0, 250.0, PREVIOUS_W)
    assert (cap.operator, cap.message) == ("ann", "hot") and keeper.active() == (cap,)
    assert cap.expires_utc is not None and (cap.expires_utc - clock.utc()).total_seconds() == 60
    clock.now_s += 59
    keeper.ensure()
    assert gpus.limit_w(0) == 294.0 and 0 < keeper.wait_s() <= 1
    clock.now_s += 2
    keeper.ensure()
    assert gpus.limit_w(0) == 595.0  # the limit before, rounded by the device: its step again
    (event,) = keeper.audit.waiting()
    assert (event.kind, event.found_w, event.limit_w, event.operator) == ("RESTORED", 294.0, 595.0, "ann")
    assert "its time was over" in event.message and keeper.active() == ()


def test_all_gpus_or_none(gpus: Any, keep: Any) -> None:
    keeper = keep(HandClock())
    assert [cap.device for cap in keeper.cap(wanted(device=""))] == ["GPU-0", "GPU-1"]
    assert (gpus.limit_w(0), gpus.limit_w(1)) == (CAPPED_W, CAPPED_W)
    keeper.release("", "done")
    assert (gpus.limit_w(0), gpus.limit_w(1)) == (PREVIOUS_W, 700.0)
    gpus.set(gpu1__limit_range_mw="400000 700000")
    with pytest.raises(
        InvalidInput, match=r"field limit_w: 300 W is outside of what GPU-1 takes; choose from 400 to 700"
    ):
        keeper.cap(wanted(device=""))
    gpus.set(gpu1__limit_range_mw="100000 700000", gpu1__code__limit_set=4)
    with pytest.raises(Denied, match="CAP_SYS_ADMIN"):
        keeper.cap(wanted(device="", cap_id="p-2"))
    assert (gpus.limit_w(0), gpus.limit_w(1)) == (PREVIOUS_W, 700.0) and keeper.active() == ()


def test_again_changes_and_extends_it_and_the_limit_before_stays_the_first(gpus: Any, keep: Any) -> None:
    clock = HandClock()
    keeper = keep(clock)
    keeper.cap(wanted())
    clock.now_s += 50
    (cap,) = keeper.cap(wanted(cap_id="p-2", limit_w=200.0))
    assert (cap.previous_w, gpus.limit_w(0)) == (PREVIOUS_W, 200.0)
    with pytest.raises(InvalidInput):
        keeper.cap(wanted(cap_id="p-3", limit_w=50.0))  # a refused one leaves what is there
    clock.now_s += 50
    keeper.ensure()
    assert [cap.cap_id for cap in keeper.active()] == ["p-2"] and gpus.limit_w(0) == 200.0
    (ended,) = keeper.release("GPU-0", "ann ended it")
    assert (gpus.limit_w(0), ended.limit_w) == (PREVIOUS_W, PREVIOUS_W)
    assert keeper.release("GPU-0", "again") == ()


@pytest.mark.parametrize("end", ["expiry", "release", "stop", "verify", "restart"])
def test_somebody_elses_newer_limit_is_left_alone(end: str, gpus: Any, keep: Any) -> None:
    clock = HandClock()
    keeper = keep(clock)
    keeper.cap(wanted(lifetime_s=1000.0))
    gpus.set_limit_w(0, 450.0)
    if end == "expiry":
        clock.now_s += 1001
        keeper.ensure()
    elif end == "release":
        keeper.release("", "done")
    elif end == "stop":
        assert keeper.restore("stopped", goes_on=False) == ()
    elif end == "verify":
        clock.now_s += VERIFY_S
        keeper.ensure()
    else:
        keeper = keep(clock)
        keeper.adopt()
    assert gpus.limit_w(0) == 450.0 and keeper.active() == ()
    (event,) = keeper.audit.waiting()
    assert (event.kind, event.found_w) == ("OVERTAKEN", 450.0)


def test_a_new_cap_over_somebody_elses_limit_goes_back_to_theirs(gpus: Any, keep: Any) -> None:
    keeper = keep(HandClock())
    keeper.cap(wanted())
    gpus.set_limit_w(0, 450.0)
    (cap,) = keeper.cap(wanted(cap_id="p-2"))
    assert cap.previous_w == 450.0 and kinds(keeper) == ["OVERTAKEN"]
    keeper.release("", "done")
    assert gpus.limit_w(0) == 450.0


def test_a_reset_gpu_is_not_touched_again(gpus: Any, keep: Any) -> None:
    clock = HandClock()
    keeper = keep(clock)
    keeper.cap(wanted(lifetime_s=1000.0))
    gpus.set_limit_w(0, PREVIOUS_W)
    clock.now_s += VERIFY_S
    keeper.ensure()
    (event,) = keeper.audit.waiting()
    assert event.kind == "OVERTAKEN" and "by a reset" in event.message
    assert gpus.limit_w(0) == PREVIOUS_W and keeper.active() == ()


def test_after_a_reboot_nothing_is_set(gpus: Any, keep: Any) -> None:
    clock = HandClock()
    keep(clock).cap(wanted(lifetime_s=1000.0))
    gpus.set(count=0)  # and the driver is not even asked
    keeper = keep(clock, boot="boot-2")
    keeper.adopt()
    assert kinds(keeper) == ["GONE"] and keeper.active() == () and gpus.limit_w(0) == CAPPED_W


@pytest.mark.parametrize(
    ("lifetime_s", "left_w", "seen"), [(5.0, PREVIOUS_W, "RESTORED"), (500.0, CAPPED_W, "REAPPLIED")]
)
def test_a_new_agent_ends_or_goes_on_with_what_it_finds(
    lifetime_s: float, left_w: float, seen: str, gpus: Any, keep: Any
) -> None:
    """Crashed without a stop step: the limit is still set."""
    clock = HandClock()
    keep(clock).cap(wanted(lifetime_s=lifetime_s))
    clock.now_s += 10
    keeper = keep(clock)
    keeper.adopt()
    assert gpus.limit_w(0) == left_w and kinds(keeper) == [seen]


def test_the_stop_step_of_a_crash_lets_the_next_agent_go_on(gpus: Any, keep: Any) -> None:
    clock = HandClock()
    keep(clock).cap(wanted(lifetime_s=100.0))
    step = keep(clock)
    assert step.restore("the agent ended with watchdog", goes_on=True) == () and kinds(step) == ["SUSPENDED"]
    assert gpus.limit_w(0) == PREVIOUS_W
    assert step.restore("again", goes_on=True) == () and kinds(step) == ["SUSPENDED"]
    clock.now_s += 10
    keeper = keep(clock)
    keeper.adopt()
    assert gpus.limit_w(0) == CAPPED_W and kinds(keeper) == ["SUSPENDED", "REAPPLIED"]
    clock.now_s += 91
    keeper.ensure()
    assert gpus.limit_w(0) == PREVIOUS_W and kinds(keeper)[-1] == "RESTORED"


@pytest.mark.parametrize("when", [1, 2])
@pytest.mark.parametrize("how", ["hang", "vanish"])
def test_a_driver_that_fails_in_the_middle_leaves_nothing_half_done(how: str, when: int, gpus: Any, keep: Any) -> None:
    """Its process hangs or dies before or after the limit is really set; later the driver works again."""
    clock = HandClock()
    keeper = keep(clock, timeout_s=3.0)
    gpus.set(**{f"gpu0__{how}_set": when})
    with pytest.raises(Unreachable, match="driver"):
        keeper.cap(wanted())
    assert gpus.limit_w(0) in (PREVIOUS_W, CAPPED_W)
    gpus.set(**{f"gpu0__{how}_set": None})
    clock.now_s += keeper.wait_s()
    keeper.ensure()
    assert gpus.limit_w(0) == PREVIOUS_W and keeper.active() == ()
    assert kinds(keeper)[-1] == "RESTORED"
    if "STUCK" in kinds(keeper):
        assert kinds(keeper).count("STUCK") == 1


CRASHING = """
import sys
from pathlib import Path
from heliotrope.agent.power.caps.driver import Driver
from heliotrope.agent.power.caps.keeper import Keeper, Wanted
from heliotrope.foundation import failpoints
from heliotrope.foundation.clock import SystemClock

folder = Path(sys.argv[1])
keeper = Keeper(folder, Driver(folder), SystemClock())
failpoints.arm()
keeper.cap(Wanted(cap_id="p-1", device="GPU-0", limit_w=300.0, lifetime_s=1000.0))
keeper.cap(Wanted(cap_id="p-2", device="GPU-0", limit_w=200.0, lifetime_s=1000.0))
keeper.release("", "done")
"""
POINTS = sorted(point for point in failpoints.registered() if point.startswith("caps."))


@pytest.mark.parametrize(
    "setting", [*(f"{point}=kill" for point in POINTS), *(f"{point}=kill@2" for point in POINTS if ".set." in point)]
)
def test_a_kill_anywhere_leaves_the_limit_before(setting: str, gpus: Any, keep: Any, tmp_path: Path) -> None:
    """Of a first cap, of one that takes its place (@2), and of their end; then the stop step, twice."""
    assert steps and len(POINTS) == 6
    environment = {**os.environ, failpoints.VARIABLE: setting}
    command = [sys.executable, "-c", CRASHING, str(tmp_path / "state" / "power-caps")]
    assert subprocess.run(command, env=environment, check=False).returncode == -9
    done = stop_step(tmp_path)
    assert done.problems == () and gpus.limit_w(0) == PREVIOUS_W
    assert list((tmp_path / "state" / "power-caps" / "leases").iterdir()) == []
    assert [event.kind for event in done.events] == ([] if "restore.recorded" in setting else ["RESTORED"])
    assert stop_step(tmp_path) == Restored()


def stop_step(tmp_path: Path) -> Restored:
    return restore_power_limits(tmp_path / "state", sys_root="/sys", cause="stopped", goes_on=False)


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "heliotrope.cli", "agent", "restore-power-limits", "--state-dir", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_stop_step_as_the_unit_calls_it(gpus: Any, keep: Any, tmp_path: Path) -> None:
    state = str(tmp_path / "state")
    crash = {**os.environ, failpoints.VARIABLE: "caps.set.recorded=kill"}
    subprocess.run([sys.executable, "-c", CRASHING, f"{state}/power-caps"], env=crash, check=False)
    gpus.set(gpu0__code__limit_set=15)
    failed = run(state)
    assert failed.returncode == Unreachable.exit_code and "GPU-0" in failed.stderr and gpus.limit_w(0) == CAPPED_W
    gpus.set(gpu0__code__limit_set=None)
    done = run(state, "--service-result", "watchdog", "--json")
    assert done.returncode == 0 and gpus.limit_w(0) == PREVIOUS_W, done.stderr
    assert [event["kind"] for event in msgspec.json.decode(done.stdout)["events"]] == ["RESTORED"]
    assert run(state).returncode == 0 and run(f"{state}/nowhere").returncode == InvalidInput.exit_code


def test_an_order_that_comes_after_the_end_sets_nothing(gpus: Any, keep: Any) -> None:
    """It waited for its turn while the agent's stop put the limits back."""
    keeper = keep(HandClock())
    keeper.cap(wanted())
    assert keeper.restore("stopped", goes_on=False) == ()
    with pytest.raises(Unreachable, match="is stopping"):
        keeper.cap(wanted(cap_id="p-2"))
    keeper.ensure()
    assert gpus.limit_w(0) == PREVIOUS_W and keeper.active() == ()


def test_what_cannot_be_capped_is_refused_by_name(gpus: Any, keep: Any, sys_tree: Any) -> None:
    keeper = keep(HandClock())
    gpus.set(gpu0__mig=7, gpu0__instance=["MIG-a 3"], gpu1__code__limit=3)
    with pytest.raises(InvalidInput, match="MIG-a is an instance of GPU-0"):
        keeper.cap(wanted(device="MIG-a"))
    with pytest.raises(NotFound, match="it has GPU-0, GPU-1"):
        keeper.cap(wanted(device="GPU-9"))
    with pytest.raises(Incompatible, match="GPU-1"):
        keeper.cap(wanted(device="GPU-1"))
    with pytest.raises(Conflict, match="time was over"):
        keeper.cap(wanted(lifetime_s=0.0))
    sys_tree({"firmware/devicetree/base/model": "NVIDIA Jetson AGX Orin\0"})
    with pytest.raises(Incompatible, match="nvpmodel"):
        keeper.cap(wanted(device="GPU-1"))
    gpus.set(count=0)
    with pytest.raises(NotFound, match="none on this node"):
        keeper.cap(wanted(device=""))
    assert keeper.active() == () and keeper.audit.waiting() == ()


def test_a_processor_package_too(keep: Any, sys_tree: Any, tmp_path: Path) -> None:
    zone = "class/powercap/intel-rapl:0"
    files = {"name": "package-0", "constraint_0_power_limit_uw": 250_000_000, "constraint_0_max_power_uw": 250_000_000}
    root = sys_tree({f"{zone}/{name}": value for name, value in files.items()} | {f"{zone}:0/name": "dram"})
    limit = root / zone / "constraint_0_power_limit_uw"
    keeper = keep(HandClock())
    (cap,) = keeper.cap(wanted(device="rapl:package-0", limit_w=120.5))
    assert int(limit.read_text()) == 120_500_000
    assert (cap.limit_w, cap.enforced_w, cap.previous_w) == (120.5, None, 250.0)
    with pytest.raises(InvalidInput, match="choose from 25 to 250 W"):
        keeper.cap(wanted(device="rapl:package-0", limit_w=10.0))
    with pytest.raises(NotFound, match="rapl:package-0"):
        keeper.cap(wanted(device="rapl:package-1"))
    keeper.release("", "done")
    assert int(limit.read_text()) == 250_000_000


def test_an_unreadable_lease_does_not_keep_the_agent_from_starting(keep: Any, tmp_path: Path) -> None:
    folder = tmp_path / "state" / "power-caps" / "leases"
    folder.mkdir()
    (folder / "GPU-0.json").write_text('{"cap_id":')
    assert keep(HandClock()).active() == ()
    assert [path.name for path in folder.iterdir()] == ["GPU-0.unreadable"]


def test_events_wait_for_their_acknowledgement(keep: Any) -> None:
    keeper = keep(HandClock())
    keeper.cap(wanted())
    keeper.release("", "done")
    again = keep(HandClock())
    (event,) = again.audit.waiting()
    assert event == keeper.audit.waiting()[0]
    again.audit.acknowledged(event.event_id)
    again.audit.acknowledged(event.event_id)
    assert keep(HandClock()).audit.waiting() == ()
