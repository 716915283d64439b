"""Colour spaces of ``stain`` in torch, for batches float [B, 3, H, W]: LAB and HSV (as in scikit-image), HED.

LAB: CIE 1976 with the D65 white point and sRGB's primaries (IEC 61966-2-1). HSV: Smith 1978. HED: optical densities of
haematoxylin, eosin and residual, Ruifrok & Johnston 2001. The inverse functions return values clipped to [0, 1].
"""

from __future__ import annotations

import torch

from baselines.classical import HED

XYZ = ((0.412453, 0.357580, 0.180423), (0.212671, 0.715160, 0.072169), (0.019334, 0.119193, 0.950227))
WHITE = (0.95047, 1.0, 1.08883)
SMALLEST = 1 / 255  # the optical density of black is infinite


def rgb_to_lab(rgb: torch.Tensor) -> torch.Tensor:
    """Return L in 0..100, a and b about -100..100."""
    linear = torch.where(rgb > 0.04045, ((rgb + 0.055) / 1.055) ** 2.4, rgb / 12.92)
    xyz = _mixed(linear, XYZ) / rgb.new_tensor(WHITE).view(1, 3, 1, 1)
    x, y, z = torch.where(xyz > 0.008856, xyz.clamp_min(1e-9) ** (1 / 3), 7.787 * xyz + 16 / 116).unbind(1)
    return torch.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], dim=1)


def lab_to_rgb(lab: torch.Tensor) -> torch.Tensor:
    """Return the inverse of ``rgb_to_lab``."""
    lightness, a, b = lab.unbind(1)
    y = (lightness + 16) / 116
    f = torch.stack([y + a / 500, y, (y - b / 200).clamp_min(0)], dim=1)
    xyz = torch.where(f > 0.2068966, f**3, (f - 16 / 116) / 7.787) * lab.new_tensor(WHITE).view(1, 3, 1, 1)
    linear = _mixed(xyz, torch.linalg.inv(torch.tensor(XYZ, dtype=torch.float64)))
    rgb = torch.where(linear > 0.0031308, 1.055 * linear.clamp_min(1e-9) ** (1 / 2.4) - 0.055, 12.92 * linear)
    return rgb.clamp(0, 1)


def rgb_to_hsv(rgb: torch.Tensor) -> torch.Tensor:
    """Return hue, saturation and value, all in [0, 1]; the hue of grey is 0."""
    value, which = rgb.max(dim=1)
    spread = value - rgb.amin(dim=1)
    r, g, b = rgb.unbind(1)
    safe = torch.where(spread > 0, spread, 1)
    hues = torch.stack([(g - b) / safe % 6, (b - r) / safe + 2, (r - g) / safe + 4], dim=1)
    hue = torch.where(spread > 0, hues.gather(1, which[:, None])[:, 0] / 6, 0)
    saturation = torch.where(value > 0, spread / torch.where(value > 0, value, 1), 0)
    return torch.stack([hue, saturation, value], dim=1)


def hsv_to_rgb(hsv: torch.Tensor) -> torch.Tensor:
    """Return the inverse of ``rgb_to_hsv``; values are clipped to [0, 1] first."""
    hue, saturation, value = hsv.clamp(0, 1).unbind(1)
    shifted = torch.stack([hue * 6 + n for n in (5, 3, 1)], dim=1) % 6
    rgb = value[:, None] * (1 - saturation[:, None] * torch.minimum(shifted, 4 - shifted).clamp(0, 1))
    return rgb.clamp(0, 1)


def rgb_to_hed(rgb: torch.Tensor) -> torch.Tensor:
    """Return the densities of haematoxylin, eosin and residual, for stain vectors of unit length."""
    return _mixed(-torch.log(rgb.clamp_min(SMALLEST)), torch.linalg.inv(_stains()).T)


def hed_to_rgb(hed: torch.Tensor) -> torch.Tensor:
    """Return the inverse of ``rgb_to_hed``."""
    return torch.exp(-_mixed(hed, _stains().T)).clamp(0, 1)


def _stains() -> torch.Tensor:
    stains = torch.tensor(HED, dtype=torch.float64)
    return stains / stains.norm(dim=1, keepdim=True)


def _mixed(channels: torch.Tensor, matrix: torch.Tensor | tuple[tuple[float, ...], ...]) -> torch.Tensor:
    """Multiply each pixel's channels by a 3 × 3 matrix: out_i = Σ_j matrix_ij channels_j."""
    return torch.einsum("ij,bjhw->bihw", torch.as_tensor(matrix, dtype=torch.float64).to(channels), channels)
