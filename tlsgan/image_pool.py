"""A pool of past translations for the discriminators (Shrivastava et al. 2017, section 2.3; Zhu et al. 2017).

As in CycleGAN, images are replaced with probability 1/2 each, not half of every batch.
"""

from __future__ import annotations

from typing import Any

import torch


class ImagePool:
    """Keep ``size`` past images and replace each new one by an older one with probability 1/2. Size 0: no pool.

    The pool has a random generator on the CPU, so that it does not wait for a GPU.
    """

    def __init__(self, size: int, seed: int):
        self.size = size
        self.images: list[torch.Tensor] = []
        self.generator = torch.Generator().manual_seed(seed)

    def query(self, images: torch.Tensor) -> torch.Tensor:
        """Return a batch [B, 3, H, W] with some images replaced by older ones."""
        if self.size == 0:
            return images
        chosen = []
        for image in images.detach():
            if len(self.images) < self.size:
                self.images.append(image.clone())
                chosen.append(image)
            elif torch.rand((), generator=self.generator).item() < 0.5:
                slot = int(torch.randint(self.size, (), generator=self.generator))
                chosen.append(self.images[slot])
                self.images[slot] = image.clone()
            else:
                chosen.append(image)
        return torch.stack(chosen)

    def state_dict(self) -> dict[str, Any]:
        """Return the images and the state of the random generator."""
        return {"images": list(self.images), "generator": self.generator.get_state()}

    def load_state_dict(self, state: dict[str, Any], device: str) -> None:
        """Load a saved state."""
        self.images = [image.to(device) for image in state["images"]]
        self.generator.set_state(state["generator"])
