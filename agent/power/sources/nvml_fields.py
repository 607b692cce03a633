"""Which NVML fields one GPU answers, and what an NVML error code asks for.

Codes after NVML's API reference. ``nvmlDeviceGetPowerUsage`` and field 185 are 1 s averages on Ampere and later
(except GA100), field 186 is instantaneous; fields 83 and 191 count millijoules since the driver was loaded and step
about every 100 ms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import pynvml

from ..reading import ErrorKind, Scope, SensorError

COUNTER_STEP_S = 0.1

_SCOPE_GPU, _SCOPE_MODULE = 0, 1

_FATAL = {
    pynvml.NVML_ERROR_UNINITIALIZED: "open it again",
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: "load the nvidia kernel module",
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: "install the driver's libnvidia-ml.so.1",
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: "reload the kernel module or reboot after the driver upgrade",
}
_STOP = {
    pynvml.NVML_ERROR_INVALID_ARGUMENT: "report it",
    pynvml.NVML_ERROR_NOT_SUPPORTED: "nothing helps on this GPU",
    pynvml.NVML_ERROR_NO_PERMISSION: "give the agent access to the device",
    pynvml.NVML_ERROR_NOT_FOUND: "check the device",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "install a newer driver",
    pynvml.NVML_ERROR_GPU_IS_LOST: "reset the GPU or reboot",
    pynvml.NVML_ERROR_RESET_REQUIRED: "reset the GPU with nvidia-smi -r",
    pynvml.NVML_ERROR_GPU_NOT_FOUND: "check the device",
}
# The device itself is unusable, whatever is asked of it.
GONE = {pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED, pynvml.NVML_ERROR_GPU_NOT_FOUND}


_MEMBERS = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
}


class Field(msgspec.Struct, frozen=True):
    """One way to ask for a number: a field id with its scope, or (``call``) a function of its own."""

    name: str
    scope: Scope
    field_id: int = 0
    field_scope: int = _SCOPE_GPU
    call: str = ""


ENERGY = (
    Field("counter", Scope.GPU, pynvml.NVML_FI_DEV_TOTAL_ENERGY_CONSUMPTION),
    Field("counter", Scope.GPU, call="nvmlDeviceGetTotalEnergyConsumption"),
    Field("counter", Scope.GPU, pynvml.NVML_FI_DEV_ENERGY),
    Field("counter", Scope.MODULE, pynvml.NVML_FI_DEV_ENERGY, _SCOPE_MODULE),
)
POWER = (
    Field("instant", Scope.GPU, pynvml.NVML_FI_DEV_POWER_INSTANT),
    Field("average", Scope.GPU, pynvml.NVML_FI_DEV_POWER_AVERAGE),
    Field("average", Scope.GPU, call="nvmlDeviceGetPowerUsage"),
    Field("instant", Scope.MODULE, pynvml.NVML_FI_DEV_POWER_INSTANT, _SCOPE_MODULE),
    Field("average", Scope.MODULE, pynvml.NVML_FI_DEV_POWER_AVERAGE, _SCOPE_MODULE),
)


class Plan(msgspec.Struct, frozen=True):
    """What to ask one GPU for; None is absent, which is not 0."""

    energy: Field | None
    power: Field | None

    @property
    def scope(self) -> Scope:
        chosen = self.energy or self.power
        return chosen.scope if chosen else Scope.GPU

    @property
    def without_counter(self) -> Plan:
        """The power alone; the counter where there is nothing else."""
        return Plan(None, self.power) if self.power else self

    def describe(self) -> str:
        parts = [f"energy {self.energy.name}"] if self.energy else []
        parts += [f"{self.power.name} power"] if self.power else []
        return ", ".join(parts)


class PlanReader:
    """Asks one GPU for all of a plan. The array of fields is made once: this happens eighty times a second."""

    def __init__(self, plan: Plan, handle: Any, uuid: str) -> None:
        self._plan = plan
        self._handle = handle
        self._uuid = uuid
        fields = [field for field in (plan.energy, plan.power) if field and not field.call]
        self._array = (pynvml.c_nvmlFieldValue_t * len(fields))()
        for entry, field in zip(self._array, fields, strict=True):
            entry.fieldId, entry.scopeId = field.field_id, field.field_scope
        # The library that nvmlInit loaded; the wrapper of this function would make the array anew at every call.
        self._ask = pynvml.nvmlLib.nvmlDeviceGetFieldValues if fields else None
        self._count = len(fields)
        self._energy = self._array[0] if plan.energy and not plan.energy.call else None
        self._power = self._array[len(fields) - 1] if plan.power and not plan.power.call else None

    def values(self) -> tuple[float | SensorError | None, float | SensorError | None]:
        """(counter in mJ, power in mW), each with its own error, None where the plan has none. Raises SensorError."""
        if self._ask is not None:
            code = self._ask(self._handle, self._count, self._array)
            if code != pynvml.NVML_SUCCESS:
                raise _by_code(f"read GPU {self._uuid}", code, _text(code))
        return self._value(self._plan.energy, self._energy), self._value(self._plan.power, self._power)

    def _value(self, field: Field | None, entry: Any) -> float | SensorError | None:
        if field is None:
            return None
        return _called(field, self._handle) if entry is None else field_number(entry, self._uuid)


def probe_plan(handle: Any, uuid: str) -> Plan:
    """Ask for every field by itself and take the first of each kind that answers.

    Counter and power must be of one scope, else the smallest and largest power would belong to something else than the
    energy. Raises SensorError when the GPU itself is unusable (lost, needs a reset).
    """
    energy = _first(ENERGY, handle, uuid)
    powers = POWER if energy is None else tuple(field for field in POWER if field.scope is energy.scope)
    return Plan(energy, _first(powers, handle, uuid))


def _first(fields: tuple[Field, ...], handle: Any, uuid: str) -> Field | None:
    for field in fields:
        value = _called(field, handle) if field.call else _asked(field, handle, uuid)
        if isinstance(value, float):
            return field
        if value.kind is ErrorKind.FATAL or value.code in GONE:
            raise value
    return None


def _asked(field: Field, handle: Any, uuid: str) -> float | SensorError:
    try:
        query = [(field.field_id, field.field_scope)]
        entries = checked(f"read GPU {uuid}", pynvml.nvmlDeviceGetFieldValues, handle, query)
    except SensorError as error:
        return error
    return field_number(entries[0], uuid)


def _called(field: Field, handle: Any) -> float | SensorError:
    try:
        return float(checked(f"read {field.name}", getattr(pynvml, field.call), handle))
    except SensorError as error:
        return error


def field_number(entry: Any, uuid: str) -> float | SensorError:
    """The value of one entry by its own return code and type."""
    if entry.nvmlReturn != pynvml.NVML_SUCCESS:
        return _by_code(f"read field {entry.fieldId} of GPU {uuid}", entry.nvmlReturn, _text(entry.nvmlReturn))
    member = _MEMBERS.get(entry.valueType)
    if member is None:
        return SensorError(ErrorKind.STOP, f"cannot read field {entry.fieldId} of GPU {uuid}: type {entry.valueType}")
    return float(getattr(entry.value, member))


def checked(action: str, call: Callable[..., Any], *arguments: Any) -> Any:
    """Call NVML. Raises SensorError with the kind that its code asks for."""
    try:
        return call(*arguments)
    except pynvml.NVMLError as error:
        raise sensor_error(action, error) from error


def sensor_error(action: str, error: Any) -> SensorError:
    """An NVML exception as the room's error."""
    return _by_code(action, error.value, str(error))


def _by_code(action: str, code: int, text: str) -> SensorError:
    if code in _FATAL:
        return SensorError(ErrorKind.FATAL, f"cannot {action}: NVML {code} {text}; {_FATAL[code]}", code)
    if code in _STOP:
        return SensorError(ErrorKind.STOP, f"cannot {action}: NVML {code} {text}; {_STOP[code]}", code)
    return SensorError(ErrorKind.RETRY, f"cannot {action}: NVML {code} {text}; it is asked again", code)


def _text(code: int) -> str:
    return str(pynvml.NVMLError(code))
