"""Watches the fleet while the demonstration runs, through restarts of the coordinator, and keeps what it saw."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from datetime import datetime

import grpc
import msgspec
from google.protobuf.duration_pb2 import Duration

from heliotrope.foundation.errors import HeliotropeError
from heliotrope.v1 import operator_pb2 as pb
from heliotrope.v1 import operator_pb2_grpc

from ..client import Operator
from ..connection import Target
from ..messages import record
from .fleet import LocalFleet
from .recording import DecisionSeen, FleetSeen, JobSeen, Sample

PICTURE_INTERVAL_S = 0.1
SAMPLE_INTERVAL_S = 0.25
DECISIONS_INTERVAL_S = 1.0
DECISIONS_SHOWN = 8
RECONNECT_S = 0.2


class Watcher:
    """A thread that follows WatchFleet; ``latest`` and ``decisions`` may be read at any time.

    ``on_picture`` is called in that thread with each picture, and must be quick.
    """

    def __init__(self, fleet: LocalFleet, job_id: str, submitted_utc: datetime) -> None:
        self._fleet = fleet
        self._job_id = job_id
        self._submitted_utc = submitted_utc
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="demo-watch", daemon=True)
        self._decisions_due_s = 0.0
        self.on_picture: list[Callable[[FleetSeen, JobSeen], None]] = []
        self.latest: FleetSeen | None = None
        self.decisions: list[DecisionSeen] = []
        self.samples: list[Sample] = []
        self.error: Exception | None = None

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @property
    def job(self) -> JobSeen | None:
        """The job in the latest picture."""
        return None if self.latest is None else self._find(self.latest)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except grpc.RpcError:
                self._stop.wait(RECONNECT_S)  # the coordinator is away; it comes back or the main thread says why not
            except Exception as error:  # noqa: BLE001 - the main thread raises it
                self.error = error
                return

    def _follow(self) -> None:
        interval = Duration()
        interval.FromMilliseconds(round(PICTURE_INTERVAL_S * 1000))
        with contextlib.ExitStack() as stack:
            # A channel each time: an old one waits longer and longer before it tries a coordinator again.
            channel = stack.enter_context(self._fleet.channel())
            operator = stack.enter_context(Operator(Target(self._fleet.address, self._fleet.operator)))
            stub = operator_pb2_grpc.OperatorServiceStub(channel)
            stream = stub.WatchFleet(pb.WatchFleetRequest(interval=interval))
            stack.callback(stream.cancel)
            for message in stream:
                self._take(msgspec.convert(record(message), FleetSeen))
                self._read_decisions(operator)
                if self._stop.is_set():
                    return

    def _take(self, picture: FleetSeen) -> None:
        self.latest = picture
        job = self._find(picture)
        if job is None:
            return
        self._sample(picture, job)
        for call in self.on_picture:
            call(picture, job)

    def _find(self, picture: FleetSeen) -> JobSeen | None:
        return next((job for job in picture.jobs if job.job_id == self._job_id), None)

    def _sample(self, picture: FleetSeen, job: JobSeen) -> None:
        at_s = (picture.utc - self._submitted_utc).total_seconds()
        last = self.samples[-1] if self.samples else None
        same = last is not None and (last.site, last.state) == (job.site, job.state)
        if last is not None and same and at_s - last.at_s < SAMPLE_INTERVAL_S:
            return
        power_w: dict[str, float] = {}
        for node in picture.nodes:
            if node.connected and node.power_w is not None:
                power_w[node.site] = power_w.get(node.site, 0.0) + node.power_w
        self.samples.append(
            Sample(
                at_s=round(at_s, 3),
                site=job.site,
                state=job.state,
                step=job.progress.step,
                loss=job.progress.loss if job.progress.step else None,
                power_w={site: round(watts, 2) for site, watts in power_w.items()},
                intensity_g_per_kwh={site.name: site.intensity_g_per_kwh for site in picture.sites},
            )
        )

    def _read_decisions(self, operator: Operator) -> None:
        now_s = time.monotonic()
        if now_s < self._decisions_due_s:
            return
        self._decisions_due_s = now_s + DECISIONS_INTERVAL_S
        with contextlib.suppress(HeliotropeError):
            found = operator.decisions(job=self._job_id, limit_count=DECISIONS_SHOWN)
            self.decisions = msgspec.convert(found, list[DecisionSeen])
