"""Which processes use one GPU, and how much: time on the SMs where the driver tells, memory where it does not.

Under MIG the driver gives no process its SM time; what is known is which instance a process runs on and how many of the
GPU's slices that instance owns.
"""

from __future__ import annotations

import time
from typing import Any

import pynvml

from ..reading import ErrorKind, ProcessUse, SensorError
from .nvml_fields import checked


class GpuProcesses:
    """Remembers up to when one GPU's utilisation samples were seen."""

    def __init__(self, handle: Any, uuid: str) -> None:
        self._handle = handle
        self._uuid = uuid
        # The driver stamps samples with the time of day in microseconds; older ones belong to nobody here.
        self._seen_us = int(time.time() * 1e6)
        self._has_sm = True

    def uses(self) -> list[ProcessUse] | None:
        """Processes since the last call; None where the driver does not tell. Raises SensorError only of kind FATAL."""
        try:
            if self._is_mig():
                return self._instance_uses()
            memory = self._memory(self._handle)
        except SensorError as error:
            if error.kind is ErrorKind.FATAL:
                raise
            return None
        sm_ratios = self._sm_ratios() if self._has_sm else None
        pids = sorted(set(memory) | set(sm_ratios or ()))
        return [
            ProcessUse(
                device=self._uuid,
                pid=pid,
                memory_bytes=memory.get(pid, 0),
                sm_ratio=None if sm_ratios is None else sm_ratios.get(pid, 0.0),
            )
            for pid in pids
        ]

    def _memory(self, handle: Any) -> dict[int, int | None]:
        found = checked(f"list processes of GPU {self._uuid}", pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        return {int(process.pid): process.usedGpuMemory for process in found}

    def _sm_ratios(self) -> dict[int, float] | None:
        """pid -> share of time on the SMs, mean of the samples since the last call."""
        try:
            samples = pynvml.nvmlDeviceGetProcessUtilization(self._handle, self._seen_us)
        except pynvml.NVMLError as error:
            if error.value in (pynvml.NVML_SUCCESS, pynvml.NVML_ERROR_NOT_FOUND):
                return {}  # nobody ran since the last call; the wrapper raises "success" for an empty list
            if error.value in (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND):
                self._has_sm = False
            return None
        sums: dict[int, list[float]] = {}
        for sample in samples:
            # Drivers hand out unused entries of the array too: pid 0, or a utilisation above 100 %.
            if sample.timeStamp > self._seen_us and sample.pid and sample.smUtil <= 100:
                sums.setdefault(int(sample.pid), []).append(sample.smUtil / 100)
        self._seen_us = max([self._seen_us, *(int(sample.timeStamp) for sample in samples if sample.pid)])
        return {pid: sum(ratios) / len(ratios) for pid, ratios in sums.items()}

    def _is_mig(self) -> bool:
        try:
            return bool(checked("read MIG mode", pynvml.nvmlDeviceGetMigMode, self._handle)[0])
        except SensorError as error:
            if error.kind is ErrorKind.FATAL:
                raise
            return False

    def _instance_uses(self) -> list[ProcessUse]:
        slice_count = checked("count MIG instances", pynvml.nvmlDeviceGetMaxMigDeviceCount, self._handle)
        uses = []
        for index in range(slice_count):
            try:
                instance = pynvml.nvmlDeviceGetMigDeviceHandleByIndex(self._handle, index)
            except pynvml.NVMLError:
                continue  # that place is not taken
            uuid = str(checked("name MIG instance", pynvml.nvmlDeviceGetUUID, instance))
            attributes = checked("read MIG instance", pynvml.nvmlDeviceGetAttributes, instance)
            memory = self._memory(instance)
            uses += [
                ProcessUse(
                    device=self._uuid,
                    pid=pid,
                    memory_bytes=memory_bytes,
                    slice_ratio=min(1.0, attributes.gpuInstanceSliceCount / slice_count),
                    instance=uuid,
                )
                for pid, memory_bytes in memory.items()
            ]
        return uses
