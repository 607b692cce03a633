"""Power and energy of this node, by device and by job: the one thing of this room that the agent holds.

One thread: it listens to the sensor process, samples the declared model where that stands in, scans the process table,
and hands a closed batch to the sink every ``batch_s``. Drivers are never called here.
"""

from __future__ import annotations

import logging
import math
import os
import selectors
import threading
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path

from heliotrope.foundation.clock import Clock, boot_id

from . import fake_scenario
from .batch import CurrentPower, EnergyBatch
from .books import Books, ClosedBatch
from .config import ModelConfig, PowerConfig
from .reading import Channel
from .release import DriverRelease
from .sampler import Sampler
from .sensor import COMMAND, Sensor
from .sources.model import ModelSource, host_busy_s
from .sources.overlap import covers_host
from .tree_meter import TreeMeter
from .window import Settings

log = logging.getLogger(__name__)

NOTE_PERIOD_S = 1.0
RELEASED = "the drivers are released"

Roots = Callable[[], Mapping[str, Sequence[int]]]
Holders = Callable[[], Mapping[str, Sequence[str]]]


class PowerMonitor:
    """``roots``: job -> the pids that start its process tree; ``holders``: GPU UUID -> the jobs it was given to.

    ``release`` says when the drivers are to be closed for somebody's upgrade.
    ``sink`` gets every batch on the monitor's own thread; what it raises is logged and that batch is lost to it.
    ``proc_root`` and ``sensor_command`` differ from the machine's only in tests.
    """

    def __init__(
        self,
        config: PowerConfig,
        roots: Roots,
        clock: Clock,
        sink: Callable[[EnergyBatch], None],
        *,
        holders: Holders = dict,
        release: DriverRelease | None = None,
        proc_root: Path = Path("/proc"),
        sensor_command: tuple[str, ...] = COMMAND,
    ) -> None:
        self._config = config
        self._clock = clock
        self._sink = sink
        self._sensor_command = sensor_command
        self._flush_s = config.batch_s / max(1, round(config.batch_s))
        self._is_tree = config.model is not None and config.model.scope == "tree"
        self._meter = TreeMeter(roots, proc_root, counts_host=not self._is_tree)
        self._origin_s = 0.0
        self._books = Books(config, holders, self._meter.owner)
        self._sensor: Sensor | None = None
        self._model: Sampler | None = None
        self._model_channels: tuple[Channel, ...] = ()
        self._scanned_s = 0.0
        self._is_released = False
        self._retaken_s = -math.inf
        self._release = release
        self._note_read_s = -math.inf
        self._is_noted = False
        self._lock = threading.Lock()
        self._current = CurrentPower()
        self._current_s = 0.0
        self._stop = threading.Event()
        self._wake_read, self._wake_write = -1, -1
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin measuring. Raises RuntimeError when it was started before."""
        if self._thread is not None:
            raise RuntimeError("cannot start the power monitor: it was started before; make a new one")
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._run, name="power", daemon=True)
        self._thread.start()

    def stop(self, wait_s: float = 10.0) -> None:
        """End the sensor, hand out the last, shorter batch, and return. May be called twice."""
        if self._thread is None or self._stop.is_set():
            return
        self._stop.set()
        os.write(self._wake_write, b"x")
        self._thread.join(wait_s)

    def current(self) -> CurrentPower:
        """The latest watts, for heartbeats; empty when nothing live is known."""
        with self._lock:
            is_old = self._clock.monotonic_s() - self._current_s > self.reading_limit_s
            return CurrentPower() if is_old else self._current

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps sensors from working, as texts for a person (``doctor`` shows them)."""
        sensor = self._sensor
        found = sensor.problems if sensor else ()
        down = (sensor.down_reason,) if sensor and sensor.down_reason else ()
        nothing = () if self._books.channels else ("nothing measures this node; declare power.model.idle_w and max_w",)
        return found + down + nothing

    @property
    def sensor_restart_count(self) -> int:
        """How often the sensor process failed and was started anew."""
        return self._sensor.restart_count if self._sensor else 0

    @property
    def channels(self) -> tuple[Channel, ...]:
        """The meters in use."""
        return tuple(self._books.channels.values())

    @property
    def taken_s(self) -> dict[str, float]:
        """Device -> when its newest live reading was taken (CLOCK_MONOTONIC); absent while there was none."""
        return self._books.taken_s

    @property
    def reading_limit_s(self) -> float:
        """A device whose newest reading is older than this counts as silent."""
        return 3 * self._flush_s + self._config.hang_s

    def _run(self) -> None:
        try:
            self._begin()
            while not self._stop.is_set():
                self._turn()
            self._finish()
        except Exception:
            log.exception("the power monitor ended; energy is not measured until the agent is restarted")
        finally:
            if self._sensor is not None:
                self._sensor.stop()

    def _begin(self) -> None:
        self._origin_s = self._scanned_s = now_s = self._clock.monotonic_s()
        self._books.begin(now_s)
        self._meter.scan(now_s)
        if self._config.model is not None and self._config.may_model:
            self._model = self._make_model(self._config.model)
            self._model.tick(now_s)
        hardware = self._config.hardware
        if hardware:
            settings = Settings(
                rate_hz=self._config.rate_hz,
                flush_s=self._flush_s,
                origin_s=self._origin_s,
                sources=hardware,
                sys_root=self._config.sys_root,
                fake=fake_scenario.load(self._config.fake) if self._config.fake else None,
                uses_every=_uses_every(round(self._config.batch_s / self._flush_s)),
            )
            self._sensor = Sensor(settings, hang_s=self._config.hang_s, command=self._sensor_command)
            self._switch(now_s)
            if not self._is_released:
                self._sensor.start(now_s)

    def _turn(self) -> None:
        """Wait for whatever comes first, then bring everything up to now."""
        self._wait()
        now_s = self._clock.monotonic_s()
        self._switch(now_s)
        if self._sensor is not None:
            for window in self._sensor.poll(now_s):
                self._books.add(window)
        self._take_channels()
        if self._meter.is_due(now_s) or self._books.is_over(now_s):
            self._scan(now_s)
        down_reason = self._sensor.down_reason if self._sensor else ""
        # Batches are closed some time after their end: then the drivers may have been taken again.
        is_just_retaken = now_s - self._retaken_s < 2 * self._config.batch_s
        for batch in self._books.closable(now_s, down_reason, RELEASED if is_just_retaken else ""):
            self._hand_out(batch)

    def _scan(self, now_s: float) -> None:
        used_s = self._meter.scan(now_s)
        if self._model is not None and (window := self._model.tick(now_s)) is not None:
            self._books.add(window)
        self._books.add_cpu(now_s, self._scanned_s, used_s, self._meter.jobs, self._meter.grouped)
        self._scanned_s = now_s
        current = self._books.current(now_s, 3 * self._flush_s)
        with self._lock:
            self._current, self._current_s = current, now_s

    def _wait(self) -> None:
        now_s = self._clock.monotonic_s()
        timeout_s = min(self._meter.wait_s(now_s), self._books.wait_s(now_s))
        descriptor = None
        if self._sensor is not None:
            timeout_s = min(timeout_s, self._sensor.wake_s(now_s))
            descriptor = self._sensor.fileno()
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake_read, selectors.EVENT_READ)
            if descriptor is not None:
                selector.register(descriptor, selectors.EVENT_READ)
            for key, _ in selector.select(max(0.0, timeout_s)):
                if key.fd == self._wake_read:
                    os.read(self._wake_read, 64)

    def _switch(self, now_s: float) -> None:
        if self._sensor is None:
            return
        wanted = self._has_note(now_s)
        if wanted == self._is_released:
            if wanted and self._release is not None and self._sensor.fileno() is None:
                self._release.answer()
            return
        self._is_released = wanted
        if self._is_released:
            for window in self._sensor.stop():
                self._books.add(window)
            self._sensor.down_reason = RELEASED
        else:
            self._sensor.down_reason = ""
            self._retaken_s = now_s
            self._sensor.start(now_s)

    def _has_note(self, now_s: float) -> bool:
        """Whether somebody on this machine wants the drivers released (:mod:`.release`); looked up once a second."""
        if self._release is not None and now_s - self._note_read_s >= NOTE_PERIOD_S:
            self._note_read_s = now_s
            self._is_noted = self._release.left_s() > 0
        return self._is_noted

    def _take_channels(self) -> None:
        """What the sensor has found. The model, which runs from the start, goes when something measures the host."""
        sensor = self._sensor
        if sensor is not None and not sensor.has_answered and not self._is_released:
            return
        measured = sensor.channels if sensor else ()
        self._meter.counts_host = not self._is_tree or covers_host(measured)
        if self._config.sources == "auto" and covers_host(measured):
            self._model = None
        model = self._model_channels if self._model else ()
        self._books.set_channels((*measured, *model))

    def _make_model(self, declared: ModelConfig) -> Sampler:
        source = ModelSource(
            declared,
            busy_s=host_busy_s if declared.scope == "host" else self._meter.busy_s,
            cpu_count=os.cpu_count() or 1,
            monotonic_s=self._clock.monotonic_s,
        )
        self._model_channels = tuple(source.channels)
        return Sampler([source], rate_hz=1.0, flush_s=self._flush_s, origin_s=self._origin_s)

    def _finish(self) -> None:
        now_s = self._clock.monotonic_s()
        if self._sensor is not None:
            for window in self._sensor.stop():
                self._books.add(window)
        self._scan(now_s)
        last = self._model.flush(now_s) if self._model is not None else None
        if last is not None:
            self._books.add(last)
        for batch in self._books.finish(now_s, RELEASED if self._is_released else ""):
            self._hand_out(batch)

    def _hand_out(self, closed: ClosedBatch) -> None:
        """Put the batch on UTC by what the clocks say now: the span itself was measured on the monotonic one."""
        now_s, now_utc, now_boot_s = self._clock.monotonic_s(), self._clock.utc(), self._clock.boottime_s()
        batch = EnergyBatch(
            boot_id=boot_id(),
            start_utc=now_utc - timedelta(seconds=now_s - closed.start_s),
            end_utc=now_utc - timedelta(seconds=now_s - closed.end_s),
            start_boottime_s=now_boot_s - (now_s - closed.start_s),
            devices=closed.devices,
            shares=closed.shares,
        )
        if not batch.devices:
            return
        try:
            self._sink(batch)
        except Exception:
            log.exception("cannot hand out a batch of energy; it is lost")


def _uses_every(windows_per_batch: int) -> int:
    """How many windows one list of processes stands for: as many as fit into a batch without a rest, at most five."""
    return max(count for count in range(1, 6) if windows_per_batch % count == 0)
