"""Fleets in network namespaces, or the reason why there are none."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from . import network_driver


@pytest.fixture(scope="session")
def namespaces() -> None:
    """Skips where namespaces cannot be made."""
    reason = network_driver.missing()
    if reason:
        pytest.skip(reason)


@pytest.fixture
def folder(namespaces: None) -> Iterator[Path]:
    """A short path: unix sockets live below it."""
    with tempfile.TemporaryDirectory(prefix="ht-", ignore_cleanup_errors=True) as name:
        yield Path(name)
