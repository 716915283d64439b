"""bench profile step: FLOPs against a count by hand, interleaved ratios, memory, and the command."""

import json
import time

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from bench.cli import profile_step
from bench.cli.main import main
from bench.errors import ConfigError
from bench.forecast import step_profile
from bench.forecast.step_profile import StepCost, count_flops, measured_peak, ratio


def macs_of_generator(size: int, filters: int, blocks: int) -> tuple[int, int]:
    """Multiplications of one image's forward pass, and of its first convolution."""
    half, quarter, f = size // 2, size // 4, filters
    first = last = size * size * f * 3 * 49
    down = half * half * 2 * f * f * 9 + quarter * quarter * 4 * f * 2 * f * 9
    middle = 2 * blocks * quarter * quarter * (4 * f) ** 2 * 9
    up = quarter * quarter * 4 * f * 2 * f * 9 + half * half * 2 * f * f * 9  # a transposed convolution counts inputs
    return first + down + middle + up + last, first


def macs_of_patchgan(size: int, f: int) -> tuple[int, int]:
    s = (size // 2, size // 4, size // 8, size // 8 - 1, size // 8 - 2)
    widths = ((3, f), (f, 2 * f), (2 * f, 4 * f), (4 * f, 8 * f), (8 * f, 1))
    layers = [side * side * i * o * 16 for side, (i, o) in zip(s, widths, strict=True)]
    return sum(layers), layers[0]


@pytest.mark.parametrize("name", ["reference", "fast"])
def test_flops_of_a_cyclegan_step_are_those_counted_by_hand(name):
    size, f, blocks, d, pairs = 32, 8, 2, 8, 2
    g, g_first = macs_of_generator(size, f, blocks)
    p, p_first = macs_of_patchgan(size, d)
    # Forward 1, backward 2 (by input and by weight); the first layer has no gradient by its input where that is data.
    generators = 6 * 3 * g - 4 * g_first  # only in the cycle passes does the input have a gradient
    if name == "reference":
        scoring = 2 * 3 * p  # of translations, with gradients of weights that are not used
        learning = 4 * (3 * p - p_first)
    else:
        generators += (
            6 * 3 * g_first * 6 // size
        )  # the last layer works by kernel rows, 6 more of them than the image's
        scoring = 2 * 2 * p  # by the translations only
        learning = 2 * (3 * p - p_first) + 2 * (2 * p - p_first)  # translations need no second forward pass
    by_hand = 2 * pairs * (generators + scoring + learning)
    assignments = (f"filters={f}", f"blocks={blocks}", f"disc_filters={d}")
    steps = profile_step.make("cyclegan", assignments).training_steps(size, pairs, "cpu")
    assert list(steps) == ["reference", "fast"]
    assert count_flops(steps[name].count()) == pytest.approx(by_hand, rel=0.02)


@pytest.mark.parametrize("groups", [1, 8])
def test_a_convolutions_gradients_count_as_much_as_its_forward_pass(groups):
    conv, x = nn.Conv2d(8, 8, 3, groups=groups), torch.rand(2, 8, 6, 6, requires_grad=True)
    forward = 2 * 2 * 16 * 8 * 8 // groups * 9
    assert count_flops(lambda: conv(x).sum().backward()) == 3 * forward


def test_a_ratio_is_taken_turn_by_turn():
    first = StepCost("reference", 4, "float32", (2.0, 4.0, 20.0, 2.0), 10, 100.0)
    other = StepCost("fast", 4, "float32", (1.0, 2.0, 10.0, 1.0), 5, 100.0)
    found = ratio(first, other)
    assert (found.median, found.low, found.high) == (2.0, 2.0, 2.0)
    assert other.step_s == 1.5
    assert other.pairs_per_s == pytest.approx(4 / 1.5)
    assert other.share_of_peak == pytest.approx(5 / 1.5 / 100)


def test_steps_are_interleaved(monkeypatch):
    monkeypatch.setattr(step_profile, "BLOCK_S", 0.0)
    order = []
    steps = {"one": lambda: order.append(1), "two": lambda: (order.append(2), time.sleep(0.02))}
    seconds = step_profile.alternate(steps, "cpu", 3)
    assert order[4:] == [1, 2, 2, 1, 1, 2]
    assert min(seconds["two"]) >= 0.02 > max(seconds["one"])


def test_the_peak_is_that_of_a_matrix_product():
    assert 1e8 < measured_peak("cpu", "float32", times=2) < 1e14


def test_the_command_prints_json_and_a_table(monkeypatch):
    monkeypatch.setattr(step_profile, "BLOCK_S", 0.0)
    monkeypatch.setitem(step_profile.PEAK_SIZE, "cpu", 128)
    monkeypatch.setattr(profile_step, "peak_memory", lambda *_: {"reference": 2**20})
    words = ["profile", "step", "--method", "cyclegan", "--image-size", "24", "--batch", "2", "--device", "cpu"]
    words += ["--threads", "1", "--blocks", "2"]
    for assignment in ("filters=2", "blocks=1", "disc_filters=2", "steps=100"):
        words += ["--set", assignment]
    threads = torch.get_num_threads()
    result = CliRunner().invoke(main, [*words, "--json"], catch_exceptions=False)
    found = json.loads(result.output)
    assert (found["method"], found["image_size_px"], found["batch_size"], found["threads"]) == ("cyclegan", 24, 2, 1)
    reference, fast = (found["steps"][name] for name in ("reference", "fast"))
    assert found["ratios"]["fast"]["median"] > 0
    assert found["ratios_to"] == "reference"
    assert min(fast["flops"], reference["flops"]) > 0
    assert fast["pairs_per_s"] == pytest.approx(2 / fast["step_s"])
    assert fast["share_of_peak"] == pytest.approx(fast["flops_per_s"] / fast["peak_flops_per_s"])
    assert reference["peak_memory_bytes"] == 2**20
    table = CliRunner().invoke(main, words, catch_exceptions=False).output
    assert "not measured" in table
    assert "1 MiB" in table
    torch.set_num_threads(threads)


def test_memory_is_measured_in_a_separate_process():
    assignments = ("filters=2", "blocks=1", "disc_filters=64", "steps=100")
    found = step_profile.peak_memory(profile_step.make, ("cyclegan", assignments, 24, 2, "cpu"), ["fast"], 1)
    weights = 2 * 2_764_737 * 4
    assert 3 * weights < found["fast"] < 2**30, "weights and two moments of both discriminators, and more"


def test_what_cannot_be_profiled_is_named():
    with pytest.raises(ConfigError, match=r"oversample has no training step.*cyclegan"):
        profile_step.make("oversample", ())
    with pytest.raises(ConfigError, match="unknown key 'filter'; did you mean 'filters'"):
        profile_step.make("cyclegan", ("filter=8",))
    with pytest.raises(ConfigError, match="expected key=value"):
        profile_step.make("cyclegan", ("filters",))
