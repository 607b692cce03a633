"""A job of a few milliseconds per step for tests of crashes and moves: integers only, standard library only.

Each step mixes an array of 64-bit words so that every word depends on every step before it: the final digest shows
whether a step was lost, repeated or run on other bytes. It behaves like train_numpy.py towards Heliotrope, unless an
option asks it to misbehave.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import sys
import time
from array import array
from pathlib import Path

import heliotrope.job as heliotrope_job

MASK = (1 << 64) - 1
MULTIPLIER, INCREMENT = 6364136223846793005, 1442695040888963407  # Knuth's MMIX generator


class State:
    """The words, the value carried from word to word, and the number of steps done."""

    def __init__(self, size_kb: int, seed: int, frozen_kb: int = 0, per_step_kb: int = 0, parts: int = 1) -> None:
        self.step, self.carry = 0, seed & MASK
        self._per_step_words, self._parts = per_step_kb * 128, parts
        self.frozen = random.Random(seed).randbytes(frozen_kb * 1024)
        self.words = array("Q", bytes(size_kb * 1024))
        self._mix(range(len(self.words)))

    def advance(self) -> None:
        self.step += 1
        self.carry ^= self.step
        self._mix(self._touched())

    def _touched(self) -> range:
        """All words, or the next few of them, round and round."""
        count, total = self._per_step_words, len(self.words)
        if not 0 < count < total:
            return range(total)
        start = (self.step - 1) * count % total
        return range(start, min(start + count, total))

    def _mix(self, touched: range) -> None:
        carry, words = self.carry, self.words
        for index in touched:
            carry = (carry * MULTIPLIER + words[index] + INCREMENT) & MASK
            words[index] = carry ^ (carry >> 29)
        self.carry = carry

    def digest(self) -> str:
        return hashlib.sha256(self.words.tobytes() + self.carry.to_bytes(8, "little") + self.frozen).hexdigest()

    def save(self, folder: Path) -> None:
        data = self.words.tobytes()
        part_bytes = -(-len(data) // self._parts)
        for part in range(self._parts):
            name = f"state-{part:03}.bin" if self._parts > 1 else "state.bin"
            (folder / name).write_bytes(data[part * part_bytes : (part + 1) * part_bytes])
        (folder / "frozen.bin").write_bytes(self.frozen)
        (folder / "meta.json").write_text(json.dumps({"step": self.step, "carry": self.carry, "digest": self.digest()}))

    def load(self, folder: Path) -> None:
        """Go on from ``folder``. Raises SystemExit when its bytes are not the ones that were saved."""
        meta = json.loads((folder / "meta.json").read_text())
        self.step, self.carry = meta["step"], meta["carry"]
        self.words = array("Q", b"".join(path.read_bytes() for path in sorted(folder.glob("state*.bin"))))
        self.frozen = (folder / "frozen.bin").read_bytes()
        if self.digest() != meta["digest"]:
            raise SystemExit(f"cannot resume from {folder}: its digest does not match; restore it from another copy")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Mix integers step by step; can be moved, and can misbehave.")
    add = parser.add_argument
    add("--steps", type=int, default=100)
    add("--state-kb", type=int, default=256, help="size of the state, in KiB; all of it changes in each step")
    add("--per-step-kb", type=int, default=0, help="how much of the state a step changes, going round, in KiB; 0: all")
    add("--parts", type=int, default=1, help="files that the state is saved in, as tensors are")
    add("--frozen-kb", type=int, default=0, help="size of a part that never changes, in KiB, as the base under a LoRA")
    add("--step-s", type=float, default=0.0, help="least duration of a step")
    add("--seed", type=int, default=1)
    add("--checkpoint-every", type=int, default=0, metavar="N", help="steps; 0: only on request")
    add("--result", type=Path, default=Path("result.json"))
    add("--ignore-requests", action="store_true", help="never answer a request (--checkpoint-every still holds)")
    add("--never-checkpoint", action="store_true", help="write no checkpoint at all")
    add("--finish-on-request", action="store_true", help="asked to stop, run to the end instead, unpaced, and exit 0")
    add("--exit-at", type=int, default=0, metavar="STEP", help="end by --exit-code after this step; 0: never")
    add("--exit-code", type=int, default=1)
    add("--exit-once", action="store_true", help="--exit-at holds only in a run that did not resume")
    options = parser.parse_args(arguments)
    if min(options.steps, options.state_kb, options.parts) < 1:
        parser.error("--steps, --state-kb and --parts must be at least 1")
    return options


def checkpoint_wanted(job: heliotrope_job.Job, state: State, options: argparse.Namespace) -> bool:
    if options.never_checkpoint:
        return False
    asked = not options.ignore_requests and job.checkpoint_due()
    return asked or bool(options.checkpoint_every and state.step % options.checkpoint_every == 0)


def deaf_connection() -> heliotrope_job.Job:
    """Writes checkpoints but does not hear or speak: through the socket any checkpoint answers an open request."""
    os.environ.pop("HELIOTROPE_SOCKET", None)
    return heliotrope_job.connect()


def run(job: heliotrope_job.Job, state: State, options: argparse.Namespace) -> None:
    """Advance to the last step; leaves by SystemExit where Heliotrope or an option says so."""
    writer = deaf_connection() if options.ignore_requests else job
    exit_at = 0 if options.exit_once and job.resume_from else options.exit_at
    pace_s = options.step_s
    while state.step < options.steps:
        started_s = time.monotonic()
        state.advance()
        job.report(step=state.step, samples=state.step)
        if state.step == exit_at:
            sys.exit(options.exit_code)
        if checkpoint_wanted(job, state, options):
            with writer.checkpoint(step=state.step) as folder:
                state.save(folder)
        if not (job.stop_requested and options.finish_on_request):
            job.exit_if_stopped()
        else:
            pace_s = 0.0
        time.sleep(max(0.0, pace_s - (time.monotonic() - started_s)))


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    job = heliotrope_job.connect()
    state = State(options.state_kb, options.seed, options.frozen_kb, options.per_step_kb, options.parts)
    if job.resume_from:
        state.load(job.resume_from)
    run(job, state, options)
    result = {"steps": state.step, "parameters_digest": state.digest()}
    temporary = options.result.with_name(f".{options.result.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result) + "\n")
    temporary.replace(options.result)


if __name__ == "__main__":
    main()
