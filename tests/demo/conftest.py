"""A demonstration that really ran (4 MB of state, the coordinator killed in its first move), as it was recorded."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from heliotrope.cli.demo.recording import Recording


@pytest.fixture(scope="session")
def recording() -> Recording:
    """Frozen: a test that needs another one replaces fields in a copy."""
    return msgspec.json.decode(Path(__file__).with_name("recording.json").read_bytes(), type=Recording)
