"""Power limits of NVIDIA GPUs through NVML; only ever called in the process of :mod:`.child`.

``limit_w`` is the management limit, the one that is set; ``enforced_w`` the lowest of all limiters (out of band, the
module's), which the GPU obeys. A limit lives as long as the driver keeps the GPU open: a reboot or a reset sets it to
the default, and so does the last client's leaving where persistence mode is off.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pynvml

from heliotrope.foundation.errors import HeliotropeError, Incompatible, InvalidInput, NotFound, Unreachable

from ..sources.files import read_label
from .limiter import not_permitted

INSTANCE = "MIG-"
_TEGRA = ("Jetson", "Tegra")


class GpuLimiter:
    """One whole GPU."""

    def __init__(self, handle: Any, uuid: str, sys_root: Path) -> None:
        self._handle = handle
        self._sys_root = sys_root
        self.device = uuid

    def limit_w(self) -> float:
        return self._watts("read the power limit", pynvml.nvmlDeviceGetPowerManagementLimit)

    def enforced_w(self) -> float | None:
        try:
            return self._watts("read the enforced power limit", pynvml.nvmlDeviceGetEnforcedPowerLimit)
        except Incompatible:
            return None

    def range_w(self) -> tuple[float, float]:
        lowest_mw, highest_mw = self._call(
            "read the range of power limits", pynvml.nvmlDeviceGetPowerManagementLimitConstraints
        )
        return lowest_mw / 1e3, highest_mw / 1e3

    def set_limit_w(self, limit_w: float) -> None:
        self._call("set the power limit", pynvml.nvmlDeviceSetPowerManagementLimit, round(limit_w * 1e3))

    def _watts(self, action: str, call: Callable[..., Any]) -> float:
        return float(self._call(action, call)) / 1e3

    def _call(self, action: str, call: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return call(self._handle, *arguments)
        except pynvml.NVMLError as error:
            raise _translated(action, self.device, error, self._sys_root) from error


class Gpus:
    """The driver, open."""

    def __init__(self, sys_root: Path) -> None:
        self._sys_root = sys_root

    def all(self) -> list[GpuLimiter]:
        """Every GPU. Raises NotFound when there is none."""
        found = [self._limiter(handle) for handle in self._handles()]
        if not found:
            raise NotFound("cannot limit the power of GPUs: the driver shows none on this node")
        return found

    def find(self, uuid: str) -> GpuLimiter:
        """Raises NotFound naming those that are here, InvalidInput for an instance of a GPU (MIG)."""
        known: list[str] = []
        for handle in self._handles():
            limiter = self._limiter(handle)
            if limiter.device == uuid:
                return limiter
            if uuid.startswith(INSTANCE) and uuid in _instances(handle):
                raise InvalidInput(
                    f"field device: {uuid} is an instance of {limiter.device}; a power limit is the whole GPU's, and "
                    f"all its instances share it: name {limiter.device}"
                )
            known.append(limiter.device)
        raise NotFound(f"field device: no GPU {uuid!r} on this node; it has {', '.join(known) or 'none'}")

    def _handles(self) -> Iterator[Any]:
        try:
            for index in range(pynvml.nvmlDeviceGetCount()):
                yield pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            raise _translated("open", "the GPUs", error, self._sys_root) from error

    def _limiter(self, handle: Any) -> GpuLimiter:
        try:
            return GpuLimiter(handle, str(pynvml.nvmlDeviceGetUUID(handle)), self._sys_root)
        except pynvml.NVMLError as error:
            raise _translated("name", "a GPU", error, self._sys_root) from error


@contextmanager
def opened(sys_root: Path) -> Iterator[Gpus]:
    """NVML for as long as the context. Raises NotFound without a driver, Incompatible on a Jetson."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            raise _jetson(sys_root) or NotFound(
                "cannot limit the power of GPUs: this node has no NVIDIA driver (libnvidia-ml.so.1)"
            ) from error
        raise _translated("open", "NVML", error, sys_root) from error
    try:
        yield Gpus(sys_root)
    finally:
        pynvml.nvmlShutdown()


def _instances(handle: Any) -> list[str]:
    """UUIDs of a GPU's MIG instances; none where it has no MIG."""
    found: list[str] = []
    try:
        for index in range(pynvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
            instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, index)
            found.append(str(pynvml.nvmlDeviceGetUUID(instance)))
    except pynvml.NVMLError:
        return found  # the driver answers so after the last one, too
    return found


def _translated(action: str, what: str, error: Any, sys_root: Path) -> HeliotropeError:
    if error.value == pynvml.NVML_ERROR_NO_PERMISSION:
        return not_permitted(what)
    if error.value in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND):
        return _jetson(sys_root) or Incompatible(
            f"cannot {action} of {what}: the driver does not support it on this GPU; nothing helps"
        )
    return Unreachable(f"cannot {action} of {what}: NVML {error.value} {error}; look into the kernel's log (dmesg)")


def _jetson(sys_root: Path) -> Incompatible | None:
    """A board's power mode is another thing than a limit: several clocks at once, kept over reboots."""
    model = read_label(sys_root / "firmware" / "devicetree" / "base" / "model")
    if not any(word in model for word in _TEGRA):
        return None
    return Incompatible(
        f"cannot limit the power of {model}: a Jetson has power modes (nvpmodel) instead, which hold for the whole "
        "board and over reboots; choose one by hand with: nvpmodel -m MODE"
    )
