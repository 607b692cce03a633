"""Trains a small transformer language model with PyTorch; a move loses nothing of its state, to the last bit.

A job that Heliotrope can move. A checkpoint holds the model, the optimiser, the learning-rate schedule, the position in
the data, and the random numbers' state of Python, numpy, PyTorch and CUDA; each of them takes part in every step, so
that ``parameters_digest`` in the result shows which one was forgotten. It is one file because it travels.

    python train_torch.py --steps 20                        (collect_corpus.py wrote corpus.txt beside it)
    python train_torch.py --steps 20 --lora-rank 4          (trains adapters beside frozen weights)

Needs torch; ``--format safetensors`` needs safetensors too.
"""
# Type checkers run where PyTorch is not installed.
# mypy: disable-error-code="import-not-found,misc,no-untyped-call,unused-ignore"

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import json
import os
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

# Before torch is imported: the order of additions depends on the threads, cuBLAS chooses among algorithms without it.
os.environ["OMP_NUM_THREADS"] = os.environ["MKL_NUM_THREADS"] = "1"
os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

import heliotrope.job as heliotrope_job

try:
    import safetensors.torch as safetensors
except ImportError:
    safetensors = None

VOCABULARY = 256  # every byte is a token
NOISE_RATIO = 0.02  # of the input bytes are replaced


@dataclasses.dataclass(frozen=True)
class Settings:
    """What decides the trajectory. A step sees ``batch`` windows of ``context`` bytes per rank."""

    width: int = 128
    layers: int = 2
    heads: int = 4
    context: int = 64
    batch: int = 4
    lora_rank: int = 0  # 0: everything is trained
    steps: int = 200  # the schedule's length
    seed: int = 1
    learning_rate: float = 1e-3


class Adapted(nn.Module):
    """A frozen linear layer and a trained correction of low rank (Hu et al., 2021: LoRA)."""

    def __init__(self, frozen: nn.Linear, rank: int) -> None:
        super().__init__()
        self.frozen = frozen
        self.down = nn.Parameter(torch.randn(rank, frozen.in_features) / frozen.in_features**0.5)
        self.up = nn.Parameter(torch.zeros(frozen.out_features, rank))

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(x) + F.linear(F.linear(x, self.down), self.up)


class Block(nn.Module):
    """Pre-norm attention, then an MLP."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        width, rank = settings.width, settings.lora_rank
        self.heads = settings.heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        sizes = {
            "qkv": (width, 3 * width),
            "mixed": (width, width),
            "up": (width, 4 * width),
            "down": (4 * width, width),
        }
        layers = {name: nn.Linear(*size, bias=False) for name, size in sizes.items()}
        self.linear = nn.ModuleDict({name: Adapted(one, rank) if rank else one for name, one in layers.items()})
        self.dropout = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        split = self.linear["qkv"](self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        scores = query @ key.transpose(-1, -2) * (width // self.heads) ** -0.5
        later = torch.ones(length, length, dtype=torch.bool, device=x.device).triu(1)
        mixed = scores.masked_fill(later, float("-inf")).softmax(-1) @ value
        x = x + self.dropout(self.linear["mixed"](mixed.transpose(1, 2).reshape(batch, length, width)))
        return x + self.dropout(self.linear["down"](F.gelu(self.linear["up"](self.norm2(x)))))


class Model(nn.Module):
    """Bytes in, the next byte's logits out; the head is the embedding, transposed."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, settings.width)
        self.positions = nn.Embedding(settings.context, settings.width)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.width)
        if settings.lora_rank:
            for name, parameter in self.named_parameters():
                parameter.requires_grad_(name.endswith((".down", ".up")))

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return F.linear(self.norm(x), self.embedding.weight) * self.embedding.embedding_dim**-0.5


class Windows(Dataset[Tensor]):
    """Every ``context`` bytes of the text with the byte after them; (context + 1,) int64."""

    def __init__(self, corpus: bytes, context: int) -> None:
        self.corpus, self.context = torch.frombuffer(bytearray(corpus), dtype=torch.uint8), context

    def __len__(self) -> int:
        return (len(self.corpus) - 1) // self.context

    def __getitem__(self, index: int) -> Tensor:
        start = index * self.context
        return self.corpus[start : start + self.context + 1].long()


class Batches:
    """Numbers of the windows of each batch, shuffled anew every epoch, without end, from ``position`` batches on.

    The order follows from the seed and the epoch alone, so a position is all that a checkpoint needs. It counts the
    batches that were trained on: a loader with workers has drawn more of them already.
    """

    def __init__(self, window_count: int, settings: Settings, *, rank: int, ranks: int) -> None:
        self.window_count, self.seed = window_count, settings.seed
        self.batch, self.rank, self.ranks = settings.batch, rank, ranks
        self.per_epoch = window_count // (settings.batch * ranks)
        self.position = 0

    def __iter__(self) -> Iterator[list[int]]:
        position = self.position
        while True:
            epoch, at = divmod(position, self.per_epoch)
            shuffled = torch.randperm(self.window_count, generator=torch.Generator().manual_seed(self.seed + epoch))
            start = (at * self.ranks + self.rank) * self.batch
            yield shuffled[start : start + self.batch].tolist()
            position += 1


class Trainer:
    """Everything that a step changes, and its way into a checkpoint and back."""

    def __init__(
        self, settings: Settings, corpus: bytes, *, device: str = "cpu", workers: int = 0, rank: int = 0, ranks: int = 1
    ) -> None:
        self.settings, self.device, self.workers, self.rank = settings, torch.device(device), workers, rank
        self.fixed = {**dataclasses.asdict(settings), "corpus_sha256": hashlib.sha256(corpus).hexdigest()}
        torch.manual_seed(settings.seed)  # the same weights on every rank
        self.model = Model(settings).to(self.device)
        self.forward: nn.Module = self.model
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimiser = torch.optim.AdamW(trained, settings.learning_rate, (0.9, 0.98), weight_decay=0.05)
        # In its chained form: each rate follows from the one before, so the schedule has a state worth saving.
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, settings.steps)
        self.dataset = Windows(corpus, settings.context)
        self.batches = Batches(len(self.dataset), settings, rank=rank, ranks=ranks)
        if self.batches.per_epoch < 1:
            raise SystemExit(f"cannot start training: the corpus has {len(corpus)} bytes, less than one batch")
        self.loaded: Iterator[Tensor] | None = None
        seed = settings.seed * 1000 + rank  # dropout and noise differ between ranks
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)

    @property
    def steps(self) -> int:
        """Steps done."""
        return self.batches.position

    def step(self, least_s: float = 0.0) -> Tensor:
        """One batch, one update, lasting ``least_s`` or more. Returns the loss before it, in nats per byte."""
        started_s = time.monotonic()
        if self.loaded is None:
            # A generator of its own: otherwise every new iterator, hence every resume, would draw from the global one.
            own = torch.Generator().manual_seed(self.settings.seed)
            loader = DataLoader(self.dataset, batch_sampler=self.batches, num_workers=self.workers, generator=own)
            self.loaded = iter(loader)
        length = random.randint(self.settings.context // 2, self.settings.context)  # a context of varying length
        windows = next(self.loaded)[:, : length + 1]
        noise = torch.from_numpy(np.random.random_sample((windows.shape[0], length)) < NOISE_RATIO)
        inputs = windows[:, :-1].masked_fill(noise, 0).to(self.device)
        logits = self.forward(inputs)
        loss = F.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten().to(self.device))
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimiser.step()
        self.schedule.step()
        self.batches.position += 1
        time.sleep(max(0.0, least_s - (time.monotonic() - started_s)))
        return loss.detach()

    def digest(self) -> str:
        """SHA-256 of all parameters, then of the optimiser's moments."""
        total = hashlib.sha256()
        moments = [held[name] for held in self.optimiser.state.values() for name in ("exp_avg", "exp_avg_sq")]
        for tensor in [*self.model.state_dict().values(), *moments]:
            total.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        return total.hexdigest()

    # -- the checkpoint: what ranks share, what is one rank's own, and frozen weights apart

    def shared_state(self) -> dict[str, Any]:
        """Equal on every rank; without the frozen weights."""
        return {
            "settings": self.fixed,
            "model": self._weights(frozen=False),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def own_state(self) -> dict[str, Any]:
        """This rank's position in the data and random numbers. Lists, not tuples or arrays: any format carries them."""
        version, words, gauss = random.getstate()
        numbers = np.random.get_state(legacy=False)
        numbers = {**numbers, "state": {**numbers["state"], "key": numbers["state"]["key"].tolist()}}
        state = {"python": [version, list(words), gauss], "numpy": numbers, "torch": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(self.device)
        return {"position": self.batches.position, "random": state}

    def save(self, folder: Path, form: str) -> None:
        """Frozen weights have a file of their own with the same bytes each time: it crosses the network once."""
        if self.rank == 0:
            write(folder / "state", self.shared_state(), form)
            if self.settings.lora_rank:
                write(folder / "frozen", self._weights(frozen=True), form)
        write(folder / f"rank-{self.rank}", self.own_state(), form)

    def load(self, folder: Path, form: str) -> None:
        """Go on from ``folder``. Raises SystemExit when it is another run's."""
        shared = read(folder / "state", form)
        frozen = read(folder / "frozen", form) if self.settings.lora_rank else {}
        self.restore(shared, read(folder / f"rank-{self.rank}", form), frozen)

    def restore(self, shared: dict[str, Any], own: dict[str, Any], frozen: dict[str, Any]) -> None:
        for name, value in self.fixed.items():
            if shared["settings"][name] != value:
                raise SystemExit(f"cannot resume: the checkpoint's {name} is {shared['settings'][name]}, not {value}")
        self.model.load_state_dict({**frozen, **shared["model"]})
        self.optimiser.load_state_dict(shared["optimiser"])
        self.schedule.load_state_dict(shared["schedule"])
        self.batches.position, self.loaded = own["position"], None
        version, words, gauss = own["random"]["python"]
        random.setstate((version, tuple(words), gauss))
        np.random.set_state(own["random"]["numpy"])
        torch.set_rng_state(own["random"]["torch"].cpu())
        if "cuda" in own["random"]:
            torch.cuda.set_rng_state(own["random"]["cuda"].cpu(), self.device)

    def _weights(self, *, frozen: bool) -> dict[str, Tensor]:
        trained = {name for name, parameter in self.model.named_parameters() if parameter.requires_grad}
        return {name: value for name, value in self.model.state_dict().items() if (name not in trained) == frozen}


def write(stem: Path, state: dict[str, Any], form: str) -> None:
    """``stem``.pt by torch.save; or ``stem``.safetensors with the tensors and ``stem``.json with the rest."""
    if form == "torch":
        torch.save(state, stem.with_suffix(".pt"))
        return
    tensors: dict[str, Tensor] = {}
    rest = _take_tensors(state, "", tensors)
    safetensors.save_file(tensors, str(stem.with_suffix(".safetensors")))
    stem.with_suffix(".json").write_text(json.dumps(rest))


def read(stem: Path, form: str) -> dict[str, Any]:
    """What :func:`write` wrote; it runs no code that the file could hold."""
    if form == "torch":
        state: dict[str, Any] = torch.load(stem.with_suffix(".pt"), map_location="cpu", weights_only=True)
    else:
        tensors = safetensors.load_file(str(stem.with_suffix(".safetensors")))
        state = _put_tensors(json.loads(stem.with_suffix(".json").read_text()), tensors)
    return state


def _take_tensors(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value.detach().contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {key: _take_tensors(inner, f"{name}.{key}".lstrip("."), tensors) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_take_tensors(inner, f"{name}.{at}", tensors) for at, inner in enumerate(value)]
    return value


def _put_tensors(value: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, dict):
        if list(value) == ["tensor"]:
            return tensors[value["tensor"]]
        # JSON has no numbers as keys; the optimiser's state has no others.
        return {int(key) if key.isdigit() else key: _put_tensors(inner, tensors) for key, inner in value.items()}
    return [_put_tensors(inner, tensors) for inner in value] if isinstance(value, list) else value


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        description="Train a small transformer with PyTorch, bit for bit the same each time."
    )
    for field in dataclasses.fields(Settings):
        made.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), default=field.default)
    made.add_argument("--corpus", type=Path, default=Path(__file__).with_name("corpus.txt"))
    made.add_argument("--result", type=Path, default=Path("result.json"))
    made.add_argument("--format", choices=("torch", "safetensors"), default="torch")
    made.add_argument("--device", default="cpu", help="cpu or cuda")
    made.add_argument("--workers", type=int, default=0, help="processes that load data")
    made.add_argument("--step-s", type=float, default=0.0, help="least duration of a step, to watch a small model")
    made.add_argument("--checkpoint-every", type=int, default=0, metavar="N", help="steps; 0: only on request")
    return made


def prepare(options: argparse.Namespace, *, rank: int = 0, ranks: int = 1) -> Trainer:
    """A trainer at its first step, PyTorch set so that equal input gives equal bits."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    if options.format == "safetensors" and safetensors is None:
        raise SystemExit("cannot use --format safetensors: it is not installed; pip install safetensors")
    names = [field.name for field in dataclasses.fields(Settings)]
    settings = Settings(**{name: getattr(options, name) for name in names})
    corpus = options.corpus.read_bytes()
    return Trainer(settings, corpus, device=options.device, workers=options.workers, rank=rank, ranks=ranks)


def write_result(trainer: Trainer, path: Path, losses: Iterable[float]) -> None:
    """By rename: it is whole or not there."""
    result = {"steps": trainer.steps, "losses": list(losses), "parameters_digest": trainer.digest()}
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(json.dumps(result) + "\n")
    temporary.replace(path)


def main(arguments: list[str] | None = None) -> None:
    options = parser().parse_args(arguments)
    job = heliotrope_job.connect()
    trainer = prepare(options)
    if job.resume_from:
        trainer.load(job.resume_from, options.format)
    loss = torch.zeros(())
    while trainer.steps < options.steps:
        loss = trainer.step(options.step_s)
        job.report(step=trainer.steps, samples=trainer.steps * options.batch, loss=loss)
        if job.checkpoint_due() or (options.checkpoint_every and trainer.steps % options.checkpoint_every == 0):
            with job.checkpoint(step=trainer.steps) as folder:
                trainer.save(folder, options.format)
        job.exit_if_stopped()
    write_result(trainer, options.result, [float(loss)])


if __name__ == "__main__":
    main()
