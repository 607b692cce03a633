"""Many agents' sessions in one process: the real protocol over real mutual TLS, with made-up readings.

A command for :mod:`benchmarks.fleet`: it says ``ready`` once all sessions are welcomed, measures when a line comes,
and prints what it saw. What an agent does beside its session (drivers, jobs, disks) is not here.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
from pathlib import Path

import grpc.aio

from heliotrope.foundation import identity, tls
from heliotrope.v1 import fleet_pb2 as pb
from heliotrope.v1 import fleet_pb2_grpc

DEVICE_COUNT = 2  # a GPU and a processor package, each with a job's share and an idle one
CONNECTING_COUNT = 32  # at once: a fleet does not come back in one instant
CONNECT_TIMEOUT_S = 30.0
CONNECT_TRIES = 5


class Agent:
    """One session. ``batch_s`` and ``heartbeat_s``: seconds from sending to the answer, of what is measured."""

    def __init__(self, address: str, folder: Path, name: str, site: str) -> None:
        self.batch_s: list[float] = []
        self.heartbeat_s: list[float] = []
        self._site = site
        self._name = name
        self._stub = fleet_pb2_grpc.FleetServiceStub(tls.grpc_aio_channel(address, identity.load(folder / name)))
        self._sent: dict[tuple[str, int], float] = {}
        self._number = 0
        self.measuring = False

    async def connect(self) -> None:
        """Again after a failure, as agents do: a whole fleet at once is more than a machine may take in at first."""
        for left in reversed(range(CONNECT_TRIES)):
            try:
                await asyncio.wait_for(self._connect(), CONNECT_TIMEOUT_S)
            except (grpc.aio.AioRpcError, TimeoutError):
                if not left:
                    raise
                await asyncio.sleep(random.uniform(0.5, 2.0))
            else:
                return

    async def _connect(self) -> None:
        hello = pb.Hello(site=self._site, spool_id=f"spool-{self._name}", instance_id=self._name)
        hello.versions.protocol.append(1)
        hello.inventory.CopyFrom(pb.Inventory(hostname=self._name, cpu_count=8, memory_bytes=1 << 36, slot_count=1))
        self._call = self._stub.Session()  # dials: not before it is this agent's turn
        await self._call.write(pb.AgentMessage(hello=hello))
        welcome = await self._call.read()
        if welcome is grpc.aio.EOF:
            raise ConnectionError(f"agent {self._name} was refused: {await self._call.details()}")

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        while (message := await self._call.read()) is not grpc.aio.EOF:
            kind = message.WhichOneof("kind")
            if kind == "lease_grant":
                sent_s = self._sent.pop(("heartbeat", message.lease_grant.heartbeat_id), None)
                found = self.heartbeat_s
            elif kind == "acknowledgement":
                sent_s = self._sent.pop(("batch", message.acknowledgement.spool_sequence), None)
                found = self.batch_s
            else:
                continue
            if sent_s is not None and self.measuring:
                found.append(loop.time() - sent_s)
        raise ConnectionError(f"the coordinator ended the session of agent {self._name}")

    async def talk(self, period_s: float) -> None:
        """A heartbeat and a batch each period, at a moment of its own."""
        loop = asyncio.get_running_loop()
        next_s = loop.time() + random.uniform(0, period_s)
        while True:
            await asyncio.sleep(next_s - loop.time())
            next_s += period_s
            self._number += 1
            for kind, message in (("heartbeat", self._heartbeat()), ("batch", self._batch(period_s))):
                self._sent[kind, self._number] = loop.time()
                await self._call.write(message)

    def _heartbeat(self) -> pb.AgentMessage:
        return pb.AgentMessage(
            heartbeat=pb.Heartbeat(heartbeat_id=self._number, power_w=310.0, disk_free_bytes=1 << 40)
        )

    def _batch(self, period_s: float) -> pb.AgentMessage:
        batch = pb.EnergyBatch(spool_id=f"spool-{self._name}", sequence=self._number)
        batch.end.GetCurrentTime()
        batch.start.FromNanoseconds(batch.end.ToNanoseconds() - int(period_s * 1e9))
        for device in range(DEVICE_COUNT):
            energy_j = random.uniform(100, 3000)
            batch.devices.add(
                device=f"GPU-{device}",
                source="nvml",
                energy_j=energy_j,
                min_w=1.0,
                mean_w=2.0,
                max_w=3.0,
                coverage_ratio=1.0,
            )
            for job_id in ("", f"job-{self._name}"):
                batch.shares.add(device=f"GPU-{device}", job_id=job_id, energy_j=energy_j / 2, rule="sm")
        return pb.AgentMessage(energy_batch=batch)


async def run(arguments: argparse.Namespace) -> None:
    agents = [Agent(arguments.address, arguments.folder, name, arguments.site) for name in names(arguments.count)]
    gate = asyncio.Semaphore(CONNECTING_COUNT)

    async def connect(agent: Agent) -> None:
        async with gate:
            await agent.connect()

    await asyncio.gather(*(connect(agent) for agent in agents))
    lives = [asyncio.create_task(life) for agent in agents for life in (agent.listen(), agent.talk(arguments.period_s))]
    measured = asyncio.create_task(_measure(agents, arguments))
    done, _ = await asyncio.wait([measured, *lives], return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()  # a session that ended raises here: then nothing was measured


async def _measure(agents: list[Agent], arguments: argparse.Namespace) -> None:
    await asyncio.sleep(arguments.period_s)  # each has spoken once
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.readline)
    for agent in agents:
        agent.measuring = True
    await asyncio.sleep(arguments.seconds)
    for agent in agents:
        agent.measuring = False
    found: dict[str, list[float]] = {"batch_s": [], "heartbeat_s": []}
    for agent in agents:
        found["batch_s"] += agent.batch_s
        found["heartbeat_s"] += agent.heartbeat_s
    print(json.dumps(found), flush=True)


def names(count: int) -> list[str]:
    return [f"n{number}" for number in range(count)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--folder", type=Path, required=True, help="of the agents' identities, one folder each")
    parser.add_argument("--site", required=True)
    parser.add_argument("--count", type=int, required=True)
    parser.add_argument("--period-s", type=float, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()
