"""Power limits of processor packages, through the kernel's powercap tree (Intel; AMD's shows energy only).

The long-term limit is ``constraint_0_power_limit_uw`` of a package's zone; what the firmware enforces beside it is not
shown.
"""

from __future__ import annotations

from pathlib import Path

from heliotrope.foundation.errors import Incompatible, NotFound, Unreachable

from ..reading import SensorError
from ..sources.files import read_int, read_label
from .limiter import not_permitted

PREFIX = "rapl:"
# The kernel takes next to nothing for a limit, and the machine then crawls: a tenth of the highest is as low as we go.
_LOWEST_RATIO = 0.1


class PackageLimiter:
    """One processor package."""

    def __init__(self, zone: Path, device: str) -> None:
        self._zone = zone
        self.device = device

    def limit_w(self) -> float:
        return self._watts("power_limit_uw")

    def enforced_w(self) -> float | None:
        return None

    def range_w(self) -> tuple[float, float]:
        highest_w = self._watts("max_power_uw")
        return highest_w * _LOWEST_RATIO, highest_w

    def set_limit_w(self, limit_w: float) -> None:
        path = self._zone / "constraint_0_power_limit_uw"
        try:
            path.write_text(f"{round(limit_w * 1e6)}\n", encoding="ascii")
        except PermissionError as error:
            raise not_permitted(self.device) from error
        except OSError as error:
            raise Unreachable(
                f"cannot set the power limit of {self.device}: {error.strerror}; the firmware may have locked it"
            ) from error

    def _watts(self, name: str) -> float:
        try:
            return read_int(self._zone / f"constraint_0_{name}") / 1e6
        except SensorError as error:
            raise Incompatible(
                f"cannot limit the power of {self.device}: its zone has no constraint_0_{name} that can be read; "
                "this processor or its firmware shows no limit"
            ) from error


def find(device: str, sys_root: Path) -> PackageLimiter:
    """``rapl:package-0`` -> its limiter. Raises NotFound naming the packages that are here."""
    folder = sys_root / "class" / "powercap"
    zones = sorted(folder.glob("intel-rapl:*")) if folder.is_dir() else []
    # Subzones (dram, core) have limits of their own kinds; a second colon tells them.
    packages = {f"{PREFIX}{read_label(zone / 'name')}": zone for zone in zones if zone.name.count(":") == 1}
    packages = {name: zone for name, zone in packages.items() if name.startswith(f"{PREFIX}package")}
    if device not in packages:
        known = ", ".join(packages) or "none"
        raise NotFound(f"field device: no processor package {device!r} with a limit on this node; it has {known}")
    return PackageLimiter(packages[device], device)
