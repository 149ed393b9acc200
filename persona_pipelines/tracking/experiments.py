"""Runs with parameters, metrics, plots and tags; models as folders of arrays and JSON."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import io
import os
import tempfile
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from persona_pipelines.errors import ProjectError
from persona_pipelines.files import digest_of_folder
from persona_pipelines.settings import Settings
from persona_pipelines.tracking import moving
from persona_pipelines.tracking.notes import figures_of, of_experiment, views_of
from persona_pipelines.tracking.pages import VIEW_TAG, of_run

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import DatasetInput, Metric, Param, RunTag
    from mlflow.models.signature import ModelSignature

    Inputs = list[DatasetInput]

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
METRICS_AT_ONCE, OTHERS_AT_ONCE = 800, 100
"""MLflow takes no more than 100 parameters, 100 tags and 1,000 of all in one request."""
PARENT_TAG, NAME_TAG = "mlflow.parentRunId", "mlflow.runName"
LONGEST_NOTE = 5_000
"""Characters; the least that MLflow's stores take for a tag."""


NOTE_TAG = "mlflow.note.content"
"""Of an experiment or a run: the text, in Markdown, that its page shows as its description."""
DIGEST_TAG = "data.sha256"
"""Of a version: the digest of its folder of arrays and JSON, by which a changed one is known."""


class ModelNotFoundError(ProjectError):
    """No model has been registered yet, or its files are gone or changed; the message says what makes one."""


@dataclass(frozen=True)
class Origin:
    """Where a run comes from: what leads from MLflow back to Dagster and to the code."""

    dagster_run_id: str
    dagster_asset: str


@dataclass(frozen=True)
class RegisteredModel:
    """A version in the registry, with its files on this machine."""

    name: str
    version: str
    folder: Path


def configure(settings: Settings) -> None:
    """Point mlflow at the settings' store, and keep it quiet and safe. Call before any other function here."""
    # Before the import: MLflow reads these once.
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["DO_NOT_TRACK"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
    import logging

    logging.getLogger("alembic").setLevel(logging.WARNING)
    import mlflow

    logging.getLogger("mlflow").setLevel(logging.ERROR)
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)  # what it logs with a traceback it raises as well
    # Integers of an example have no gaps by construction, so the hint about gaps says nothing.
    warnings.filterwarnings("ignore", message=".*integer column.*", category=UserWarning)
    # Where an example is not kept, that is meant.
    warnings.filterwarnings("ignore", message=".*input example was not provided.*", category=UserWarning)
    settings.home.mkdir(parents=True, exist_ok=True)
    moving.follow(settings)  # a copied home must not read the models of the one it was copied from
    told = "MLFLOW_TRACKING_URI" in os.environ
    mlflow.set_tracking_uri(settings.mlflow_tracking_uri)
    if not told:
        # MLflow leaves its store in the environment, where it would count as that of every other home.
        os.environ.pop("MLFLOW_TRACKING_URI", None)


@functools.cache
def code_version() -> str:
    """The package's version and, in a git checkout, its commit."""
    import subprocess

    version = importlib.metadata.version("persona-pipelines")
    here = Path(__file__).resolve().parents[2]
    if (here / ".git").exists():
        found = subprocess.run(["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
        if found.returncode == 0:
            return f"{version}+{found.stdout.strip()}"
    return version


def fingerprint(*frames: pd.DataFrame) -> str:
    """SHA-256 of the values of tables, whatever the order of their rows."""
    import pandas as pd

    digest = hashlib.sha256()
    for frame in frames:
        hashes = pd.util.hash_pandas_object(frame, index=False).sort_values().to_numpy()
        digest.update(",".join(frame.columns).encode() + hashes.tobytes())
    return digest.hexdigest()


class _Waiting(NamedTuple):
    """What is yet to be sent of a run."""

    metrics: list[Metric]
    parameters: list[Param]
    tags: list[RunTag]


@dataclass
class TrackedRun:
    """An open MLflow run of one stage. Parameters, metrics and tags are sent together when it ends, or a part of it begins."""

    settings: Settings
    stage: str
    run_id: str
    experiment_id: str
    shared_tags: Mapping[str, str] = field(default_factory=dict)
    inputs: Inputs = field(default_factory=list)
    waiting: _Waiting = field(default_factory=lambda: _Waiting([], [], []))
    has_parts: bool = False

    @contextmanager
    def part(self, name: str, inputs: Inputs | None = None) -> Iterator[TrackedRun]:
        """Open a run inside this one; it ends as failed where the block raises.

        Args:
            inputs: what it has learned from, of what was logged by ``data``; all of that by default.
        """
        import mlflow

        self.send()
        self.has_parts = True
        client, inputs = mlflow.MlflowClient(), self.inputs if inputs is None else inputs
        opened = client.create_run(self.experiment_id, tags={**self.shared_tags, PARENT_TAG: self.run_id}, run_name=name)
        run = TrackedRun(self.settings, self.stage, opened.info.run_id, self.experiment_id, self.shared_tags, inputs)
        status = "FAILED"
        try:
            if inputs:
                client.log_inputs(run.run_id, datasets=inputs)
            yield run
            status = "FINISHED"
        finally:
            run.send()
            client.set_terminated(run.run_id, status)

    def send(self) -> None:
        """Send what waits to MLflow, in as few requests as it takes."""
        import mlflow

        client, waiting = mlflow.MlflowClient(), self.waiting
        self.waiting = _Waiting([], [], [])
        for number in range(
            max(-(-len(waiting.metrics) // METRICS_AT_ONCE), -(-max(len(waiting.parameters), len(waiting.tags)) // OTHERS_AT_ONCE))
        ):
            some, others = (slice(number * size, (number + 1) * size) for size in (METRICS_AT_ONCE, OTHERS_AT_ONCE))
            client.log_batch(self.run_id, waiting.metrics[some], waiting.parameters[others], waiting.tags[others])

    @property
    def url(self) -> str:
        """The run's page in the MLflow web UI."""
        return f"{self.settings.mlflow_ui}/{of_run(self.experiment_id, self.run_id)}"

    def parameters(self, values: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        self.waiting.parameters.extend(Param(name, str(value)) for name, value in values.items() if value is not None)

    def metrics(self, values: Mapping[str, float]) -> None:
        self._points((name, value, 0) for name, value in values.items() if value is not None)

    def series(self, values: Mapping[str, Sequence[float]]) -> None:
        """Metrics with a value for each step, from step 1 on: how a learner went on from epoch to epoch."""
        self._points((name, value, step) for name, series in values.items() for step, value in enumerate(series, start=1))

    def _points(self, values: Iterable[tuple[str, float, int]]) -> None:
        import math
        import time

        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.waiting.metrics.extend(Metric(name, float(value), now, step) for name, value, step in values if math.isfinite(value))

    def tags(self, values: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        self.waiting.tags.extend(RunTag(name, value) for name, value in values.items())

    def note(self, text: str) -> None:
        """What the run's page shows as its description, in Markdown; links to the runs with their figures end it."""
        links = [f"[{words}]({page})" for words, page in figures_of(self.stage, self.experiment_id).items()]
        end = f"\n\nRuns of the experiment: {', '.join(links)}" if links else ""
        self.tags({NOTE_TAG: text[: LONGEST_NOTE - len(end)] + end})

    def data(self, name: str, frame: pd.DataFrame, digest: str, first: str, last: str) -> Inputs:
        """What the run and its parts learned from: its columns and size as an MLflow data set; fingerprint and dates of the first one as tags."""
        import mlflow
        from mlflow.data.pandas_dataset import from_pandas
        from mlflow.entities import Dataset, DatasetInput, InputTag
        from mlflow.utils import mlflow_tags

        shown = frame.drop(columns=[column for column in ("user_id", "visitor_id") if column in frame])
        dataset = Dataset(**from_pandas(shown, name=name, digest=digest[:16]).to_dict())
        logged = [DatasetInput(dataset, [InputTag(mlflow_tags.MLFLOW_DATASET_CONTEXT, "training")])]
        mlflow.MlflowClient().log_inputs(self.run_id, datasets=logged)
        if not self.inputs:
            self.tags({"data.fingerprint": digest, "data.rows": str(len(frame)), "data.first_day": first, "data.last_day": last})
        self.inputs = [*self.inputs, *logged]
        return logged

    def picture(self, png: bytes, file: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / file).write_bytes(png)
            self.file(Path(folder) / file)

    def file(self, file: Path) -> None:
        import mlflow

        mlflow.MlflowClient().log_artifact(self.run_id, str(file))

    def table(self, frame: pd.DataFrame, file: str) -> None:
        import mlflow

        mlflow.MlflowClient().log_text(self.run_id, frame.to_csv(index=False), file)

    def register(
        self,
        folder: Path,
        loader_module: str,
        example: pd.DataFrame,
        answer: pd.DataFrame,
        description: str,
        tags: Mapping[str, str] | None = None,
        stage: str | None = None,
        keep_example: bool = True,
        optional: Sequence[str] = (),
    ) -> RegisteredModel:
        """Store a folder of arrays and JSON as a new version of the stage's model.

        Args:
            description: of the version, in Markdown: what it is, learned from and how it was judged.
            loader_module: module of this package whose ``_load_pyfunc(path)`` reads the folder.
            example: input that the model answers with ``answer``; both make the signature.
            tags: of the version. Which version is the champion is ``registry.crown``'s.
            stage: whose model it is; the run's own by default.
            keep_example: whether the example is stored beside the signature; MLflow loads the model once more to try it.
            optional: columns of the example that may be left out.
        """
        import mlflow

        name = model_name(self.settings, stage or self.stage)
        # The registry writes past the loggers, to the terminal of whoever runs this; what goes wrong is raised all the same.
        with contextlib.redirect_stderr(io.StringIO()), self._active():
            logged = mlflow.pyfunc.log_model(
                name=stage or self.stage,
                loader_module=loader_module,
                data_path=str(folder),
                signature=_signature(example, answer, optional),
                input_example=example if keep_example else None,
                # Nothing to install by name: a package index may have something else under it. Serve with --env-manager local.
                pip_requirements=[],
                registered_model_name=name,
            )
        version = str(logged.registered_model_version)
        client = mlflow.MlflowClient()
        client.update_model_version(name, version, description=description)
        for key, value in {**(tags or {}), DIGEST_TAG: digest_of_folder(folder)}.items():
            client.set_model_version_tag(name, version, key, value)
        return RegisteredModel(name, version, folder)

    @contextmanager
    def _active(self) -> Iterator[None]:
        """Let this run be the one that MLflow takes for the present one: a model is logged to that."""
        import mlflow

        active = mlflow.active_run()
        if active is not None and active.info.run_id == self.run_id:
            yield
            return
        with mlflow.start_run(self.run_id, nested=True):
            yield


def _signature(example: pd.DataFrame, answer: pd.DataFrame, optional: Sequence[str]) -> ModelSignature:
    from mlflow.models import infer_signature
    from mlflow.models.signature import ModelSignature
    from mlflow.types.schema import ColSpec, Schema, TensorSpec

    found = infer_signature(example, answer)
    columns: list[ColSpec | TensorSpec] = [ColSpec(entry.type, entry.name, required=entry.name not in optional) for entry in found.inputs]
    return ModelSignature(Schema(columns), found.outputs)


def model_name(settings: Settings, stage: str) -> str:
    return f"{settings.name}-{stage}"


def _experiment(settings: Settings, stage: str) -> str:
    """The experiment of a stage: it carries the configuration's name, as several may share a server, and says what it holds."""
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    found = mlflow.get_experiment_by_name(name)
    if found is None and settings.mlflow_is_local and (found := mlflow.get_experiment_by_name(stage)) is not None:
        # Of an earlier version, whose experiments were called like the stage.
        client.rename_experiment(found.experiment_id, name)
    if found is None:
        location = (settings.mlflow_artifacts / stage).as_uri() if settings.mlflow_is_local else None
        # The kind makes the web UI open on the training runs.
        experiment_id = str(client.create_experiment(name, location, tags={"mlflow.experimentKind": "custom_model_development"}))
    else:
        experiment_id = str(found.experiment_id)
    about = of_experiment(settings, stage, experiment_id)
    if found is None or found.tags.get(NOTE_TAG) != about:
        client.set_experiment_tag(experiment_id, NOTE_TAG, about)
    return experiment_id


def end_open_runs(settings: Settings) -> list[str]:
    """End the runs of this configuration that a killed process has left as running. Returns their ids.

    To be called by who holds the warehouse: nobody else has a run open then.
    """
    configure(settings)
    import mlflow

    client, mine = mlflow.MlflowClient(), mlflow.active_run()
    experiments = [entry.experiment_id for entry in client.search_experiments() if entry.name.startswith(f"{settings.name}-")]
    if not experiments:
        return []
    running = client.search_runs(experiments, f"attributes.status = 'RUNNING' and tags.configuration = '{settings.name}'")
    left = [run.info.run_id for run in running if mine is None or run.info.run_id != mine.info.run_id]
    for run in left:
        client.set_terminated(run, "FAILED")
    return left


def _tags(settings: Settings, origin: Origin) -> dict[str, str]:
    """What every run says of where it comes from."""
    return {
        "dagster.run_id": origin.dagster_run_id,
        "dagster.asset": origin.dagster_asset,
        "code.version": code_version(),
        "configuration": settings.name,
    }


@contextmanager
def tracked_run(settings: Settings, stage: str, name: str, origin: Origin) -> Iterator[TrackedRun]:
    """Open a run in the experiment of a stage; it ends as failed where the block raises. One with parts is what the experiment's views show first."""
    configure(settings)
    import mlflow

    end_open_runs(settings)
    experiment_id = _experiment(settings, stage)
    with mlflow.start_run(experiment_id=experiment_id, run_name=name, tags=_tags(settings, origin)) as opened:
        shared = {name: value for name, value in opened.data.tags.items() if name not in (NAME_TAG, NOTE_TAG)}
        run = TrackedRun(settings, stage, opened.info.run_id, experiment_id, shared)
        try:
            yield run
        finally:
            run.send()
    if run.has_parts:
        for view, shown in views_of(settings, stage, run.run_id).items():
            mlflow.MlflowClient().set_experiment_tag(experiment_id, f"{VIEW_TAG}{view}", shown)
