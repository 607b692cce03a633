"""torchrun, but it leaves with the stopped code when its workers did: its own exit code for them is 1, like a crash.

    python torchrun_job.py --standalone --nproc-per-node 2 train.py ...        (the arguments of torchrun)

Keep ``--max-restarts`` at 0, the default: torchrun restarts workers that stopped, as if they had failed.
"""
# mypy: disable-error-code="import-not-found"

from __future__ import annotations

import os
import signal
import sys

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main

STOPPED_CODE = int(os.environ.get("HELIOTROPE_STOPPED_CODE", "75"))


def stopped(codes: set[int]) -> bool:
    """Whether workers that leave with these codes stopped. The first to go has the others sent SIGTERM."""
    return STOPPED_CODE in codes and codes <= {STOPPED_CODE, -signal.SIGTERM}


if __name__ == "__main__":
    try:
        main()
    except ChildFailedError as error:
        if stopped({failure.exitcode for failure in error.failures.values()}):
            sys.exit(STOPPED_CODE)
        raise
