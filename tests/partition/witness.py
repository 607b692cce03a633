"""The tiny job, which also writes down each of its steps where every node's run of it can see: when, and which run."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tiny_job  # type: ignore[import-not-found] # it lies beside this file where the job runs

OUT = Path(sys.argv.pop(1))


def witnessed(advance: Callable[[Any], None]) -> Callable[[Any], None]:
    def step(state: Any) -> None:
        advance(state)
        now_s = time.clock_gettime(time.CLOCK_BOOTTIME)
        with OUT.open("a") as file:  # one write of one line: whole, whoever else writes
            file.write(f"{now_s} {os.environ['HELIOTROPE_EPOCH']} {Path.cwd()} {state.step}\n")

    return step


tiny_job.State.advance = witnessed(tiny_job.State.advance)
tiny_job.main(sys.argv[1:])
