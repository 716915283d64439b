"""CUT and FastCUT: the contrastive loss and a training step against plain code, and refusals."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from helpers import ArrayData, FakeContext, two_class_data
from safetensors.torch import load_file
from torch import nn

from bench.errors import ConfigError
from tlsgan.config import CUTConfig, FastCUTConfig
from tlsgan.cut import CUT, FastCUT
from tlsgan.cut_training import Model, build_model, train_step
from tlsgan.generators import ResNetGenerator
from tlsgan.patch_nce import channels_of, compared_layers, encode, patch_nce, translate

TINY: dict[str, Any] = {
    "steps": 4, "batch_size": 2, "filters": 2, "disc_filters": 2, "blocks": 2, "patches": 6, "features": 5,
}  # fmt: skip


def test_patch_nce_is_the_cross_entropy_of_each_patch_among_those_of_its_image() -> None:
    torch.manual_seed(0)
    query, key = (F.normalize(torch.randn(2, 3, 4), dim=2) for _ in "qk")
    terms = []
    for image in range(2):
        for place in range(3):
            near = [(query[image, place] @ key[image, other] / 0.1).exp() for other in range(3)]
            terms.append(-(near[place] / sum(near)).log())
    assert patch_nce(query, key, 0.1).item() == pytest.approx(torch.stack(terms).mean().item(), rel=1e-5)


def test_the_image_both_halvings_and_two_blocks_are_compared() -> None:
    torch.manual_seed(0)
    G, x = ResNetGenerator(2, 9, channels=1), torch.rand(1, 1, 32, 32) * 2 - 1
    layers = compared_layers(9)
    made, maps = translate(G, x, layers)
    torch.testing.assert_close(made, G(x))
    assert [m.shape[1] for m in maps] == channels_of(2, 9, 1) == [1, 4, 8, 8, 8]
    assert [m.shape[2] for m in maps] == [32, 16, 8, 8, 8]
    first, fifth = G.model[:11](x), G.model[:15](x)  # ten layers before the blocks
    torch.testing.assert_close(maps[3], first)
    torch.testing.assert_close(maps[4], fifth)
    for one, other in zip(maps, encode(G, x, layers), strict=True):
        torch.testing.assert_close(one, other)


class Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        once = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        again = [nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)]
        self.conv_block = nn.Sequential(*once, nn.ReLU(), *again)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.conv_block(x)


def test_the_networks_have_the_published_layers() -> None:
    """Built from plain layers: generator and PatchGAN of CycleGAN, and two linear layers for each compared map."""
    model = build_model(CUTConfig(**TINY), "cpu", seed=7)
    f, norm, up = 2, nn.InstanceNorm2d, {"stride": 2, "padding": 1, "output_padding": 1}
    G = nn.Sequential(
        *[nn.ReflectionPad2d(3), nn.Conv2d(3, f, 7), norm(f), nn.ReLU()],
        *[nn.Conv2d(f, 2 * f, 3, 2, 1), norm(2 * f), nn.ReLU()],
        *[nn.Conv2d(2 * f, 4 * f, 3, 2, 1), norm(4 * f), nn.ReLU()],
        *[Block(4 * f), Block(4 * f)],
        *[nn.ConvTranspose2d(4 * f, 2 * f, 3, **up), norm(2 * f), nn.ReLU()],
        *[nn.ConvTranspose2d(2 * f, f, 3, **up), norm(f), nn.ReLU()],
        *[nn.ReflectionPad2d(3), nn.Conv2d(f, 3, 7), nn.Tanh()],
    )
    D = nn.Sequential(
        *[nn.Conv2d(3, f, 4, 2, 1), nn.LeakyReLU(0.2), nn.Conv2d(f, 2 * f, 4, 2, 1), norm(2 * f), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(2 * f, 4 * f, 4, 2, 1), norm(4 * f), nn.LeakyReLU(0.2)],
        *[nn.Conv2d(4 * f, 8 * f, 4, 1, 1), norm(8 * f), nn.LeakyReLU(0.2), nn.Conv2d(8 * f, 1, 4, 1, 1)],
    )
    x = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    for plain, network in ((G, model.G.model), (D, model.D.model)):
        for layer in (*plain.modules(), *network.modules()):
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                nn.init.normal_(layer.weight, 0, 0.3)
                nn.init.normal_(layer.bias, 0, 0.3)
        plain.load_state_dict(network.state_dict())
    torch.testing.assert_close(model.G(x), G(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.D(x).real, D(x), atol=1e-5, rtol=1e-5)
    maps, places = [x, *(torch.randn(2, c, 4, 4) for c in (4, 8, 8))], torch.tensor([5, 0, 14])
    for project, one in zip(model.F, maps, strict=True):
        w1, b1, w2, b2 = project.parameters()
        vectors = torch.stack([one[:, :, p // one.shape[3], p % one.shape[3]] for p in places], 1)
        vectors = F.linear(F.linear(vectors, w1, b1).relu(), w2, b2)
        torch.testing.assert_close(project(one, places), vectors / vectors.square().sum(2, keepdim=True).sqrt())


def plain_nce(
    model: Model, query: torch.Tensor, key: torch.Tensor, places: list[torch.Tensor], flip: bool = False
) -> torch.Tensor:
    """Return PatchNCE at τ = 0.07 of maps computed by one pass each, as published; ``flip``: of mirrored sources."""
    terms = []
    for i, layer in enumerate((0, *compared_layers(2))):
        q, k = (model.G.model[: layer + 1](x) if i else x for x in (query, key))
        row, column = places[i] // q.shape[3], places[i] % q.shape[3]
        at = row * q.shape[3] + (q.shape[3] - 1 - column if flip else column)
        near = [model.F[i].layers(x.flatten(2)[:, :, p].movedim(1, 2)) for x, p in ((q, at), (k, places[i]))]
        logits = torch.einsum("bpf,bqf->bpq", *(F.normalize(v, dim=2) for v in near)) / 0.07
        terms.append(-logits.log_softmax(2).diagonal(dim1=1, dim2=2).mean())
    return torch.stack(terms).mean()


@pytest.mark.parametrize(
    ("config", "seeds"), [(CUTConfig(**TINY), (0,)), (FastCUTConfig(**TINY), (0, 1, 2))], ids=["cut", "fastcut"]
)
def test_a_step_has_the_published_losses(config: CUTConfig, seeds: tuple[int, ...]) -> None:
    mirrored = set()
    for seed in seeds:
        model = build_model(config, "cpu", seed=7)
        source, target = (torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(s)) * 2 - 1 for s in (1, 2))
        draw = torch.Generator().manual_seed(seed)
        flip = config.flip_equivariance and torch.rand((), generator=draw).item() < 0.5
        places = [torch.randperm(n, generator=draw)[:6] for n in (1024, 256, 64, 64)]
        mirrored.add(flip)
        with torch.no_grad():
            fake = model.G(source.flip(-1) if flip else source)
            loss_D = ((model.D(target).real - 1).square().mean() + model.D(fake).real.square().mean()) / 2
            nce = plain_nce(model, fake, source, places, flip)
            if config.identity_nce:
                nce = (nce + plain_nce(model, model.G(target), target, places)) / 2
        terms = train_step(config, model, source, target, 0, seed)
        assert terms["loss_D"].item() == pytest.approx(loss_D.item(), rel=1e-4)
        assert terms["loss_nce"].item() == pytest.approx(nce.item(), rel=1e-4)
        with torch.no_grad():
            loss_adv = (model.D(fake).real - 1).square().mean()  # of the updated discriminator
        loss_G = loss_adv + (1.0 if config.identity_nce else 10.0) * nce
        assert terms["loss_G"].item() == pytest.approx(loss_G.item(), rel=1e-4)
        assert all(p.requires_grad for p in model.D.parameters())
    assert mirrored == ({False} if config.identity_nce else {False, True})


def test_grey_images_have_one_channel_and_both_ways_their_own_weights(tmp_path: Path) -> None:
    colour = two_class_data(8, 32)
    grey = ArrayData(colour.images()[..., :1].repeat(3, axis=3), colour.labels)
    method, ctx = CUT(CUTConfig(**TINY)), FakeContext(tmp_path)
    method.fit(grey, ctx)
    ab, ba = (load_file(tmp_path / f"{name}.safetensors") for name in ("G_ab", "G_ba"))
    assert ab["model.1.weight"].shape[1] == 1
    assert not torch.equal(ab["model.1.weight"], ba["model.1.weight"])
    made = next(iter(method.synthesize(grey, {0: 1}, tmp_path, ctx)))
    assert (made.image[..., 0] == made.image[..., 2]).all()


def test_unusable_options_and_classes_are_refused() -> None:
    for options in ({"blocks": 0}, {"patches": 1}, {"lambda_nce": 0.0}, {"temperature": 0.0}, {"features": 0}):
        with pytest.raises(ConfigError, match=next(iter(options))):
            CUTConfig(**options)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="CUT translates between 2 classes, this dataset has 3"):
        FastCUT(FastCUTConfig()).check(("a", "b", "c"))
    with pytest.raises(ConfigError, match="image_size_px is 20"):
        CUT(CUTConfig()).check_size(20)
