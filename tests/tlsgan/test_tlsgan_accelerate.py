"""Run mode of a step: chosen by measured time, trial runs without side effects, no failure of the training."""

import copy
import math

import pytest
import torch
from helpers import FakeContext, two_class_data

from tlsgan import accelerate, augmenter
from tlsgan.accelerate import BOTH, EAGER, GRAPHS, Builder, Measured
from tlsgan.checkpoint import Training, collect
from tlsgan.config import CycleGANConfig
from tlsgan.cuda_graphs import Unchanged
from tlsgan.data import UnpairedStream
from tlsgan.meter import LossMeter
from tlsgan.networks import build_networks
from tlsgan.trainer import make_train_state

TINY = {"filters": 2, "blocks": 1, "disc_filters": 2, "batch_size": 1}


def make_builder(**options):
    config = CycleGANConfig(**TINY, **options)
    torch.manual_seed(0)
    return Builder(make_train_state(config, build_networks(config, 24), "cpu", 0), config, "cpu", 24)


def state_of(train_state):
    images = torch.zeros(1, 3, 24, 24, dtype=torch.uint8)
    training = Training(train_state, UnpairedStream(images, images, 1, False, (0, 0)), LossMeter(), None)
    return copy.deepcopy(collect(0, training))


def flat(value, path=""):
    if isinstance(value, dict):
        return {k: v for key, inner in value.items() for k, v in flat(inner, f"{path}/{key}").items()}
    if isinstance(value, list):
        return {k: v for i, inner in enumerate(value) for k, v in flat(inner, f"{path}/{i}").items()}
    return {path: value}


def test_a_trial_step_changes_no_state():
    builder = make_builder(pool_size=2, spectral_norm=True)
    step, pair = builder.prepared(EAGER), builder._images()
    step(1, *pair)  # moments exist from here on
    before = flat(state_of(builder.train_state))
    with Unchanged(builder.train_state):
        step(1, *pair)
        assert any(
            not torch.equal(v, before[k]) for k, v in flat(state_of(builder.train_state)).items() if "/networks/" in k
        )
    after = flat(state_of(builder.train_state))
    assert set(after) == set(before)
    for key, value in after.items():
        same = torch.equal(value, before[key]) if isinstance(value, torch.Tensor) else value == before[key]
        assert same, key


def test_moments_created_by_a_trial_step_become_zero():
    builder = make_builder()
    with Unchanged(builder.train_state):
        builder.prepared(EAGER)(1, *builder._images())
    moments = [s for o in builder.train_state.optimisers.named().values() for s in o.state.values()]
    assert moments
    assert all((value == 0).all() for s in moments for value in s.values())


@pytest.mark.parametrize(("steps", "mode"), [(1_999, "as it is"), (2_000, "compiled")])
@pytest.mark.parametrize("steps_left", [1, 10**6])
def test_on_a_cpu_auto_compiles_long_trainings_also_when_resumed(monkeypatch, steps, mode, steps_left):
    asked = []
    monkeypatch.setattr(Builder, "prepared", lambda self, mode: asked.append(mode))
    builder = make_builder(steps=steps)
    _, facts = accelerate.make_step(builder.train_state, builder.config, "cpu", 24, steps_left, None)
    assert (asked, facts) == ([mode], {"training_step": f"fast, {mode}"})


def test_on_a_cpu_auto_runs_short_trainings_eagerly(tmp_path):
    augmenter.CycleGAN(CycleGANConfig(**TINY, steps=1)).fit(two_class_data(4, 24), FakeContext(tmp_path))
    facts = (tmp_path / "facts.json").read_text()
    assert '"training_step": "fast, as it is"' in facts
    assert "warning" not in facts


def test_graphs_are_recorded_on_cuda_only_and_never_compiled(monkeypatch):
    builder = make_builder(compile="graphs", steps=accelerate.LONG_TRAINING)
    asked = []
    monkeypatch.setattr(accelerate.Builder, "prepared", lambda self, mode: asked.append(mode))
    for device in ("cpu", "cuda"):
        accelerate.make_step(builder.train_state, builder.config, device, 24, 10**6, None)
    assert asked == [EAGER, GRAPHS]


def test_a_failed_compilation_runs_eagerly_with_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(accelerate, "BACKEND", "no_such_backend")
    for name, compile_ in (("on", "on"), ("off", "off")):
        method = augmenter.CycleGAN(CycleGANConfig(**TINY, steps=2, compile=compile_))
        method.fit(two_class_data(4, 24), FakeContext(tmp_path / name))
    facts = (tmp_path / "on" / "facts.json").read_text()
    assert '"training_step": "fast, as it is"' in facts
    assert "not compiled: InvalidBackend" in facts
    weights = [(tmp_path / name / "G_ab.safetensors").read_bytes() for name in ("on", "off")]
    assert weights[0] == weights[1], "the failed compilation changed the training"


def test_a_compiled_step_gives_the_losses_of_the_eager_step(monkeypatch):
    """Uses a backend without compilation: tests the calls of torch.compile, frozen passes included."""
    monkeypatch.setattr(accelerate, "BACKEND", "eager")
    plain, compiled = make_builder(), make_builder(compile="on")
    pair = plain._images()
    steps = plain.prepared(EAGER), compiled.prepared(accelerate.COMPILED)
    for i in range(2):
        eager, other = (step(i, *pair) for step in steps)
        assert set(eager) == set(other)
        for name in eager:
            assert eager[name].item() == pytest.approx(other[name].item(), rel=1e-4)


def test_the_fastest_mode_depends_on_the_remaining_steps():
    known = {EAGER: Measured(0.0, 1.0), GRAPHS: Measured(10.0, 0.5), BOTH: Measured(100.0, 0.2)}
    assert [accelerate.cheapest(known, n) for n in (1, 19, 21, 299, 301)] == [EAGER, EAGER, GRAPHS, GRAPHS, BOTH]
    known[BOTH] = Measured(math.inf, math.inf, "CompilerMissing: no g++")
    assert accelerate.cheapest(known, 10**6) == GRAPHS
    assert accelerate.cheapest({}, 5) == EAGER


def test_compilation_is_measured_only_if_it_can_save_time():
    known = [Measured(0.0, 0.1)]
    assert not accelerate.worth_compiling(known, 2_400)  # saves at most 120 s
    assert accelerate.worth_compiling(known, 2_500)


def test_measurements_are_stored_and_reused(tmp_path, monkeypatch):
    times, calls = {EAGER: Measured(0.0, 1.0), GRAPHS: Measured(5.0, 0.5)}, []

    def measure(self, mode):
        calls.append(mode)
        return times.get(mode, Measured(math.inf, math.inf, "CompilerMissing: no g++"))

    monkeypatch.setattr(Builder, "measure", measure)
    builder = make_builder()
    assert accelerate.choose(builder, 100, tmp_path) == (GRAPHS, "")
    assert calls == [EAGER, GRAPHS]  # in 100 steps compilation cannot save time
    assert accelerate.choose(builder, 100, tmp_path) == (GRAPHS, "")
    assert calls == [EAGER, GRAPHS]
    mode, warning = accelerate.choose(builder, 10_000, tmp_path)
    assert (mode, warning) == (GRAPHS, f"not {BOTH}: CompilerMissing: no g++")
    assert calls == [EAGER, GRAPHS, BOTH]
    accelerate.choose(make_builder(lambda_identity=0.0), 100, tmp_path)
    assert calls[3:] == [EAGER, GRAPHS], "another config needs a new measurement"
    for file in (tmp_path / "training_steps").iterdir():
        file.write_text("[1]")
    accelerate.choose(builder, 100, tmp_path)
    assert calls[5:] == [EAGER, GRAPHS], "a damaged file is ignored"


def test_a_measurement_has_the_time_of_a_step(monkeypatch):
    monkeypatch.setattr(accelerate, "TIMED", 2)
    measured = make_builder().measure(EAGER)
    assert 0 < measured.step_s < 5
    assert measured.error == ""
