"""Data sets, models and sample images in MLflow: inputs and outputs of a run, sample grids in the image view."""

from __future__ import annotations

import json
import re
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.tracking.model import ClassifierModel
from bench.tracking.runs import count_files
from bench.types import DatasetIndex

if TYPE_CHECKING:
    from PIL import Image

MODEL = "bench.model"  # tag of the suite's run: the training of the logged classifier, and the model's identifier
SAMPLES = "samples"
SAMPLE = re.compile(r"(?P<name>.+)_(?P<step>\d+)\.png")  # as ``bench.stages.context`` names them
LOGGED_IMAGE = re.compile(r"images/(?P<name>.+?)[+%]step[+%](?P<step>\d+)[+%]")  # as MLflow names them


@dataclass(frozen=True)
class DatasetInput:
    """A data set as an MLflow input: ``digest`` is the fingerprint of all its images, labels and patients."""

    name: str
    digest: str
    source: str
    classes: Mapping[str, int]  # images by class
    patients: int

    @classmethod
    def of(cls, index: DatasetIndex, fingerprint: str) -> DatasetInput:
        """Return the MLflow input of a dataset index."""
        labels = Counter(r.label for r in index.records)
        classes = {name: labels[i] for i, name in enumerate(index.classes)}
        return cls(index.name, fingerprint, str(index.root), classes, len({r.group_id for r in index.records}))

    def entity(self) -> Any:
        """Return the MLflow entity, with the context 'training'."""
        from mlflow.entities import Dataset, InputTag
        from mlflow.entities import DatasetInput as Entity

        columns = [{"name": name, "type": "string", "required": True} for name in ("path", "label", "group_id")]
        profile = {"images": sum(self.classes.values()), "patients": self.patients, **self.classes}
        dataset = Dataset(
            name=self.name,
            digest=self.digest[:36],
            source_type="local",
            source=json.dumps({"uri": self.source}),
            schema=json.dumps({"mlflow_colspec": columns}),
            profile=json.dumps(profile),
        )
        return Entity(dataset, [InputTag("mlflow.data.context", "training")])


def log_model(client: Any, experiment: str, run_id: str, model: ClassifierModel) -> None:
    """Log a classifier as the model of the suite's run, unless it is logged; a model logged before is deleted."""
    from mlflow.entities import LoggedModelOutput
    from mlflow.exceptions import MlflowException

    key, _, logged = client.get_run(run_id).data.tags.get(MODEL, "").partition(" ")
    if logged:
        with suppress(MlflowException):  # the user deleted it
            place = client.get_logged_model(logged).artifact_location
            if key == model.key and (count_files(place) or not place.startswith("file:")):
                return
            client.delete_logged_model(logged)
    score = {name: str(value) for name, value in model.score.items()}
    tags = {"classifier": model.name, "classes": json.dumps(model.classes), "resize": model.resize}
    made = client.create_logged_model(experiment, "best-classifier", run_id, tags, score, "classifier")
    with tempfile.TemporaryDirectory() as folder:
        model.save(Path(folder) / "model")
        client.log_model_artifacts(made.model_id, str(Path(folder) / "model"))
    client.finalize_logged_model(made.model_id, "READY")
    client.log_outputs(run_id, [LoggedModelOutput(made.model_id, 0)])
    client.set_tag(run_id, MODEL, f"{model.key} {made.model_id}")


def log_samples(client: Any, run_id: str, folder: Path) -> None:
    """Log a cell's sample grids, each once, by name and step, as needed by MLflow's image view."""
    from PIL import Image

    found = [(path, match) for path in sorted((folder / SAMPLES).glob("*.png")) if (match := SAMPLE.match(path.name))]
    if not found:
        return
    logged = [LOGGED_IMAGE.match(artifact.path) for artifact in client.list_artifacts(run_id, "images")]
    known = {(m["name"], int(m["step"])) for m in logged if m}
    for path, match in found:
        name, step = re.sub(r"[^a-zA-Z0-9_\-. ]", "_", match["name"]), int(match["step"])
        if (name, step) not in known:
            with Image.open(path) as image:
                at_ms = int(path.stat().st_mtime * 1000)
                client.log_image(run_id, _square(image), key=name, step=step, timestamp=at_ms, synchronous=True)


def _square(image: Image.Image) -> Image.Image:
    """Return the image at the top of a white square; MLflow's cards do not show wide images completely."""
    from PIL import Image

    side = max(image.size)
    square = Image.new("RGB", (side, side), "white")
    square.paste(image, (0, 0))
    return square
