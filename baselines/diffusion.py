"""``diffusion``: a class-conditional diffusion model, EDM.

Karras et al. 2022, "Elucidating the Design Space of Diffusion-Based Generative Models": preconditioned denoiser,
log-normal noise levels, Heun's method in few steps. Changed against it: the small U-Net, labels, optimiser and averaged
network of ``flow_matching``, whose loop trains it, so that the two differ in the process only (``flow_processes``); no
non-leaking augmentation. A library's network (diffusers) would be a second one. A few hundred
images or fewer are memorised when it is trained for long: see the report's memorised samples.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from baselines.flow_config import FlowMatchingConfig
from baselines.flow_matching import FlowMatching

if TYPE_CHECKING:
    from baselines.flow_loop import Process


@dataclass(frozen=True)
class DiffusionConfig(FlowMatchingConfig):
    """Training budget, network size, optimiser and sampling."""

    sample_steps: int = 18  # of Heun's method: two evaluations of the network each, but one in the last


class Diffusion(FlowMatching):
    """Generates images of any class from noise by denoising."""

    Config: ClassVar[type] = DiffusionConfig
    name: ClassVar[str] = "diffusion"

    def _process(self) -> Process:
        from baselines.flow_processes import EDM

        return EDM()
