"""Trains a small transformer language model on the bytes of a text, with numpy alone, for real and bit for bit.

A job that Heliotrope can move. The same settings, text and processor give the same parameters, wherever and however
often it was interrupted; `parameters_digest` in the result proves it. It is one file because it travels.

    python train_numpy.py --steps 20                        (collect_corpus.py wrote corpus.txt beside it)

Without Heliotrope, but with the module heliotrope.job, checkpoints go to HELIOTROPE_CHECKPOINT_DIR ("checkpoints"), and
HELIOTROPE_RESUME_FROM names the one to go on from. Without the module it trains, and writes none.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The order of additions inside a matrix product depends on the number of threads: one, or no two runs are equal.
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"

import numpy as np
import numpy.typing as npt

try:
    import heliotrope.job as heliotrope_job
except ImportError:
    heliotrope_job = None  # type: ignore[assignment]

Array = npt.NDArray[Any]
Back = Callable[[Array], Array]  # the gradient of the result -> the gradient of the input, storing the weights' own
VOCABULARY, HEAD_WIDTH = 256, 32  # every byte is a token
BETA1, BETA2, EPSILON, WEIGHT_DECAY, WARMUP_STEPS = 0.9, 0.98, 1e-8, 0.05, 20
NOT_SEEN = -1e9  # added to the score of a later position: its weight becomes exactly 0


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the trajectory. ``width`` is a multiple of 32; a step sees ``batch`` x ``context`` bytes."""

    width: int
    layers: int
    context: int = 128
    batch: int = 4
    seed: int = 1
    learning_rate: float = 1e-3


def tensor_shapes(width: int, layers: int, context: int) -> dict[str, tuple[int, ...]]:
    """Every parameter tensor by name: all matrices, then all vectors (which do not decay)."""
    matrices = {"embedding": (VOCABULARY, width), "positions": (context, width)}
    norms = {"norm.gain": (width,), "norm.bias": (width,)}
    for at in (f"block{layer}" for layer in range(layers)):
        matrices |= {f"{at}.qkv": (width, 3 * width), f"{at}.attended": (width, width)}
        matrices |= {f"{at}.up": (width, 4 * width), f"{at}.down": (4 * width, width)}
        norms |= {f"{at}.{norm}.{kind}": (width,) for norm in ("norm1", "norm2") for kind in ("gain", "bias")}
    return {**matrices, **norms}


def choose_size(state_mb: float, context: int) -> tuple[int, int]:
    """(width, layers) whose fp32 weights and two moments, 12 bytes per parameter, come close to ``state_mb`` MB.

    Of those within 3 % the one nearest to 96 units of width per layer, a usual proportion.
    """
    best = (math.inf, math.inf, 0, 0)
    for width in range(HEAD_WIDTH, 2049, HEAD_WIDTH):
        for layers in range(max(1, width // 256), width // 8 + 1):
            # The sum over tensor_shapes(), in closed form: building the shapes of all candidates would take a second.
            size_mb = 12e-6 * width * (VOCABULARY + context + 2 + layers * (12 * width + 4))
            error = max(abs(size_mb / state_mb - 1), 0.03)
            best = min(best, (error, abs(math.log(width / layers / 96)), width, layers))
    if best[0] > 0.25:
        raise SystemExit(f"cannot fit a model into --state-mb {state_mb:g}: no size is near it; try 2 to 5000")
    return best[2], best[3]


class Tensors(dict[str, Array]):
    """Named views into one flat array: the model works on the views, optimiser and checkpoint on the whole."""

    def __init__(self, shapes: dict[str, tuple[int, ...]], dtype: npt.DTypeLike) -> None:
        self.flat: Array = np.zeros(sum(map(math.prod, shapes.values())), dtype)
        start = 0
        for name, shape in shapes.items():
            start, first = start + math.prod(shape), start
            self[name] = self.flat[first:start].reshape(shape)


def normalise(x: Array, w: Tensors, d: Tensors, at: str) -> tuple[Array, Back]:
    """Layer norm over the last axis."""
    scaled = x - x.mean(-1, keepdims=True)
    inverse = 1 / np.sqrt(np.square(scaled).mean(-1, keepdims=True) + 1e-5)
    scaled *= inverse

    def back(dy: Array) -> Array:
        np.sum(dy * scaled, axis=0, out=d[at + ".gain"])
        np.sum(dy, axis=0, out=d[at + ".bias"])
        dx = dy * w[at + ".gain"]
        dx -= dx.mean(-1, keepdims=True) + scaled * (dx * scaled).mean(-1, keepdims=True)
        dx *= inverse
        return dx

    return scaled * w[at + ".gain"] + w[at + ".bias"], back


def split_heads(x: Array, batch: int, parts: int) -> Array:
    """View (tokens, parts x width) as (parts, batch, head, position, 32)."""
    return x.reshape(batch, -1, parts, x.shape[1] // parts // HEAD_WIDTH, HEAD_WIDTH).transpose(2, 0, 3, 1, 4)


def attend(qkv: Array, batch: int, later: Array) -> tuple[Array, Back]:
    """Causal attention of (tokens, 3 x width); ``later`` is NOT_SEEN above the diagonal, else 0."""
    query, key, value = split_heads(qkv, batch, 3)
    weights: Array = query @ key.swapaxes(-1, -2)
    weights *= HEAD_WIDTH**-0.5
    weights += later
    weights -= weights.max(-1, keepdims=True)
    np.exp(weights, out=weights)
    weights /= weights.sum(-1, keepdims=True)

    def back(dy: Array) -> Array:
        dqkv = np.empty_like(qkv)
        dquery, dkey, dvalue = split_heads(dqkv, batch, 3)
        (dy,) = split_heads(dy, batch, 1)
        np.matmul(weights.swapaxes(-1, -2), dy, out=dvalue)
        dweights = dy @ value.swapaxes(-1, -2)
        dweights -= (dweights * weights).sum(-1, keepdims=True)
        dweights *= weights
        dweights *= HEAD_WIDTH**-0.5
        np.matmul(dweights, key, out=dquery)
        np.matmul(dweights.swapaxes(-1, -2), query, out=dkey)
        return dqkv

    return (weights @ value).transpose(0, 2, 1, 3).reshape(len(qkv), -1), back


def cross_entropy(logits: Array, targets: Array) -> tuple[float, Array]:
    """Mean of -log softmax at the targets, and its gradient in the logits (whose array it takes over)."""
    rows = np.arange(len(targets))
    logits -= logits.max(-1, keepdims=True)
    chosen = logits[rows, targets]
    np.exp(logits, out=logits)
    total = logits.sum(-1)
    loss = float((np.log(total) - chosen).mean())
    logits /= total[:, None]
    logits[rows, targets] -= 1
    logits /= len(targets)
    return loss, logits


class Model:
    """A decoder of pre-norm blocks (attention, then an MLP with squared ReLU); the head is the embedding, transposed.

    Tokens are rows: every activation is (batch x context, units). Each step forward returns its own step back.
    """

    def __init__(self, settings: Settings, dtype: npt.DTypeLike = np.float32) -> None:
        width, context = settings.width, settings.context
        self.blocks = [f"block{layer}" for layer in range(settings.layers)]
        self.shapes = tensor_shapes(width, settings.layers, context)
        self.weights, self.gradient = Tensors(self.shapes, dtype), Tensors(self.shapes, dtype)
        self.decayed_count = sum(tensor.size for tensor in self.weights.values() if tensor.ndim == 2)
        self.later = np.triu(np.full((context, context), NOT_SEEN, dtype), 1)
        # Per multiplying weight 2 operations forward and 4 backward. Positions only add; attention's two products, of
        # which the causal half counts, are as many again in each layer.
        self.flop_per_token = 6 * (self.decayed_count + (settings.layers - 1) * context * width)

    def initialise(self, random: np.random.Generator) -> None:
        for name, tensor in self.weights.items():
            if tensor.ndim == 2:
                added_count = 2 * len(self.blocks) if name.endswith((".attended", ".down")) else 1  # into one stream
                scale = 0.02 / math.sqrt(added_count)
                np.multiply(random.standard_normal(tensor.shape, np.float32), scale, out=tensor)
            elif name.endswith("gain"):
                tensor.fill(1)

    def loss_and_gradient(self, inputs: Array, targets: Array) -> float:
        """Mean loss (nats per byte) of ``targets`` given ``inputs``, both (batch, context); fills ``gradient``."""
        w, d, batch = self.weights, self.gradient, len(inputs)
        x = (w["embedding"][inputs] + w["positions"]).reshape(inputs.size, -1)
        backs = []
        for at in self.blocks:
            x, back = self._block(at, x, batch)
            backs.append(back)
        last, norm_back = normalise(x, w, d, "norm")
        loss, dlogits = cross_entropy(last @ w["embedding"].T, targets.reshape(-1))
        dx = norm_back(dlogits @ w["embedding"])
        while backs:
            dx = backs.pop()(dx)
        np.matmul(dlogits.T, last, out=d["embedding"])
        chosen = (inputs.reshape(-1, 1) == np.arange(VOCABULARY)).astype(x.dtype)
        d["embedding"] += chosen.T @ dx
        np.sum(dx.reshape(batch, -1, x.shape[1]), axis=0, out=d["positions"])
        return loss

    def _block(self, at: str, x: Array, batch: int) -> tuple[Array, Back]:
        w, d = self.weights, self.gradient
        first, first_back = normalise(x, w, d, at + ".norm1")
        attended, attend_back = attend(first @ w[at + ".qkv"], batch, self.later)
        x = x + attended @ w[at + ".attended"]
        second, second_back = normalise(x, w, d, at + ".norm2")
        hidden = second @ w[at + ".up"]
        np.maximum(hidden, 0, out=hidden)
        squared = np.square(hidden)
        x += squared @ w[at + ".down"]

        def back(dx: Array) -> Array:
            np.matmul(squared.T, dx, out=d[at + ".down"])
            dhidden = dx @ w[at + ".down"].T
            dhidden *= hidden
            dhidden *= 2
            np.matmul(second.T, dhidden, out=d[at + ".up"])
            dx = dx + second_back(dhidden @ w[at + ".up"].T)
            np.matmul(attended.T, dx, out=d[at + ".attended"])
            dqkv = attend_back(dx @ w[at + ".attended"].T)
            np.matmul(first.T, dqkv, out=d[at + ".qkv"])
            dx += first_back(dqkv @ w[at + ".qkv"].T)
            return dx

        return x, back


class AdamW:
    """AdamW (Loshchilov and Hutter, 2019, algorithm 2) in place, block by block so that a block stays in the cache."""

    BLOCK = 1 << 15  # elements: four arrays and two temporaries of 128 KiB each

    def __init__(self, model: Model) -> None:
        self.model, dtype = model, model.weights.flat.dtype
        self.m, self.v = Tensors(model.shapes, dtype), Tensors(model.shapes, dtype)
        self._a, self._b = np.empty(self.BLOCK, dtype), np.empty(self.BLOCK, dtype)

    def update(self, step: int, rate: float) -> None:
        """Apply the model's gradient as step number ``step``, counted from 1, with learning rate ``rate``."""
        arrays = [tensors.flat for tensors in (self.model.weights, self.model.gradient, self.m, self.v)]
        for start in range(0, arrays[0].size, self.BLOCK):
            w, g, m, v = (array[start : start + self.BLOCK] for array in arrays)
            a, b = self._a[: w.size], self._b[: w.size]
            np.multiply(g, 1 - BETA1, out=a)
            m *= BETA1
            m += a
            np.square(g, out=a)
            a *= 1 - BETA2
            v *= BETA2
            v += a
            np.sqrt(v, out=a)
            a *= 1 / math.sqrt(1 - BETA2**step)
            a += EPSILON
            np.divide(m, a, out=b)
            b *= rate / (1 - BETA1**step)
            w[: max(0, self.model.decayed_count - start)] *= 1 - rate * WEIGHT_DECAY
            w -= b


class Trainer:
    """Everything that a step changes, and its way into a checkpoint and back."""

    def __init__(self, settings: Settings, corpus: bytes) -> None:
        if len(corpus) < 2 * (settings.context + 1):
            raise ValueError(f"the corpus has {len(corpus)} bytes, less than two windows of {settings.context} and 1")
        self.settings, self.corpus = settings, np.frombuffer(corpus, np.uint8)
        self.fixed = {**dataclasses.asdict(settings), "corpus_sha256": hashlib.sha256(corpus).hexdigest()}
        self.random = np.random.Generator(np.random.PCG64(settings.seed))
        self.model = Model(settings)
        self.model.initialise(self.random)
        self.optimiser = AdamW(self.model)
        self.state = {"weights": self.model.weights, "adam_m": self.optimiser.m, "adam_v": self.optimiser.v}
        self.steps, self.position = 0, 0  # steps done; bytes that every lane of the batch has read
        self.losses: dict[str, float] = {}  # by step: the first, every tenth, and "last"

    def step(self) -> float:
        """One batch, one update. Returns the loss before it, in nats per byte."""
        windows = self._windows()
        loss = self.model.loss_and_gradient(windows[:, :-1], windows[:, 1:])
        self.steps += 1
        self.optimiser.update(self.steps, self.settings.learning_rate * min(1.0, self.steps / WARMUP_STEPS))
        if self.steps == 1 or self.steps % 10 == 0:
            self.losses[str(self.steps)] = loss
        self.losses["last"] = loss
        return loss

    def _windows(self) -> Array:
        """The next (batch, context + 1) bytes: evenly spaced lanes through the text, each shifted a little."""
        batch, context = self.settings.batch, self.settings.context
        starts = np.arange(batch) * (self.corpus.size // batch) + self.position
        starts += self.random.integers(0, context, batch)
        self.position += context
        windows: Array = self.corpus[(starts % (self.corpus.size - context))[:, None] + np.arange(context + 1)]
        return windows

    def digest(self) -> str:
        """SHA-256 of all weights, then all first, then all second moments."""
        total = hashlib.sha256()
        for tensors in self.state.values():
            total.update(tensors.flat.data)
        return total.hexdigest()

    def save(self, folder: Path) -> None:
        with (folder / "state.safetensors").open("wb") as file:
            file.writelines([safetensors_header(self.state), *(tensors.flat.data for tensors in self.state.values())])
        meta = {"step": self.steps, "position": self.position, "losses": self.losses, "settings": self.fixed}
        meta["random"] = self.random.bit_generator.state
        (folder / "meta.json").write_text(json.dumps(meta, indent=1))

    def load(self, folder: Path) -> None:
        """Go on from ``folder``. Raises OSError, ValueError or KeyError when it is incomplete or another run's."""
        meta = json.loads((folder / "meta.json").read_text())
        for name, value in self.fixed.items():
            if meta["settings"][name] != value:
                raise ValueError(f"{folder} is another run's: its {name} is {meta['settings'][name]}, not {value}")
        header, path = safetensors_header(self.state), folder / "state.safetensors"
        size_bytes = len(header) + sum(tensors.flat.nbytes for tensors in self.state.values())
        with path.open("rb") as file:
            if file.read(len(header)) != header or path.stat().st_size != size_bytes:
                raise ValueError(f"{path} is cut short, or holds other tensors than its meta.json says")
            for tensors in self.state.values():
                file.readinto(tensors.flat.data.cast("B"))
        self.random.bit_generator.state = meta["random"]
        self.steps, self.position, self.losses = meta["step"], meta["position"], meta["losses"]


def safetensors_header(state: dict[str, Tensors]) -> bytes:
    """What precedes the data in the safetensors layout: the JSON's length (u64, little endian) and the JSON."""
    entries: dict[str, Any] = {}
    stop = 0
    for group, tensors in state.items():
        for name, tensor in tensors.items():
            start, stop = stop, stop + tensor.nbytes
            entries[f"{group}.{name}"] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": [start, stop]}
    text = json.dumps(entries).encode()
    text += b" " * (-(8 + len(text)) % 64)  # spaces may follow; the data starts aligned
    return len(text).to_bytes(8, "little") + text


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small transformer on a text, bit for bit the same each time.")
    add = parser.add_argument
    add("--steps", type=int, default=200, help="train up to this step")
    add("--state-mb", type=float, default=100.0, help="weights and both moments, in MB (10^6 bytes)")
    add("--batch", type=int, default=4, help="windows per step")
    add("--context", type=int, default=128, help="bytes per window")
    add("--seed", type=int, default=1)
    add("--learning-rate", type=float, default=1e-3)
    add("--corpus", type=Path, default=Path(__file__).with_name("corpus.txt"), help="made by collect_corpus.py")
    add("--result", type=Path, default=Path("result.json"))
    add("--checkpoint-every", type=int, default=0, metavar="N", help="steps; 0: only on request")
    options = parser.parse_args(arguments)
    if min(options.steps, options.batch, options.context) < 1 or options.seed < 0 or not options.state_mb > 0:
        parser.error("--steps, --batch, --context and --state-mb must be more than 0, --seed not negative")
    if options.checkpoint_every and heliotrope_job is None:
        parser.error("--checkpoint-every needs the module heliotrope.job; install heliotrope or name it in PYTHONPATH")
    return options


def prepare(options: argparse.Namespace, resume_from: Path | None) -> Trainer:
    """The trainer at its first step, or where ``resume_from`` left it. Raises SystemExit naming what is wrong."""
    width, layers = choose_size(options.state_mb, options.context)
    settings = Settings(width, layers, options.context, options.batch, options.seed, options.learning_rate)
    try:
        trainer = Trainer(settings, options.corpus.read_bytes())
        if resume_from:
            trainer.load(resume_from)
    except (OSError, ValueError, KeyError) as error:
        hint = "collect_corpus.py makes the corpus, HELIOTROPE_RESUME_FROM names a checkpoint of the same run"
        raise SystemExit(f"cannot start training: {error}; {hint}") from error
    state_mb = trainer.model.weights.flat.size * 12e-6
    print(f"{layers} layers of width {width}, {state_mb:.1f} MB of state, {trainer.steps} steps done", flush=True)
    return trainer


def main(arguments: list[str] | None = None) -> None:
    options = parse(arguments)
    job = heliotrope_job.connect() if heliotrope_job is not None else None
    trainer = prepare(options, job.resume_from if job is not None else None)
    while trainer.steps < options.steps:
        started_s = time.perf_counter()
        loss = trainer.step()
        print(f"step {trainer.steps} loss {loss:.4f} {time.perf_counter() - started_s:.3f} s", flush=True)
        if job is not None:
            tokens = trainer.steps * options.batch * options.context
            job.report(step=trainer.steps, tokens=tokens, loss=loss, flops=tokens * trainer.model.flop_per_token)
            if job.checkpoint_due() or (options.checkpoint_every and trainer.steps % options.checkpoint_every == 0):
                with job.checkpoint(step=trainer.steps) as folder:
                    trainer.save(folder)
            job.exit_if_stopped()
    result = {"steps": trainer.steps, "final_loss": trainer.losses.pop("last"), "losses": trainer.losses}
    result |= {"parameters_digest": trainer.digest(), "settings": trainer.fixed}
    temporary = options.result.with_name(f".{options.result.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result, indent=1) + "\n")
    temporary.replace(options.result)


if __name__ == "__main__":
    main()
