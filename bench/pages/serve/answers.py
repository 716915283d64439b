"""JSON responses to the page's requests: classify, explain, compare or translate an image; generate images."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from bench.abilities import Translator
from bench.leakage import PARTS
from bench.metrics.calibration import apply_temperature
from bench.pages.serve.alike import DECIMALS, Workshop
from bench.pages.serve.models import ServeContext, Shelf, Trained, load_classifier, load_segmentation_network
from bench.pages.serve.neighbours import Known, Seen, nearest, seen_by
from bench.pages.serve.overlays import heat, png, tint
from bench.pages.serve.runs import Run, arm, fold_name
from bench.pages.server import RequestError
from bench.pages.uploads import Upload, fitted, read_upload
from bench.plan.plan import Cell
from bench.stages.common import Inputs
from bench.stages.fcn_network import TRUE
from bench.types import SyntheticImage, Uint8Images

if TYPE_CHECKING:
    from torch import nn

MAX_DRAWN = 64
MAX_SEED = 2**31 - 1
NEIGHBOURS = 4
Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """A request for synthetic images: run, generator, class, number and seed."""

    run: Run
    cell: Cell
    label: int
    count: int
    seed: int

    @property
    def id(self) -> str:
        """A unique key of the request."""
        return f"{self.run.session.suite.name} {self.cell.key} {self.label} {self.count} {self.seed}"


class Answers:
    """Answers one request after another; keeps the most recently used models."""

    def __init__(self) -> None:
        self._classifiers: Shelf[Trained] = Shelf()
        self._segmentation_networks: Shelf[nn.Module] = Shelf()
        self._seen: Shelf[Seen] = Shelf()
        self._workshop = Workshop()
        self._drawn: Shelf[list[SyntheticImage]] = Shelf()

    def classify(self, run: Run, cell: Cell, content: bytes, segmentation_network: str | None = None) -> Json:
        """Return probabilities, a Grad-CAM overlay and a segmentation of a file's image.

        ``segmentation_network`` is the key of the network; None: the default of ``Run.segmentation_network``. Raises
        ``RequestError`` for an unusable file and for an unknown key.
        """
        from bench.classifiers.trainer import predict

        upload = read_upload(content, run.session.plan.index.pixels)
        env, inputs = run.session.env, Inputs(cell, run.session.env)
        image = fitted(upload.picture, inputs.settings.image_size_px, inputs.resize)
        trained = self._classifiers.get(cell.key, lambda: load_classifier(inputs))
        seen = trained.prepare(image)
        raw = predict(trained.network, seen, env.device, batch_size=1)
        prob = apply_temperature(raw, trained.calibration.temperature)
        predicted = int(prob[0].argmax())
        calibration = trained.calibration
        return {
            **_received(upload, image),
            "classifier": cell.classifier,
            "arm": arm(cell),
            "fold": fold_name(cell),
            "known": _known(inputs, content),
            "classes": [
                {"name": name, "probability": float(p), "uncalibrated": float(u)}
                for name, p, u in zip(inputs.index.classes, prob[0], raw[0], strict=True)
            ],
            "predicted": predicted,
            "calibration": {
                "temperature": calibration.temperature,
                "validation_images": calibration.images,
                "test_ece": calibration.test_ece,
            },
            "explanation": _explained(trained, seen, predicted, env.device),
            "segmentation": self._segmented(run, cell, image, segmentation_network),
        }

    def _segmented(self, run: Run, cell: Cell, image: Uint8Images, key: str | None) -> Json | None:
        chosen = run.segmentation_network(cell, key)
        if chosen is None:
            return None
        from bench.segmentation.trainer import segment

        device, inputs = run.session.env.device, Inputs(chosen.cell, run.session.env)
        network = self._segmentation_networks.get(chosen.cell.key, lambda: load_segmentation_network(inputs))
        mask = segment(network, image, device)
        learnt_from = TRUE if chosen.compared else inputs.artifacts.result(*chosen.cell.id)["facts"]["masks"]
        return {
            **chosen.described(),
            "overlay": tint(mask[0]),
            "share": float(mask.mean()),
            "learnt_from": learnt_from,
            "explanation": _looked(network, image, mask, device),
        }

    def neighbours(self, run: Run, cell: Cell, content: bytes) -> Json:
        """Return the images nearest to a file's image, among those that a classifier was trained on.

        While features are computed, the response has the progress, and the page asks again. If they are not available,
        it has the reason instead. Raises ``RequestError`` for an unusable file.
        """
        inputs = Inputs(cell, run.session.env)
        image = fitted(read_upload(content, inputs.index.pixels).picture, inputs.settings.image_size_px, inputs.resize)
        key = f"{run.session.suite.name} {cell.key}"
        seen = self._seen.get(key, lambda: seen_by(inputs))
        job = self._workshop.job(key, inputs, seen)
        if not job.over or job.key != key:  # the job of another classifier may have ended
            return {"making": {"done": job.done, "total": job.total}}
        if job.found is None:
            return {"why": job.why}
        distances = job.found.distances(image)

        def shown(images: tuple[Known, ...] | None, found: npt.NDArray[np.floating] | None) -> list[Json] | None:
            if images is None or found is None:
                return None
            return [_neighbour(inputs, known, distance) for known, distance in nearest(images, found, NEIGHBOURS)]

        return {
            "why": "",
            "extractor": job.found.extractor.tag,
            "training": shown(seen.real, distances.real),
            "synthetic": shown(seen.synthetic, distances.synthetic),
        }

    def translate(self, run: Run, cell: Cell, label: int, content: bytes) -> Json:
        """Return a file's image of class ``label`` translated into the other class, and its reconstruction.

        Raises ``RequestError`` for an unusable file or a generator that does not translate.
        """
        policy = run.session.plan.index.pixels
        upload, inputs = read_upload(content, policy), Inputs(cell, run.session.env)
        method = inputs.env.suite.method(str(cell.method)).create()
        classes = inputs.index.classes
        if not isinstance(method, Translator):
            raise RequestError(400, f"{cell.method} does not translate images; generate images of a class instead")
        if label not in (0, 1):
            raise RequestError(400, f"class: got {label}, expected 0 or 1: {' or '.join(classes[:2])}")
        image = fitted(upload.picture, method.translation_size_px(inputs.settings.image_size_px), inputs.resize)
        folder = inputs.artifacts.folder(*cell.id)
        with TemporaryDirectory() as scratch:
            ctx = _context(run, scratch)
            there, back = method.cycle(image, label, folder, ctx)
        return {
            **_received(upload, image),
            "method": cell.method,
            "fold": fold_name(cell),
            "from": classes[label],
            "to": classes[1 - label],
            "translated": png(there[0]),
            "back": png(back[0]),
        }

    def draw(self, asked: Asked) -> list[SyntheticImage]:
        """Return the requested images; equal requests give equal images."""
        return self._drawn.get(asked.id, lambda: _draw(asked))


def _draw(asked: Asked) -> list[SyntheticImage]:
    cell, run = asked.cell, asked.run
    inputs = Inputs(cell, run.session.env)
    method, folder = inputs.env.suite.method(str(cell.method)).create(), inputs.artifacts.folder(*cell.id)
    with TemporaryDirectory() as scratch:
        ctx = _context(run, scratch, asked.seed)
        return list(method.synthesize(inputs.fold().training, {asked.label: asked.count}, folder, ctx))


def check_asked(run: Run, key: str, label: int, count: int, seed: int) -> Asked:
    """Return the request. Raises ``RequestError`` for invalid numbers."""
    classes = run.session.plan.index.classes
    for name, value, low, high in (
        ("class", label, 0, len(classes) - 1),
        ("number of images", count, 1, MAX_DRAWN),
        ("seed", seed, 0, MAX_SEED),
    ):
        if not low <= value <= high:
            raise RequestError(400, f"{name}: got {value}, expected {low} to {high}")
    return Asked(run, run.cell("fit", key), label, count, seed)


def _context(run: Run, scratch: str, seed: int = 0) -> ServeContext:
    return ServeContext(Path(scratch), run.session.env.device, seed)


def _received(upload: Upload, image: Uint8Images) -> Json:
    return {"image": png(image[0]), "size_px": list(upload.picture.size), "notes": list(upload.notes)}


def _known(inputs: Inputs, content: bytes) -> Json | None:
    """Return the path, class and fold part of a file that is an image of the run's data set; None for a new image."""
    sha256 = hashlib.sha256(content).hexdigest()
    found = next((r for r in inputs.index.records if r.sha256 == sha256), None)
    if found is None:
        return None
    fold_parts = inputs.fold().fold_parts
    part = next((name for name in PARTS if found.path in fold_parts.parts[name].paths), "no")
    return {"path": found.path, "class": inputs.index.classes[found.label], "part": part}


def _explained(trained: Trained, image: Uint8Images, target: int, device: str) -> Json:
    """Return the Grad-CAM of the predicted class as an overlay, or the reason why there is none."""
    from bench.classifiers.explain import NoLayerError, find_layer, grad_cam

    try:
        layer = find_layer(trained.network, image.shape[1:3], device)
    except NoLayerError as e:
        return {"overlay": None, "why": str(e)}
    found = grad_cam(trained.network, image, [target], device, layer)[0]
    empty = "the map is empty: no cell of this layer supports the class" if found.max() == 0 else ""
    return {"overlay": heat(found), "layer": layer.name, "grid": list(layer.grid), "why": empty}


def _looked(network: nn.Module, image: Uint8Images, mask: npt.NDArray[np.uint8], device: str) -> Json:
    """Return the Grad-CAM of the segmented pixels, mask [1, H, W], as an overlay, or the reason why there is none."""
    from bench.classifiers.explain import NoLayerError
    from bench.segmentation.explain import deepest_layer, seg_grad_cam
    from bench.segmentation.smp_unet import SegmentationNetwork

    if not isinstance(network, SegmentationNetwork):
        return {"overlay": None, "why": "there is no Grad-CAM for the FCN score network"}
    try:
        layer = deepest_layer(network, image.shape[1:3], device)
    except NoLayerError as e:
        return {"overlay": None, "why": str(e)}
    found = seg_grad_cam(network, image, mask, layer, device)[0]
    empty = "no cell of this layer supports the segmented pixels" if mask.any() else "no pixel was segmented"
    why = f"the map is empty: {empty}" if found.max() == 0 else ""
    return {"overlay": heat(found), "layer": layer.name, "grid": list(layer.grid), "why": why}


def _neighbour(inputs: Inputs, known: Known, distance: float) -> Json:
    return {
        "image": png(known.read(inputs.settings.image_size_px)),
        "name": known.name,
        "class": inputs.index.classes[known.label],
        "source": known.source,
        "distance": max(round(distance, DECIMALS), 0.0),
    }
