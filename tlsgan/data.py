"""Unpaired training images of two domains: stored on the device as uint8, each domain shuffled independently."""

from __future__ import annotations

from typing import Any

import torch

from bench.types import Uint8Images


def to_device(images: Uint8Images, device: str, channels: int = 3) -> torch.Tensor:
    """Return uint8 [N, H, W, 3] as a uint8 tensor [N, C, H, W] on the device; one channel is that of grey images."""
    return torch.from_numpy(images[..., :channels].copy()).permute(0, 3, 1, 2).contiguous().to(device)


def to_float(images: torch.Tensor) -> torch.Tensor:
    """Convert uint8 0..255 to float in [-1, 1]: x / 127.5 − 1."""
    return images.float().div_(127.5).sub_(1.0)


def to_uint8(images: torch.Tensor) -> Uint8Images:
    """Convert float [N, C, H, W] in [-1, 1] to uint8 [N, H, W, 3], rounded; inverse of ``to_float``."""
    levels = images.detach().float().add(1.0).mul(127.5).round().clamp(0, 255).expand(-1, 3, -1, -1)
    return levels.to(torch.uint8).permute(0, 2, 3, 1).contiguous().cpu().numpy()


def mirrored(images: torch.Tensor, which: torch.Tensor) -> torch.Tensor:
    """Return images [B, C, H, W], left and right exchanged where ``which``, bool [B], is true."""
    return torch.where(which.view(-1, 1, 1, 1), images.flip(-1), images)


def labelled_share(count: int, fraction: float, seed: int) -> torch.Tensor:
    """Return a mask float [count]: 1 for images with a label in the class loss, else 0; at least one is 1.

    The mask is drawn per domain, that is per class, so that both have the same share.

    This is not semi-supervised learning from images of unknown class: the domains of a CycleGAN are the classes, so
    every image's class is known. The mask affects the class loss on real images only. Unlabelled images stay in the
    adversarial, identity and cycle losses. Translations keep their class loss; their label is the target domain. For
    images of unknown class see ``WithUnlabelled``.
    """
    known = torch.zeros(count)
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    known[order[: max(1, round(fraction * count))]] = 1.0
    return known


class UnpairedStream:
    """Infinite stream of pairs of batches (real_a, real_b), float [B, C, H, W] in [-1, 1].

    A separate generator shuffles each domain at the start of an epoch. The epoch ends when the smaller domain has no
    full batch left. Order and flips of an epoch are drawn at its start and stored on the device. With ``labelled``, one
    mask per domain, batches are (real_a, real_b, labelled_a, labelled_b), the masks float [B].
    """

    def __init__(
        self,
        images_a: torch.Tensor,
        images_b: torch.Tensor,
        batch_size: int,
        flip: bool,
        seeds: tuple[int, int],
        labelled: tuple[torch.Tensor, torch.Tensor] | None = None,
    ):
        self.domains, self.labelled = (images_a, images_b), labelled
        self.batch_size, self.flip = batch_size, flip
        self.generators = tuple(torch.Generator().manual_seed(seed) for seed in seeds)
        shorter = min(len(images_a), len(images_b))
        self.length = max(1, shorter // batch_size) * batch_size
        self.position = self.length  # the first call starts an epoch
        self.order: list[torch.Tensor] = []
        self.mirror: list[torch.Tensor] = []

    def next(self) -> tuple[torch.Tensor, ...]:
        """Return the next pair of batches; with ``labelled`` also their label masks."""
        if self.position >= self.length:
            self._start_epoch()
        window = slice(self.position, self.position + self.batch_size)
        self.position += self.batch_size
        images = [self._batch(i, window) for i in (0, 1)]
        if self.labelled is None:
            return tuple(images)
        return (*images, *(known[order[window]] for known, order in zip(self.labelled, self.order, strict=True)))

    def _start_epoch(self) -> None:
        device = self.domains[0].device
        self.position, self.order, self.mirror = 0, [], []
        for images, generator in zip(self.domains, self.generators, strict=True):
            passes = -(-self.length // len(images))  # more than one if a batch is larger than the domain
            order = torch.cat([torch.randperm(len(images), generator=generator) for _ in range(passes)])[: self.length]
            self.order.append(order.to(device))
            self.mirror.append((torch.rand(self.length, generator=generator) < 0.5).to(device))

    def _batch(self, domain: int, window: slice) -> torch.Tensor:
        batch = to_float(self.domains[domain][self.order[domain][window]])
        return mirrored(batch, self.mirror[domain][window]) if self.flip else batch

    def state_dict(self) -> dict[str, Any]:
        """Return position, order and flips of the epoch, and the states of the generators."""
        return {
            "position": self.position,
            "order": list(self.order),
            "mirror": list(self.mirror),
            "generators": [g.get_state() for g in self.generators],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a saved state."""
        device = self.domains[0].device
        self.position = state["position"]
        self.order = [order.to(device) for order in state["order"]]
        self.mirror = [mirror.to(device) for mirror in state["mirror"]]
        for generator, saved in zip(self.generators, state["generators"], strict=True):
            generator.set_state(saved.cpu())


class WithUnlabelled:
    """Batches of an ``UnpairedStream`` with label masks, and a batch of images of unknown class at their end.

    These are drawn with replacement, by a generator of their own, and mirrored as the others.
    """

    def __init__(self, pairs: UnpairedStream, images: torch.Tensor, seed: int) -> None:
        self.pairs, self.images = pairs, images
        self.generator = torch.Generator().manual_seed(seed)

    def next(self) -> tuple[torch.Tensor, ...]:
        """Return real_a, real_b, labelled_a, labelled_b and the images of unknown class, float [B, C, H, W]."""
        size, device = self.pairs.batch_size, self.images.device
        chosen = torch.randint(len(self.images), (size,), generator=self.generator)
        mirror = torch.rand(size, generator=self.generator) < 0.5
        batch = to_float(self.images[chosen.to(device)])
        return (*self.pairs.next(), mirrored(batch, mirror.to(device)) if self.pairs.flip else batch)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of the pairs and of the generator."""
        return {**self.pairs.state_dict(), "unlabelled": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Load a saved state."""
        self.pairs.load_state_dict(state)
        self.generator.set_state(state["unlabelled"].cpu())
