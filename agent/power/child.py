"""The sensor process: drivers live here, so that one that hangs or crashes takes nothing else with it.

Started by :mod:`.sensor` as ``python -m heliotrope.agent.power.child``. The first line on standard input are the
settings; it answers with what it found and then with one window per ``flush_s``, each a line of JSON on standard
output. It ends when it is told to ("stop"), when its input closes (the agent is gone), or with a farewell when a
driver is unusable. It imports little: its memory counts as the agent's.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
from pathlib import Path

import msgspec

from .reading import SensorError
from .sampler import Sampler, run
from .source import Source
from .sources.detect import detect
from .sources.fake import open_fake
from .window import Farewell, Hello, SensorMessage, Settings

_LAST_CHANCE_S = 2.0


def main() -> int:
    """0 after a stop or with nothing to measure, 1 after a farewell."""
    settings = msgspec.json.decode(_read_line(), type=Settings)
    stop = threading.Event()
    threading.Thread(target=_listen, args=(stop,), name="commands", daemon=True).start()
    try:
        sources, problems = _open(settings)
        channels = tuple(channel for source in sources for channel in source.channels)
        _send(Hello(channels=channels, problems=tuple(problems)))
        if channels:
            sampler = Sampler(
                sources,
                rate_hz=settings.rate_hz,
                flush_s=settings.flush_s,
                origin_s=settings.origin_s,
                seeds=settings.seeds,
                uses_every=settings.uses_every,
            )
            _sample(sampler, stop)
    except SensorError as error:
        _send(Farewell(reason=str(error)))
        return 1
    except BrokenPipeError:
        return 0  # the agent is gone
    return 0


def _open(settings: Settings) -> tuple[list[Source], list[str]]:
    if settings.fake is None:
        return detect(settings.sources, sys_root=Path(settings.sys_root), monotonic_s=time.monotonic)
    source, problems = open_fake(settings.fake, settings.origin_s, time.monotonic)
    return [source] if source is not None else [], problems


def _read_line() -> bytes:
    """Unbuffered: a thread that waits in a buffered read would spoil the interpreter's exit."""
    line = b""
    while not line.endswith(b"\n") and (data := os.read(0, 1 << 16)):
        line += data
    return line


def _listen(stop: threading.Event) -> None:
    """Wait for a command or the end of the agent; a driver call that hangs must not keep an orphan alive."""
    _read_line()
    stop.set()
    time.sleep(_LAST_CHANCE_S)
    os._exit(0)


def _sample(sampler: Sampler, stop: threading.Event) -> None:
    gc.freeze()  # what is loaded now stays: the collector need not look at it again and again
    try:
        run(sampler, monotonic_s=time.monotonic, wait=stop.wait, emit=_send)
        window = sampler.flush(time.monotonic())
        if window is not None:
            _send(window)
    finally:
        sampler.close()


def _send(message: SensorMessage) -> None:
    rest = memoryview(msgspec.json.encode(message) + b"\n")
    while rest:
        rest = rest[os.write(1, rest) :]


if __name__ == "__main__":
    sys.exit(main())
