"""Training: losses fall, resuming is exact, divergence raises an error; state of pool, meter and stream."""

import numpy as np
import pytest
import torch
from helpers import FakeContext, Interrupt, two_class_data

from bench.errors import ConfigError, DivergedError
from tlsgan import augmenter
from tlsgan.data import UnpairedStream, to_device, to_float, to_uint8
from tlsgan.image_pool import ImagePool
from tlsgan.meter import LossMeter, check_finite

TINY = {"filters": 4, "blocks": 1, "disc_filters": 4, "head_width": 8, "batch_size": 2}


def build(variant, **options):
    method = getattr(augmenter, variant)
    return method(method.Config(**{**TINY, **options}))


def weights_of(folder):
    return [(folder / f"{name}.safetensors").read_bytes() for name in ("G_ab", "G_ba")]


def test_resumed_equals_uninterrupted(tmp_path):
    """The checkpoint lies between log entries and inside an epoch; tests/contracts resumes every architecture."""
    data = two_class_data(6, 24)
    method = build("CycleGAN", steps=4, log_every=2, checkpoint_every=1, sample_every=9, pool_size=3, flip=True)
    whole, broken = FakeContext(tmp_path / "whole"), FakeContext(tmp_path / "broken", interrupt_at=4)
    method.fit(data, whole)
    with pytest.raises(Interrupt):
        method.fit(data, broken)
    assert broken.checkpoint["step"] == 3
    broken.interrupt_at = None
    method.fit(data, broken)
    assert weights_of(whole.folder) == weights_of(broken.folder)
    assert whole.history == broken.history
    assert (whole.images[-1][2] == broken.images[-1][2]).all()


def test_seeds_give_different_weights(tmp_path):
    method = build("CycleGAN", steps=1)
    contexts = [FakeContext(tmp_path / str(seed), seed=seed) for seed in (0, 1)]
    for ctx in contexts:
        method.fit(two_class_data(4, 32), ctx)
    assert weights_of(contexts[0].folder) != weights_of(contexts[1].folder)


def test_the_cycle_loss_falls_and_translations_have_the_target_colour(tmp_path):
    """The two classes differ in colour."""
    data, ctx = two_class_data(8, 24), FakeContext(tmp_path)
    method = build("CycleGAN", steps=20, log_every=4, filters=8, learning_rate=5e-3)
    method.fit(data, ctx)
    first, last = ctx.history[0][1], ctx.history[-1][1]
    assert last["loss_cycle_a"] + last["loss_cycle_b"] < 0.8 * (first["loss_cycle_a"] + first["loss_cycle_b"])
    colour = [data.images()[data.labels == y].mean((0, 1, 2)) for y in (0, 1)]
    for label in (0, 1):
        made = np.stack([s.image for s in method.synthesize(data, {label: 4}, tmp_path, ctx)]).mean((0, 1, 2))
        assert np.abs(made - colour[label]).sum() < np.abs(made - colour[1 - label]).sum()


def test_losses_of_transfer_discriminators_fall(tmp_path):
    ctx = FakeContext(tmp_path)
    options = {"steps": 8, "log_every": 4, "head_width": 64, "batch_size": 4, "learning_rate": 2e-3}
    build("TLSGANLite0Scratch", discriminator="test_resnet", **options).fit(two_class_data(8, 32), ctx)
    sums = [losses["loss_D_a"] + losses["loss_D_b"] for _, losses in ctx.history]
    assert sums[-1] < 0.8 * sums[0]
    classes = [losses["loss_class_ab"] + losses["loss_class_ba"] for _, losses in ctx.history]
    assert classes[-1] < classes[0]


def test_losses_are_named_and_averaged_over_the_interval(tmp_path):
    ctx = FakeContext(tmp_path)
    build("TLSGANLite0", steps=3, log_every=2).fit(two_class_data(8, 32), ctx)
    assert [step for step, _ in ctx.history] == [2, 3]
    pairs = {f"loss_{k}_{d}" for k in ("identity", "cycle", "D") for d in "ab"}
    directions = {f"loss_{k}_{d}" for k in ("adv", "class") for d in ("ab", "ba")}
    assert set(ctx.history[0][1]) == {"loss_G"} | pairs | directions


def test_no_identity_term_is_computed_at_weight_zero(tmp_path):
    ctx = FakeContext(tmp_path)
    build("CycleGAN", steps=1, lambda_identity=0.0).fit(two_class_data(4, 32), ctx)
    assert not any(name.startswith("loss_identity") for name in ctx.history[0][1])


def test_sample_grid_shows_real_fake_reconstruction(tmp_path):
    data, ctx = two_class_data(16, 32), FakeContext(tmp_path)
    build("CycleGAN", steps=3, sample_every=2).fit(data, ctx)
    assert [step for _, step, _ in ctx.images] == [2, 3]
    grid = ctx.images[0][2]
    assert (grid.shape, grid.dtype) == ((8, 32, 96, 3), np.uint8)
    expected = np.concatenate([data.images()[data.labels == y][:4] for y in (0, 1)])
    assert (grid[:, :, :32] == expected).all()


def test_divergence_names_step_and_loss(tmp_path):
    with pytest.raises(DivergedError, match=r"loss_.* became non-finite at step \d+"):
        build("CycleGAN", steps=30, log_every=5, learning_rate=1e30).fit(two_class_data(4, 32), FakeContext(tmp_path))


def test_meter_means_and_resumes():
    meter = LossMeter()
    meter.add({"loss_G": torch.tensor(1.0), "loss_D_a": torch.tensor(2.0)}, 1)
    other = LossMeter()
    other.load_state_dict(meter.state_dict(), "cpu")
    other.add({"loss_G": torch.tensor(3.0), "loss_D_a": torch.tensor(2.0)}, 2)
    assert other.means() == {"loss_G": 2.0, "loss_D_a": 2.0}
    other.add({"loss_G": torch.tensor(float("nan")), "loss_D_a": torch.tensor(1.0)}, 3)
    other.add({"loss_G": torch.tensor(float("nan")), "loss_D_a": torch.tensor(float("inf"))}, 4)
    with pytest.raises(DivergedError, match=r"^loss_G became non-finite at step 3; "):
        other.means()


def test_non_finite_weights_after_the_last_update_raise_an_error():
    fine, broken = torch.ones(3), torch.tensor([1.0, float("nan")])
    check_finite({"G_ab": [fine]}, 9)
    with pytest.raises(DivergedError, match="the weights of D_a became non-finite at step 9"):
        check_finite({"G_ab": [fine], "D_a": [fine, broken]}, 9)


def test_a_pool_of_size_zero_returns_its_input():
    images = torch.rand(2, 3, 4, 4)
    assert ImagePool(0, 0).query(images) is images


def test_a_pool_returns_old_images_with_probability_one_half_and_resumes():
    pool = ImagePool(5, 0)
    batches = [torch.full((1, 1, 1, 1), float(i)) for i in range(405)]
    out = [int(pool.query(b)) for b in batches[:205]]
    assert out[:5] == [0, 1, 2, 3, 4]
    other = ImagePool(5, 1)
    other.load_state_dict(pool.state_dict(), "cpu")
    rest = [int(pool.query(b)) for b in batches[205:]]
    assert rest == [int(other.query(b)) for b in batches[205:]]
    old = sum(o != i for i, o in enumerate(out + rest))
    assert 160 <= old <= 240  # 200 expected of 400, sd 10


def test_conversion_to_float_and_back_is_exact():
    levels = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    floats = to_float(to_device(levels, "cpu"))
    assert (floats.min().item(), floats.max().item()) == (-1.0, 1.0)
    assert (to_uint8(floats) == levels).all()


def stream(flip=False, batch_size=1):
    a = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    b = torch.arange(6, dtype=torch.uint8).view(6, 1, 1, 1).expand(6, 3, 2, 2)
    return UnpairedStream(a, b, batch_size, flip, (1, 2))


def drawn(batch):
    return [round((v + 1) * 127.5) for v in batch[:, 0, 0, 0].tolist()]


def test_an_epoch_ends_with_the_smaller_domain():
    s = stream()
    epochs = [[s.next() for _ in range(4)] for _ in range(3)]
    seen_a = [[drawn(a)[0] for a, _ in epoch] for epoch in epochs]
    seen_b = [[drawn(b)[0] for _, b in epoch] for epoch in epochs]
    assert all(sorted(seen) == [0, 1, 2, 3] for seen in seen_a)
    assert all(len(set(seen)) == 4 for seen in seen_b)
    assert len({tuple(s) for s in seen_a}) > 1  # each epoch is shuffled
    assert seen_a != seen_b


def test_a_batch_larger_than_a_domain_repeats_it():
    a, b = stream(batch_size=8).next()
    assert sorted(drawn(a)) == [0, 0, 1, 1, 2, 2, 3, 3]
    assert set(drawn(b)) == {0, 1, 2, 3, 4, 5}


def test_stream_resumes_within_an_epoch_and_flips():
    images = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, 3, 4, 4)
    first, second = (UnpairedStream(images, images, 1, True, seeds) for seeds in ((1, 2), (3, 4)))
    for _ in range(3):
        first.next()
    second.load_state_dict(first.state_dict())
    flipped = 0
    for _ in range(20):
        batches = first.next()
        for x, y in zip(batches, second.next(), strict=True):
            assert torch.equal(x, y)
            flipped += int(x[0, 0, 0, 0] > x[0, 0, 0, 1])
    assert 8 <= flipped <= 32  # of 40 with probability 1/2


def test_images_of_an_invalid_size_raise_an_error(tmp_path):
    with pytest.raises(ConfigError, match="multiple of 4"):
        build("CycleGAN", steps=1).fit(two_class_data(4, 30), FakeContext(tmp_path))
