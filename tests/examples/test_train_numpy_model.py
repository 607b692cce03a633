"""The transformer of examples/train_numpy.py: its gradients, its causality, its sizes, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from heliotrope.examples import collect_corpus
from heliotrope.examples import train_numpy as program

SETTINGS = program.Settings(width=64, layers=2, context=9, batch=3)
NAMES = tuple(program.tensor_shapes(SETTINGS.width, SETTINGS.layers, SETTINGS.context))


def double_model() -> tuple[program.Model, program.Array, program.Array]:
    """A model in float64 with weights large enough that every term of the gradient counts, and a batch."""
    random = np.random.default_rng(7)
    model = program.Model(SETTINGS, np.float64)
    for name, tensor in model.weights.items():
        tensor[...] = random.normal(1.0 if name.endswith("gain") else 0.0, 0.3, tensor.shape)
    batch = random.integers(0, 256, (SETTINGS.batch, SETTINGS.context + 1))
    return model, batch[:, :-1], batch[:, 1:]


@pytest.mark.parametrize("name", NAMES)
def test_gradient_equals_finite_differences(name: str) -> None:
    model, inputs, targets = double_model()
    model.loss_and_gradient(inputs, targets)
    gradient, weights = model.gradient[name].copy(), model.weights[name]
    start, random, width = weights.copy(), np.random.default_rng(8), 1e-5
    for _ in range(3):  # along a random direction every element of the tensor takes part
        direction = random.normal(size=weights.shape)
        weights[...] = start + width * direction
        above = model.loss_and_gradient(inputs, targets)
        weights[...] = start - width * direction
        below = model.loss_and_gradient(inputs, targets)
        assert (above - below) / (2 * width) == pytest.approx(float((gradient * direction).sum()), rel=1e-5, abs=1e-8)


def test_attention_does_not_see_later_positions() -> None:
    random = np.random.default_rng(9)
    qkv = random.normal(size=(2 * 8, 3 * 64)).astype(np.float32)
    later = np.triu(np.full((8, 8), program.NOT_SEEN, np.float32), 1)
    before, _ = program.attend(qkv, 2, later)
    changed = qkv.copy()
    changed[5:8] += 1  # positions 5 to 7 of the first of two windows
    after, _ = program.attend(changed, 2, later)
    assert np.array_equal(before[:5], after[:5])
    assert np.array_equal(before[8:], after[8:])
    assert not np.array_equal(before[5:8], after[5:8])


def test_adamw_equals_the_published_algorithm() -> None:
    settings = program.Settings(width=64, layers=1, context=16)  # more than one block, the last one not full
    model = program.Model(settings, np.float64)
    model.initialise(np.random.default_rng(1))
    optimiser, random = program.AdamW(model), np.random.default_rng(2)
    weights, m, v = model.weights.flat.copy(), np.zeros(model.weights.flat.size), np.zeros(model.weights.flat.size)
    decays = np.concatenate([np.full(tensor.size, tensor.ndim == 2) for tensor in model.weights.values()])
    for step in (1, 2, 3):
        gradient = model.gradient.flat[...] = random.normal(size=weights.size)
        optimiser.update(step, 0.01)
        m, v = 0.9 * m + 0.1 * gradient, 0.98 * v + 0.02 * gradient**2
        change = (m / (1 - 0.9**step)) / (np.sqrt(v / (1 - 0.98**step)) + 1e-8)
        weights = weights - 0.01 * (change + 0.05 * decays * weights)
        np.testing.assert_allclose(model.weights.flat, weights, rtol=1e-9)
        np.testing.assert_allclose(optimiser.v.flat, v, rtol=1e-9)


def test_everything_is_float32(tmp_path: Path) -> None:
    collect_corpus.collect(tmp_path / "corpus.txt", limit_bytes=5000)
    trainer = program.Trainer(SETTINGS, (tmp_path / "corpus.txt").read_bytes())
    trainer.step()
    activation, _ = trainer.model._block("block0", np.ones((27, 64), np.float32), 3)
    assert activation.dtype == np.float32
    assert {tensors.flat.dtype for tensors in trainer.state.values()} == {np.dtype(np.float32)}


def test_loss_falls_on_the_corpus(tmp_path: Path) -> None:
    collect_corpus.collect(tmp_path / "corpus.txt", limit_bytes=300_000)
    settings = program.Settings(width=64, layers=2, context=64, batch=8, learning_rate=3e-3)
    trainer = program.Trainer(settings, (tmp_path / "corpus.txt").read_bytes())
    losses = [trainer.step() for _ in range(30)]
    assert losses[0] == pytest.approx(np.log(256), rel=0.1)  # knows nothing yet
    assert np.mean(losses[-5:]) < 3.6


@given(state_mb=st.floats(2, 5000), context=st.integers(1, 512))
def test_chosen_size_is_near_the_wanted_one(state_mb: float, context: int) -> None:
    width, layers = program.choose_size(state_mb, context)
    shapes = program.tensor_shapes(width, layers, context)
    state_bytes = 12 * sum(int(np.prod(shape)) for shape in shapes.values())
    assert state_bytes / 1e6 == pytest.approx(state_mb, rel=0.25 if state_mb < 20 else 0.06)


def test_default_size_is_100_mb() -> None:
    model = program.Model(program.Settings(*program.choose_size(100, 128)))
    assert 12 * model.weights.flat.size == pytest.approx(100e6, rel=0.03)


def test_impossible_size_is_refused() -> None:
    with pytest.raises(SystemExit, match=r"--state-mb 0\.001"):
        program.choose_size(0.001, 128)
