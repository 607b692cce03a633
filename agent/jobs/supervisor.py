"""The supervisor's door: ``python -m heliotrope.agent.jobs.supervisor RUN_DIR``, or this file by its path.

By path with ``python -I -S`` it starts in a fraction of the time, since neither site-packages nor their import hooks
are read; then this folder stands as a top-level package named after itself.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

if __name__ == "__main__":
    package = __package__
    if not package:
        here = os.path.dirname(os.path.abspath(__file__))
        sys.path = [entry for entry in sys.path if os.path.abspath(entry) != here]
        sys.path.append(os.path.dirname(here))  # last: nothing there may stand for a standard module
        package = os.path.basename(here)
    sys.exit(import_module(package + ".supervision").main(sys.argv[1:]))
