"""What the training loops of the conditional GANs share: reading their losses, going on from a checkpoint."""

from __future__ import annotations

from typing import Any

import torch

from bench.errors import DivergedError
from bench.interfaces import RunContext

NAMES = ("loss/D", "loss/G", "score/real", "score/fake")


def mean_losses(name: str, losses: list[torch.Tensor], step: int) -> dict[str, float]:
    """Return the means by name of losses float [4] since the last reading. Raises ``DivergedError`` naming the step."""
    values = torch.stack(losses).cpu()
    bad = (~torch.isfinite(values)).any(dim=1).nonzero()
    if len(bad):
        at = step - len(losses) + 1 + int(bad[0])
        raise DivergedError(
            f"{name}: losses of D and G are {values[bad[0, 0], :2].tolist()} at step {at}; lower learning_rate"
        )
    return dict(zip(NAMES, values.mean(dim=0).tolist(), strict=True))


def resume(parts: dict[str, Any], ctx: RunContext) -> int:
    """Load the last checkpoint, if any, into the parts; return the number of steps done."""
    state = ctx.load_checkpoint()
    if state is None:
        return 0
    for name, part in parts.items():
        part.load_state_dict(state[name])
    return int(state["step"])
