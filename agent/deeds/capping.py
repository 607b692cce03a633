"""Power caps as commands and over time: the keeper's work, in threads, because drivers take theirs."""

from __future__ import annotations

import asyncio
import logging

from heliotrope.foundation.model import CommandResult

from ..orders import CapPower, Command, UncapPower
from ..power.caps.keeper import Keeper, Wanted

log = logging.getLogger("heliotrope.agent.capping")

_AFTER_DEFECT_S = 5.0


class Capping:
    """Follows orders about power limits, and wakes the keeper when a cap is over."""

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._changed = asyncio.Event()

    async def cap(self, command: Command, order: CapPower) -> CommandResult:
        wanted = Wanted(
            cap_id=order.cap_id,
            device=order.device,
            limit_w=order.limit_w,
            lifetime_s=order.lifetime_s,
            operator=order.operator,
            message=order.message,
        )
        caps = await asyncio.to_thread(self._keeper.cap, wanted)
        self._changed.set()
        return CommandResult(command_id=command.command_id, power_caps=caps)

    async def uncap(self, command: Command, order: UncapPower) -> CommandResult:
        cause = f"{order.operator} ended it" + (f": {order.message}" if order.message else "")
        caps = await asyncio.to_thread(self._keeper.release, order.device, cause)
        return CommandResult(command_id=command.command_id, power_caps=caps)

    async def run(self) -> None:
        """For ever: what is over is ended, what failed is tried again."""
        while True:
            wait_s = self._keeper.wait_s()
            try:
                async with asyncio.timeout(wait_s):
                    await self._changed.wait()
            except TimeoutError:
                await self._ensure()
            self._changed.clear()

    async def close(self) -> None:
        """Caps end with their agent."""
        problems = await asyncio.to_thread(self._keeper.restore, "the agent was stopped", goes_on=False)
        for problem in problems:
            log.error("a power limit could not be put back: %s; `heliotrope agent restore-power-limits` tries", problem)

    async def _ensure(self) -> None:
        try:
            await asyncio.to_thread(self._keeper.ensure)
        except Exception:
            log.exception("looking after power caps failed; it is tried again")
            await asyncio.sleep(_AFTER_DEFECT_S)
