"""Prints the GPUs that the driver shows as JSON: a program of its own, so that a driver that hangs can be left behind.

``python -m heliotrope.agent.gpu_listing``; exit code 1 with the cause where there is no driver.
"""

from __future__ import annotations

import json
import sys

import pynvml


def listing() -> list[dict[str, object]]:
    """UUID, model and memory of each. Raises NVMLError."""
    pynvml.nvmlInit()
    found: list[dict[str, object]] = []
    for index in range(pynvml.nvmlDeviceGetCount()):
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        uuid, model = pynvml.nvmlDeviceGetUUID(handle), pynvml.nvmlDeviceGetName(handle)
        found.append({"uuid": uuid, "model": model, "memory_bytes": int(memory.total)})
    return found


if __name__ == "__main__":
    try:
        print(json.dumps(listing()))
    except pynvml.NVMLError as error:
        sys.exit(f"NVML: {error}")
