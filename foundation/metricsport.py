"""Opens the port for metrics where one is configured, and only then loads what serves it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

from .identity import Identity
from .metrics import Sample
from .metricsconfig import MetricsConfig
from .peer import Peer

_EXPOSITION = "heliotrope.foundation.exposition"


class Port(Protocol):
    """What a daemon starts and stops, in its event loop."""

    @property
    def url(self) -> str: ...

    def start(self) -> None:
        """Raises Unreachable when the address cannot be had."""

    def stop(self) -> None: ...


def open_port(
    config: MetricsConfig,
    folder: Path,
    *,
    identity: Callable[[], Identity],
    admit: Callable[[Peer], None],
    collect: Callable[[], Iterable[Sample]],
    registry: Any = None,
) -> Port | None:
    """None where metrics are off: the library costs a daemon 1.3 MB, so it is loaded by name, and only here.

    Arguments and errors are those of :class:`.exposition.MetricsPort`.
    """
    if not config.listen:
        return None
    module = import_module(_EXPOSITION)
    port = module.MetricsPort(config, folder, identity=identity, admit=admit, collect=collect, registry=registry)
    return cast("Port", port)
