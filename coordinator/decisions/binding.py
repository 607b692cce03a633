"""The names of what decides about a (job, site) pair, in the order in which they are asked.

The first that fails is the pair's binding constraint; the later in the list, the nearer the pair came to a move.
"""

from __future__ import annotations

from enum import IntEnum


class Binding(IntEnum):
    """``Binding.TIME.label`` is "time"; stored and shown by label, compared by rank."""

    BUSY = 0  # the job is in a state in which nothing is decided for it
    UNMOVABLE = 1  # its policy says it stays
    NO_CHECKPOINT = 2  # nothing that could be moved yet
    HERE = 3  # the site it is at
    FORBIDDEN = 4  # its policy excludes the site
    UNREACHABLE = 5  # no path, or no bandwidth, from its site to this one
    GPU_MODEL = 6  # no node with GPUs of its model
    REFUSED = 7  # such nodes, but each lacks what the job requires or failed at it lately
    CAPACITY = 8  # such nodes, but none free
    UNKNOWN = 9  # the forecast of one of the two sites is unknown
    NO_WINDOW = 10  # no renewable window is open there
    TIME = 11  # the paper's condition fails
    BREAK_EVEN = 12  # the move costs more non-renewable energy than it saves
    HYSTERESIS = 13  # it saves too small a share to be worth a change
    MOVES_LIMIT = 14  # as many moves in the last day as allowed
    DWELL = 15  # moved too recently
    OUTRANKED = 16  # would do, but another site saves more or is preferred
    OK = 17

    @property
    def label(self) -> str:
        return self.name.lower()


LABELS: tuple[str, ...] = tuple(binding.label for binding in Binding)

MEANINGS: dict[Binding, str] = {
    Binding.BUSY: "the job's state allows no decision now",
    Binding.UNMOVABLE: "the job's policy says it does not move",
    Binding.NO_CHECKPOINT: "the job has made no checkpoint yet: nothing could be moved, and its size is unknown",
    Binding.HERE: "the job is there already",
    Binding.FORBIDDEN: "the job's policy excludes the site",
    Binding.UNREACHABLE: "its agents cannot be reached from the job's site",
    Binding.GPU_MODEL: "no node there has GPUs of the job's model",
    Binding.REFUSED: "no node there can take the job now",
    Binding.CAPACITY: "no node there is free",
    Binding.UNKNOWN: "a forecast that the comparison needs is unknown",
    Binding.NO_WINDOW: "no renewable window is open there",
    Binding.TIME: "the move takes too long for the window that is left",
    Binding.BREAK_EVEN: "the move would cost more non-renewable energy than it saves",
    Binding.HYSTERESIS: "the saving is too small a share of the job's energy",
    Binding.MOVES_LIMIT: "the job has moved as often as it may in a day",
    Binding.DWELL: "the job moved too recently",
    Binding.OUTRANKED: "it would do, but another site is better",
    Binding.OK: "nothing stands against it",
}
