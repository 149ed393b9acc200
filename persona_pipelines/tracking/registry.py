"""Versions of models in the registry: which is the champion, how it became so, and the way back."""

from __future__ import annotations

import datetime as dt
import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path

from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import CHAMPION, ModelNotFoundError, RegisteredModel, configure, model_name

HISTORY_TAG = "champion.history"
KEPT_ENTRIES = 20
"""A tag holds 5,000 characters."""


@dataclass(frozen=True)
class Reign:
    """One entry of the champions' history: since when, by whom (``gate`` or ``person``), why, and whether as a way back."""

    version: str
    since: str
    by: str
    reason: str
    rollback: bool = False


@dataclass(frozen=True)
class Version:
    """A version with its tags; ``champion`` where it is the one in use."""

    version: str
    created: dt.datetime
    description: str
    tags: dict[str, str]
    champion: bool


def versions(settings: Settings, stage: str) -> list[Version]:
    """All versions of a stage's model, newest first; none before the first training."""
    configure(settings)
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    try:
        champion_version = str(client.get_model_version_by_alias(name, CHAMPION).version)
    except mlflow.exceptions.MlflowException:
        champion_version = ""
    found = [
        Version(
            str(entry.version), dt.datetime.fromtimestamp(entry.creation_timestamp / 1000, dt.UTC).replace(tzinfo=None),
            entry.description or "", dict(entry.tags), str(entry.version) == champion_version,
        )
        for entry in client.search_model_versions(f"name='{name}'")
    ]  # fmt: skip
    return sorted(found, key=lambda entry: -int(entry.version))


def history(settings: Settings, stage: str) -> list[Reign]:
    """The champions of a stage, oldest first."""
    configure(settings)
    import mlflow

    try:
        tags = mlflow.MlflowClient().get_registered_model(model_name(settings, stage)).tags
    except mlflow.exceptions.MlflowException:
        return []
    return [Reign(**entry) for entry in json.loads(tags.get(HISTORY_TAG, "[]"))]


def promote(settings: Settings, stage: str, version: str, by: str, reason: str, *, way_back: bool = False) -> None:
    """Make a version the champion, and write down since when and why.

    Raises:
        ModelNotFoundError: there is no such version.
    """
    configure(settings)
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    known = [entry.version for entry in versions(settings, stage)]
    if version not in known:
        raise ModelNotFoundError(f"no version {version} of {name}; there are {', '.join(known) or 'none yet'}")
    entries = [*history(settings, stage), Reign(version, f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}", by, reason[:200], way_back)]
    # The history first: an alias without an entry could not be rolled back.
    client.set_registered_model_tag(name, HISTORY_TAG, json.dumps([asdict(entry) for entry in entries[-KEPT_ENTRIES:]]))
    client.set_registered_model_alias(name, CHAMPION, version)


def rollback(settings: Settings, stage: str, reason: str) -> tuple[str, str]:
    """Bring back the champion before the present one.

    Returns:
        The version that was the champion, and the one that is now.
    Raises:
        ModelNotFoundError: there is no champion, or none before it.
    """
    # Promotions laid one on the other, of which each rollback takes one away: so a second one goes further back, not forth again.
    reigns: list[str] = []
    for entry in history(settings, stage):
        if entry.rollback and len(reigns) > 1:
            reigns.pop()
        elif not entry.rollback:
            reigns.append(entry.version)
    if not reigns:
        raise ModelNotFoundError(f"no champion of {model_name(settings, stage)} yet; materialise the assets that train it, or: persona run")
    if len(reigns) == 1:
        raise ModelNotFoundError(f"version {reigns[-1]} of {model_name(settings, stage)} has no champion before it")
    promote(settings, stage, reigns[-2], "person", reason, way_back=True)
    return reigns[-1], reigns[-2]


def champion_version(settings: Settings, stage: str) -> str | None:
    """The version in use; None before the first training."""
    return next((entry.version for entry in versions(settings, stage) if entry.champion), None)


def champion(settings: Settings, stage: str) -> RegisteredModel:
    """The champion of a stage, its files in a local folder.

    Raises:
        ModelNotFoundError: nothing has been trained yet.
    """
    configure(settings)
    import mlflow

    client = mlflow.MlflowClient()
    name = model_name(settings, stage)
    try:
        version = client.get_model_version_by_alias(name, CHAMPION)
    except mlflow.exceptions.MlflowException:
        raise ModelNotFoundError(f"no champion of {name} in MLflow yet; materialise the assets that train it, or: persona run") from None
    folder = mlflow.artifacts.download_artifacts(
        f"models:/{name}/{version.version}", dst_path=_download_folder(settings, name, version.version)
    )
    return RegisteredModel(name, version.version, data_folder(Path(folder)))


def _download_folder(settings: Settings, name: str, version: str) -> str | None:
    if settings.mlflow_tracking_uri.startswith("sqlite:"):
        return None  # local artifacts are used where they lie
    return tempfile.mkdtemp(prefix=f"{name}-{version}-")


def data_folder(model_folder: Path) -> Path:
    """The folder of arrays and JSON inside a stored pyfunc model."""
    import yaml

    flavor = yaml.safe_load((model_folder / "MLmodel").read_text())["flavors"]["python_function"]
    return model_folder / str(flavor["data"])
