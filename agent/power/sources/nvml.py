"""NVIDIA GPUs through NVML (the package nvidia-ml-py, imported as ``pynvml``).

Every field is probed by itself on every device, because support differs by field: an Orin answers ``nvmlInit`` and
then "not supported" to all else, a GH200 knows some powers only for the module. One call reads all fields of a device;
it returns success while single entries fail, so each entry's own code is checked. Devices are keyed by UUID: indices
change over reboots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pynvml

from ..reading import Channel, ErrorKind, ProcessUse, Reading, SensorError, failed
from .nvml_fields import COUNTER_STEP_S, GONE, Plan, PlanReader, checked, probe_plan, sensor_error
from .nvml_processes import GpuProcesses

NAME = "nvml"


class Gpu:
    """One GPU with what it can be asked."""

    def __init__(self, handle: Any, uuid: str, model: str, plan: Plan) -> None:
        self.handle = handle
        self.plan = plan
        self.channel = Channel(
            device=uuid,
            source=NAME,
            scope=plan.scope,
            label=f"{model} ({plan.describe()})",
            has_counter=plan.energy is not None,
            counter_step_s=COUNTER_STEP_S,
        )
        self._full = PlanReader(plan, handle, uuid)
        self._lean = PlanReader(plan.without_counter, handle, uuid)
        self.processes = GpuProcesses(handle, uuid)
        self.stopped: SensorError | None = None

    def read(self, now_s: float, *, counters: bool = True) -> Reading:
        """Counter and power in one call; what one of them lacks does not cost the other."""
        if self.stopped is not None:
            return failed(self.channel, now_s, self.stopped)
        try:
            energy_mj, power_mw = self._values(self._full if counters else self._lean)
        except SensorError as error:
            if error.kind is ErrorKind.FATAL:
                raise
            if error.kind is ErrorKind.STOP:
                self.stopped = error
            return failed(self.channel, now_s, error)
        return Reading(
            device=self.channel.device,
            source=NAME,
            scope=self.channel.scope,
            taken_s=now_s,
            energy_j=None if energy_mj is None else energy_mj / 1e3,
            power_w=None if power_mw is None else power_mw / 1e3,
        )

    def _values(self, reader: PlanReader) -> tuple[float | None, float | None]:
        energy, power = reader.values()
        if not (isinstance(energy, SensorError) or isinstance(power, SensorError)):
            return energy, power
        errors = [value for value in (energy, power) if isinstance(value, SensorError)]
        numbers = [value for value in (energy, power) if isinstance(value, float)]
        if errors and (not numbers or any(error.code in GONE for error in errors)):
            raise errors[0]
        return (
            energy if isinstance(energy, float) else None,
            power if isinstance(power, float) else None,
        )


class NvmlSource:
    """All GPUs that answered; implements Source and ProcessSource."""

    def __init__(self, gpus: Sequence[Gpu], monotonic_s: Callable[[], float]) -> None:
        self._gpus = list(gpus)
        self._monotonic_s = monotonic_s
        self._is_open = True

    @property
    def name(self) -> str:
        return NAME

    @property
    def channels(self) -> Sequence[Channel]:
        return [gpu.channel for gpu in self._gpus]

    def keep(self, devices: frozenset[str]) -> None:
        self._gpus = [gpu for gpu in self._gpus if gpu.channel.device in devices]

    def read(self, *, counters: bool = True) -> list[Reading]:
        return [gpu.read(self._monotonic_s(), counters=counters) for gpu in self._gpus]

    def uses(self) -> dict[str, list[ProcessUse] | None]:
        return {gpu.channel.device: None if gpu.stopped else gpu.processes.uses() for gpu in self._gpus}

    def close(self) -> None:
        if self._is_open:
            self._is_open = False
            self._gpus = []
            try:
                pynvml.nvmlShutdown()
            except pynvml.NVMLError:
                return  # a driver that is gone has nothing left to release


def open_nvml(monotonic_s: Callable[[], float]) -> tuple[NvmlSource | None, list[str]]:
    """The GPUs that answer at least one of counter and power; None with a problem text where there is a driver but no
    answer.

    No NVML library at all is no problem: the machine just has no NVIDIA GPU.
    """
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            return None, []
        return None, [str(sensor_error("open NVML", error))]
    try:
        gpus, problems = _gpus()
    except SensorError as error:
        gpus, problems = [], [str(error)]
    source = NvmlSource(gpus, monotonic_s)
    if gpus:
        return source, problems
    source.close()
    return None, problems


def _gpus() -> tuple[list[Gpu], list[str]]:
    gpus: list[Gpu] = []
    problems: list[str] = []
    for index in range(checked("count GPUs", pynvml.nvmlDeviceGetCount)):
        try:
            handle = checked(f"open GPU {index}", pynvml.nvmlDeviceGetHandleByIndex, index)
            uuid = str(checked(f"name GPU {index}", pynvml.nvmlDeviceGetUUID, handle))
            plan = probe_plan(handle, uuid)
            if plan.energy is None and plan.power is None:
                problems.append(f"cannot measure GPU {uuid}: the driver supports neither its energy nor its power")
                continue
            gpus.append(Gpu(handle, uuid, _model(handle), plan))
        except SensorError as error:
            problems.append(str(error))
    return gpus, problems


def _model(handle: Any) -> str:
    try:
        return str(checked("name GPU", pynvml.nvmlDeviceGetName, handle))
    except SensorError:
        return "GPU"
