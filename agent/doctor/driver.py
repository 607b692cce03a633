"""The NVIDIA driver: its library loads, answers, and is of the kernel module's version."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pynvml

from .finding import Finding, error, ok, skipped, warning
from .subject import Subject

NVIDIA_VENDOR = "0x10de"
_DISPLAY_CLASSES = ("0x0300", "0x0302")  # VGA and 3D controllers; the rest of a board (audio, USB) is no GPU


def findings(subject: Subject) -> Iterator[Finding]:
    boards = gpu_boards(subject.sys_root)
    module = module_version(subject.sys_root)
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as cause:
        yield without_library(cause, len(boards), module)
        return
    driver = _text(pynvml.nvmlSystemGetDriverVersion())
    yield versions(driver, module, metadata.version("nvidia-ml-py"))
    yield devices(int(pynvml.nvmlDeviceGetCount()), len(boards))
    pynvml.nvmlShutdown()


def gpu_boards(sys_root: Path) -> list[str]:
    """PCI addresses of the NVIDIA GPUs that the kernel sees, with a driver or not."""
    found = []
    for folder in sorted((sys_root / "bus" / "pci" / "devices").glob("*")):
        kind = _read(folder / "class")
        if _read(folder / "vendor") == NVIDIA_VENDOR and kind.startswith(_DISPLAY_CLASSES):
            found.append(folder.name)
    return found


def module_version(sys_root: Path) -> str:
    """The loaded kernel module's version; empty when none is loaded."""
    return _read(sys_root / "module" / "nvidia" / "version")


def without_library(cause: pynvml.NVMLError, board_count: int, module: str) -> Finding:
    """What a failed nvmlInit means."""
    check = "driver.library"
    if cause.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
        if board_count == 0 and not module:
            return skipped(check, "no NVIDIA GPU on this machine's PCI bus, and no driver")
        return error(
            check,
            f"{board_count} NVIDIA GPUs, kernel module {module or 'not loaded'}, but no libnvidia-ml.so.1",
            "Install the NVIDIA driver's user-space libraries, or mount them into this container.",
            board_count=board_count,
        )
    if cause.value == pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH:
        text = f"the library and the loaded kernel module {module} are of different versions"
        return error(check, text, "Reboot, so that the module of the installed driver is loaded.")
    if cause.value == pynvml.NVML_ERROR_NO_PERMISSION:
        text = "this user may not open the GPU's device files"
        return error(check, text, "Run as root, or give this user /dev/nvidia*.")
    return error(check, f"NVML does not start: {cause}", "Look into `nvidia-smi` and the kernel's log (dmesg).")


def versions(driver: str, module: str, bindings: str) -> Finding:
    figures = {"driver_version": driver, "module_version": module, "bindings_version": bindings}
    if module and module != driver:
        text = f"library {driver}, loaded kernel module {module}"
        return error("driver.library", text, "Reboot, so that both are of one version.", **figures)
    return ok("driver.library", f"driver {driver}, nvidia-ml-py {bindings}", **figures)


def devices(count: int, board_count: int) -> Finding:
    """A board that fell off the bus, or was never bound, is on one list only."""
    figures = {"device_count": count, "board_count": board_count}
    if count < board_count:
        text = f"the driver shows {count} of {board_count} NVIDIA GPUs"
        return error(
            "driver.devices", text, "Look for Xid errors in the kernel's log (dmesg); reset or reboot.", **figures
        )
    if count == 0:
        text = "the driver shows no GPU"
        return warning("driver.devices", text, "Uninstall the driver if this machine has none.", **figures)
    return ok("driver.devices", f"{count} GPUs answer", **figures)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
