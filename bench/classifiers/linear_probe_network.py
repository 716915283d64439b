"""The network of ``linear_probe``, its features, and the fit of its linear layer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import nn

from bench.classifiers.config import FineTuneConfig
from bench.classifiers.timm_network import TimmNetwork
from bench.classifiers.trainer import augmented, inverse_frequency, rank, scores_of
from bench.classifiers.training_set import FineTuneResult, KnownImages, TrainingSet  # fmt: skip
from bench.errors import DivergedError, WeightsError
from bench.interfaces import OnlineAugmenter, RunContext
from bench.metrics.features import Features, cached_features
from bench.seeding import derive_seed
from bench.types import Uint8Images

PENALTIES = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001)  # weights of the squared norm of standardised weights
TOLERANCE = 1e-5  # largest gradient at convergence
BLOCK = 32  # images per pass: always full, so that an image's features do not depend on how many there are
CACHED = 256  # images per cached entry: arms share the entries of the real images, which come first
LEAST_SD = 1e-6  # a feature that varies less has no influence


class LinearProbeNetwork(nn.Module):
    """Float [B, 3, H, W] in [0, 1] -> logits [B, num_classes] = W φ(x) + b, with frozen features φ.

    φ(x): antialiased bilinear resize to ``input_size_px``, the backbone's normalisation, its pooled features before the
    classifier, always in eval mode. Saved weights contain the linear layer and a checksum of the backbone, which is
    loaded from its own file again; another backbone raises ``WeightsError``.
    """

    checksum: torch.Tensor

    def __init__(self, backbone: TimmNetwork, num_classes: int, input_size_px: int, views: int) -> None:
        super().__init__()
        self.model, self.input_size_px, self.views = backbone.requires_grad_(False), input_size_px, views
        with torch.no_grad():
            width = self.features(torch.zeros(1, 3, input_size_px, input_size_px)).shape[1]
        self.head = nn.Linear(width, num_classes)
        self.sha256 = _sha256(backbone)
        self.tag = f"probe-{input_size_px}px-{self.sha256[:8]}"
        self.register_buffer("checksum", torch.tensor(list(bytes.fromhex(self.sha256)), dtype=torch.uint8))
        self.register_state_dict_post_hook(_leave_backbone_out)
        self.register_load_state_dict_post_hook(_check_backbone)

    def train(self, mode: bool = True) -> LinearProbeNetwork:
        """Set the mode of the linear layer; the backbone stays in eval mode."""
        super().train(mode)
        self.model.eval()
        return self

    def features(self, x: torch.Tensor) -> torch.Tensor:
        """Return φ(x), float [B, D], of images float [B, 3, H, W] in [0, 1]."""
        size = (self.input_size_px, self.input_size_px)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="bilinear", align_corners=False, antialias=True)
        features: torch.Tensor = self.model.eval()(x)
        return features

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return logits [B, num_classes]."""
        logits: torch.Tensor = self.head(self.features(x))
        return logits

    def extract(self, images: Uint8Images, device: str = "cpu", batch_size: int = BLOCK) -> Features:
        """Return the features float32 [N, D] of images uint8 [N, H, W, 3], in full passes of ``batch_size``."""
        pixels = torch.tensor(np.ascontiguousarray(images), device=device).permute(0, 3, 1, 2)
        parts = [self._full(p.float() / 255, batch_size) for p in pixels.split(batch_size)]
        return torch.cat(parts).cpu().numpy()

    @torch.inference_mode()
    def _full(self, x: torch.Tensor, batch_size: int = BLOCK) -> torch.Tensor:
        """Return the features of up to ``batch_size`` images from one pass of exactly that many."""
        padded = torch.cat([x, x[-1:].expand(batch_size - len(x), -1, -1, -1)])
        return self.features(padded.contiguous(memory_format=torch.channels_last))[: len(x)].float()

    def cached(self, images: Uint8Images, device: str, cache: Path | None) -> torch.Tensor:
        """Return ``extract(images)`` on the device, through the cache of features if there is one."""
        blocks = [images[i : i + CACHED] for i in range(0, len(images), CACHED)]
        if cache is None:
            found = [self.extract(b, device) for b in blocks]
        else:
            found = [cached_features(self, b, cache / "features", device) for b in blocks]
        return torch.tensor(np.concatenate(found), device=device)

    @torch.no_grad()
    def log_probabilities(self, images: Uint8Images, device: str, cache: Path | None = None) -> torch.Tensor:
        """Return log-softmax float64 [N, C] of images uint8 [N, H, W, 3]."""
        logits = F.linear(
            self.cached(images, device, cache).double(), self.head.weight.double(), self.head.bias.double()
        )
        return F.log_softmax(logits, dim=1)

    def fit(
        self, train: TrainingSet, validation: KnownImages, num_classes: int, config: FineTuneConfig,
        augmenter: OnlineAugmenter, ctx: RunContext,
    ) -> FineTuneResult:  # fmt: skip
        """Fit the linear layer on views of the training images; see ``train_classifier``, which checks the images.

        The loss is that of ``train_classifier`` plus λ/2 ‖W‖² of weights for standardised features. λ is the one of
        ``PENALTIES`` with the best score on the validation images. Nothing needs a checkpoint: the fit is deterministic
        and takes seconds. Raises ``DivergedError`` for features that are not finite.
        """
        with ctx.phase("data"):
            x, y, weights = views(self, train, num_classes, config, augmenter, ctx)
            held_out = self.cached(validation.images, ctx.device, ctx.cache).double()
        problem = Regression(x, y, weights, config, ctx)
        best: tuple[dict[str, float], int, torch.Tensor] | None = None
        for number, penalty in enumerate(PENALTIES):
            problem.solve(penalty, limit=max(1, config.steps * (number + 1) // len(PENALTIES)))
            with ctx.phase("evaluate"):
                log_p = F.log_softmax(held_out @ problem.weight.T + problem.bias, dim=1).cpu().numpy()
                metrics = scores_of(log_p, validation.labels, num_classes)
            logged = {f"validation/{k}": v for k, v in metrics.items()}
            ctx.log(problem.steps, max(config.steps, problem.steps), {**logged, "train/penalty": penalty})
            if best is None or rank(metrics, config) > rank(best[0], config):
                best = metrics, problem.steps, problem.solution.clone()
        assert best is not None
        metrics, step, problem.solution = best
        with torch.no_grad():
            self.head.weight.copy_(problem.weight)
            self.head.bias.copy_(problem.bias)
        return FineTuneResult(step, metrics, problem.steps, len(x))


def views(
    network: LinearProbeNetwork, train: TrainingSet, num_classes: int, config: FineTuneConfig,
    augmenter: OnlineAugmenter, ctx: RunContext,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:  # fmt: skip
    """Return features float64 [M, D], targets float64 [M, C] and weights float64 [M] of the views to fit.

    There are ``network.views`` views of every image if the augmenter changes any image, else one. Batches are shuffled,
    because some methods mix the images of a batch. Sampling weights of the augmenter become weights in the loss.
    """
    labels = torch.tensor(train.labels, dtype=torch.int64)
    plain = network.cached(train.images, ctx.device, ctx.cache).double()
    targets = F.one_hot(labels, num_classes).to(ctx.device)
    sampling = augmenter.sampling_weights(train.labels)
    drawn = torch.ones(len(labels), dtype=torch.float64) if sampling is None else torch.tensor(sampling).double()
    x: list[torch.Tensor] = []
    y: list[torch.Tensor] = []
    w: list[torch.Tensor] = []
    for view in range(network.views):
        changed = False
        for chosen, pixels, soft in _augmented(train.images, targets.float(), view, config, augmenter, ctx):
            features = plain[chosen.to(ctx.device)]
            if pixels is not None:
                features, changed = network._full(pixels, config.batch_size).double(), True
            rows = (features, soft.double(), drawn[chosen].to(ctx.device))
            for column, values in zip((x, y, w), rows, strict=True):
                column.append(values)
        if not changed and view == 0:
            break
    weights = torch.cat(w)
    return torch.cat(x), torch.cat(y), weights / weights.sum()


def _augmented(
    images: Uint8Images, targets: torch.Tensor, view: int, config: FineTuneConfig, augmenter: OnlineAugmenter,
    ctx: RunContext,
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None, torch.Tensor]]:  # fmt: skip
    """Yield (positions, images float [B, 3, H, W] or None if all are unchanged, targets) of one view, in batches."""
    shuffle = torch.Generator().manual_seed(derive_seed("probe order", ctx.seed, view))
    for number, chosen in enumerate(torch.randperm(len(images), generator=shuffle).split(config.batch_size)):
        generator = torch.Generator().manual_seed(derive_seed("probe view", ctx.seed, view, number))
        torch.manual_seed(derive_seed("probe view", ctx.seed, view, number))
        batch = torch.tensor(np.ascontiguousarray(images[chosen.numpy()]), device=ctx.device)
        original = batch.permute(0, 3, 1, 2).float().div_(255)
        pixels, soft = augmented(augmenter, batch, targets[chosen.to(ctx.device)], generator, with_range=not number)
        yield chosen, None if torch.equal(pixels, original) else pixels, soft


class Regression:
    """L2-penalised logistic regression with soft targets and weights, by L-BFGS (Liu & Nocedal 1989) in float64.

    minimise Σ_i w_i CE(y_i, softmax(W z_i + b)) + λ/2 ‖W‖², z = (x − mean) / sd; the bias is not penalised. Each call
    of ``solve`` starts from the last solution. ``weight`` and ``bias`` are those for features that are not
    standardised.
    """

    def __init__(
        self, x: torch.Tensor, y: torch.Tensor, weights: torch.Tensor, config: FineTuneConfig, ctx: RunContext
    ) -> None:
        classes = y.shape[1]
        if config.class_weights:
            weights = weights * (y @ inverse_frequency(y.argmax(1).cpu().numpy(), classes).to(y))
            weights = weights / weights.sum()
        self.mean = weights @ x
        sd = (weights @ (x - self.mean) ** 2).sqrt()
        self.scale = torch.where(sd > LEAST_SD, 1 / sd, 0)
        self.z = torch.cat([(x - self.mean) * self.scale, torch.ones_like(x[:, :1])], dim=1)
        self.y = y * (1 - config.label_smoothing) + config.label_smoothing / classes
        self.w, self.ctx, self.steps, self.total = weights, ctx, 0, config.steps
        self.solution = torch.zeros(classes, self.z.shape[1], dtype=torch.float64, device=x.device)

    @property
    def weight(self) -> torch.Tensor:
        """Weights float64 [C, D] for features that are not standardised."""
        return self.solution[:, :-1] * self.scale

    @property
    def bias(self) -> torch.Tensor:
        """Bias float64 [C] that belongs to ``weight``."""
        return self.solution[:, -1] - self.weight @ self.mean

    def solve(self, penalty: float, limit: int) -> None:
        """Minimise at a penalty until converged or until ``limit`` evaluations of the loss in total."""
        from scipy.optimize import minimize

        options = {"maxfun": max(1, limit - self.steps), "maxiter": max(1, limit), "gtol": TOLERANCE, "ftol": 1e-9}
        start = self.solution.flatten().cpu().numpy()
        found: Any = minimize(self._loss, start, (penalty,), jac=True, method="L-BFGS-B", options=options)
        self.solution = torch.tensor(found.x, device=self.z.device).view_as(self.solution)

    def _loss(self, flat: npt.NDArray[np.float64], penalty: float) -> tuple[float, npt.NDArray[np.float64]]:
        with self.ctx.phase("step"):
            solution = torch.tensor(flat, device=self.z.device).view_as(self.solution)
            log_p = F.log_softmax(self.z @ solution.T, dim=1)
            loss = -(self.w @ (self.y * log_p).sum(1))
            gradient = ((log_p.exp() * self.y.sum(1, keepdim=True) - self.y) * self.w[:, None]).T @ self.z
            gradient[:, :-1] += penalty * solution[:, :-1]
            value = float(loss + penalty / 2 * solution[:, :-1].square().sum())
        if not np.isfinite(value):
            raise DivergedError(f"linear_probe: the loss is {value}: the arm gives images that are not finite numbers")
        self.steps += 1
        return value, gradient.flatten().cpu().numpy()


def _sha256(network: nn.Module) -> str:
    sums = hashlib.sha256()
    for name, tensor in network.state_dict().items():
        sums.update(name.encode())
        sums.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return sums.hexdigest()


def _leave_backbone_out(network: nn.Module, state: dict[str, Any], prefix: str, metadata: Any) -> None:
    for name in [n for n in state if n.startswith(f"{prefix}model.")]:
        del state[name]


def _check_backbone(network: nn.Module, keys: Any) -> None:
    """Accept saved weights without backbone; refuse those that were fitted on the features of another one."""
    assert isinstance(network, LinearProbeNetwork)
    keys.missing_keys[:] = [k for k in keys.missing_keys if not k.startswith("model.")]
    fitted_on = bytes(network.checksum.cpu().tolist()).hex()
    if fitted_on != network.sha256:
        raise WeightsError(
            f"linear_probe: fitted on features of a backbone with SHA-256 {fitted_on[:8]}…, got {network.sha256[:8]}…; "
            "use the backbone and the weights of the training"
        )
