"""Versions of models in the registry: which is the champion, how it became so, and the way back."""

from __future__ import annotations

import datetime as dt
import json
import re
import shutil
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import pandas as pd

from persona_pipelines.errors import ProjectError, StoredModelError
from persona_pipelines.files import digest_of_folder, folder_appearing
from persona_pipelines.settings import Settings
from persona_pipelines.tracking.experiments import (
    CHALLENGER,
    CHAMPION,
    DIGEST_TAG,
    PREVIOUS,
    ModelNotFoundError,
    RegisteredModel,
    configure,
    model_name,
)
from persona_pipelines.tracking.notes import of_model
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import Warehouse, from_frame

MADE_WITH = {
    "segments": (contracts.SEGMENT_PROFILES, "segment_model_version"),
    "recommendations": (contracts.RECOMMENDATIONS, "model_version"),
}
"""Where the tables of a stage say with which version they were made."""
PREDICTIONS = "profiles-"
"""What the stage of a target of predictions begins with: each has a model of its own."""
COMPARED = {"recommendations": contracts.MODEL_COMPARISON}
"""Where a stage has a challenger: its comparison, of which the champion and who was refused have a version."""
TRAIN_AGAIN = "train again: persona run, or the assets of the stage"
LOGGED = "models:/"
"""What the source of a version begins with; the id of the logged model follows. Versions before MLflow 3 have another."""
HISTORY_TAG = "champion.history"
KEPT_ENTRIES = 20
KEPT_OF_A_REASON = 170
"""A tag holds 5,000 characters."""


Loaded = TypeVar("Loaded")


class TrackingError(ProjectError):
    """MLflow does not do what it was asked for; the message says what stays as it was."""


@dataclass(frozen=True)
class Reign:
    """One entry of the champions' history: since when, by whom (``gate`` or ``person``), why, and whether as a way back."""

    version: str
    since: str
    by: str
    reason: str
    rollback: bool = False

    def line(self) -> str:
        """As a person reads it, and ``read`` does."""
        return f"{self.since} version {self.version} by {self.by}{', way back' if self.rollback else ''}: {self.reason}"

    @classmethod
    def read(cls, line: str) -> Reign:
        """Raises ValueError where it is no line of the history."""
        found = re.fullmatch(r"(\S+ \S+) version (\S+) by (\w+)(, way back)?: (.*)", line)
        if found is None:
            raise ValueError(f"{line!r}: expected a line such as '2025-10-13 04:15:00 version 3 by gate: promoted: ...'")
        return cls(found[2], found[1], found[3], found[5], found[4] is not None)


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
    if _nothing_yet(settings):
        return []
    configure(settings)
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    champion_version = _version_by_alias(settings, stage, CHAMPION)
    found = [
        Version(
            str(entry.version),
            dt.datetime.fromtimestamp(entry.creation_timestamp / 1000, dt.UTC).replace(tzinfo=None),
            entry.description or "",
            dict(entry.tags),
            str(entry.version) == champion_version,
        )
        for entry in client.search_model_versions(f"name='{name}'")
    ]
    return sorted(found, key=lambda entry: -int(entry.version))


def history(settings: Settings, stage: str) -> list[Reign]:
    """The champions of a stage, oldest first."""
    if _nothing_yet(settings):
        return []
    configure(settings)
    import mlflow

    try:
        tags = mlflow.MlflowClient().get_registered_model(model_name(settings, stage)).tags
    except mlflow.exceptions.MlflowException:
        return []
    return reigns_of(tags.get(HISTORY_TAG, ""))


def reigns_of(text: str) -> list[Reign]:
    """The champions that a tag tells of, a line each; versions before 0.2 wrote them as JSON."""
    if text.startswith("["):
        return [Reign(**entry) for entry in json.loads(text)]
    return [Reign.read(line) for line in text.splitlines()]


def _nothing_yet(settings: Settings) -> bool:
    """Whether MLflow has no store yet: to ask it would make one."""
    return settings.mlflow_is_local and not settings.mlflow_file.exists()


@dataclass(frozen=True)
class Chosen:
    """Which version of a stage's model is taken from now on, by whom (``gate``, ``training`` or ``person``) and why."""

    version: str
    chosen_by: str
    reason: str
    way_back: bool = False


def choose(store: Warehouse, stage: str, chosen: Chosen) -> None:
    """Take a version from now on; MLflow's alias follows when the tables made with it are published. Call inside a transaction."""
    champions = store.table(contracts.CHAMPIONS)
    row = pd.DataFrame([{"stage": stage, **asdict(chosen), "since": dt.datetime.now(dt.UTC).replace(tzinfo=None, microsecond=0)}])
    with store.scratch():
        others = store.keep("other_champions", champions.filter(champions.stage != stage))
        store.replace(contracts.CHAMPIONS, others)
        store.append(contracts.CHAMPIONS, from_frame(row))


def chosen(store: Warehouse, settings: Settings, stage: str) -> Chosen | None:
    """The version that is taken from now on; None before the first training.

    An alias that was moved in MLflow by hand counts: where it is no longer where the last publication left it.
    """
    written = _written(store, stage)
    alias, reigns = champion_version(settings, stage), history(settings, stage)
    last = reigns[-1] if reigns else None
    if written is None:
        return None if alias is None else Chosen(alias, last.by if last else "person", last.reason if last else "the alias of MLflow")
    if alias is not None and last is not None and alias not in (last.version, written.version):
        return Chosen(alias, "person", "the alias champion was moved in MLflow")
    return written


def stage_of_target(target: str) -> str:
    """The stage under which the model of a target of predictions is registered."""
    return PREDICTIONS + target.replace(" ", "_")


def predicted(store: Warehouse) -> dict[str, str]:
    """By the stages of targets the versions of the models that the predictions were made with."""
    if store.is_outdated(contracts.PREDICTION_QUALITY):
        return {}
    quality = store.table(contracts.PREDICTION_QUALITY)
    rows = store.tuples(
        quality.filter(quality.chosen & quality.model_version.notnull()).select("target", "model_version").order_by("target")
    )
    return {stage_of_target(target): version for target, version in rows}


def made_with(store: Warehouse, stage: str) -> str | None:
    """The version that the tables of a stage were made with; None where they have no rows."""
    contract, column = MADE_WITH[stage]
    return store.value(store.table(contract)[column].max())


def in_use(store: Warehouse, settings: Settings) -> dict[str, Chosen]:
    """By stage the version that the tables were made with; where they have no rows, the one that is taken from now on.

    The models of predictions are made with each scoring: what somebody has moved their aliases to counts until then.
    """
    found = {}
    for stage in MADE_WITH:
        taken = chosen(store, settings, stage)
        if taken is not None and made_with(store, stage) in (None, taken.version):
            found[stage] = taken
    for stage, version in predicted(store).items():
        written = _written(store, stage)
        if written is not None and written.version == version:
            found[stage] = written
    return found


def _written(store: Warehouse, stage: str) -> Chosen | None:
    """What the warehouse says is taken from now on."""
    champions = store.table(contracts.CHAMPIONS)
    rows = store.frame(champions.filter(champions.stage == stage).drop("stage", "since")).to_dict("records")
    return Chosen(**rows[0]) if rows else None


def require_version(settings: Settings, stage: str, version: str) -> None:
    """Raises ModelNotFoundError where there is no such version."""
    known = [entry.version for entry in versions(settings, stage)]
    if version not in known:
        raise ModelNotFoundError(f"no version {version} of {model_name(settings, stage)}; there are {', '.join(known) or 'none yet'}")


def crown(settings: Settings, stage: str, chosen: Chosen, challenger: str | None = None) -> bool:
    """Let the aliases follow, and write down since when and why. Returns whether there is another champion.

    ``previous`` is what a rollback would bring back. Done twice it changes nothing more: a publication may have to be finished by another
    process.

    Args:
        challenger: the version that was refused by the last comparison; None where there is none.
    """
    configure(settings)
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    moved = champion_version(settings, stage) != chosen.version
    if moved:
        client.set_registered_model_alias(name, CHAMPION, chosen.version)
    entries, reason = history(settings, stage), textwrap.shorten(chosen.reason, KEPT_OF_A_REASON, placeholder=" ...")
    if not entries or (entries[-1].version, entries[-1].reason) != (chosen.version, reason):
        since = f"{dt.datetime.now(dt.UTC):%Y-%m-%d %H:%M:%S}"
        entries = [*entries, Reign(chosen.version, since, chosen.chosen_by, reason, chosen.way_back)][-KEPT_ENTRIES:]
        client.set_registered_model_tag(name, HISTORY_TAG, "\n".join(entry.line() for entry in entries))
        client.update_registered_model(name, of_model(settings, stage, _shown(entries)))
    stack = _promotions(entries)
    _point(settings, stage, PREVIOUS, stack[-2] if len(stack) > 1 else None)
    _point(settings, stage, CHALLENGER, challenger if challenger != chosen.version else None)
    return moved


def forget(settings: Settings, stage: str, in_use: str) -> list[str]:
    """Delete the versions of a target of predictions to which nothing leads any more, with their files: every scoring makes one. Returns which.

    Those stay that have an alias or stand in the history of champions, which are the last ``KEPT_ENTRIES``, and any after the one in use, which a run
    may be about to publish. The runs that made them stay with their figures and pictures.

    Args:
        in_use: the version that the published scores were made with.
    Raises:
        TrackingError: MLflow does not delete them; the next publication tries again.
    """
    configure(settings)
    import mlflow
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    gone: list[str] = []
    try:
        named = {str(version) for version in client.get_registered_model(name).aliases.values()}
        named |= {reign.version for reign in history(settings, stage)}
        for entry in client.search_model_versions(f"name='{name}'"):
            version = str(entry.version)
            if version in named or int(version) >= int(in_use):
                continue
            # The files first: what is left of a version is then found and deleted once more.
            address = client.get_model_version_download_uri(name, version)
            get_artifact_repository(address.removesuffix("/artifacts")).delete_artifacts()
            shutil.rmtree(_kept(settings, name, version), ignore_errors=True)
            if (source := entry.source or "").startswith(LOGGED):
                client.delete_logged_model(source.removeprefix(LOGGED))
            client.delete_model_version(name, version)
            gone.append(version)
    except (mlflow.exceptions.MlflowException, OSError) as error:
        raise TrackingError(f"old versions of {name} stay: {' '.join(str(error).split())}") from None
    return gone


def _shown(entries: list[Reign]) -> pd.DataFrame:
    """The champions as a table for people, newest first."""
    return pd.DataFrame(
        [
            {"since": entry.since, "version": entry.version, "by": entry.by + (", way back" if entry.rollback else ""), "why": entry.reason}
            for entry in reversed(entries)
        ]
    )


def _point(settings: Settings, stage: str, alias: str, version: str | None) -> None:
    """Let an alias name a version, or none."""
    import mlflow

    client, name = mlflow.MlflowClient(), model_name(settings, stage)
    before = _version_by_alias(settings, stage, alias)
    if version is not None and version != before:
        client.set_registered_model_alias(name, alias, version)
    elif version is None and before is not None:
        client.delete_registered_model_alias(name, alias)


def _version_by_alias(settings: Settings, stage: str, alias: str) -> str | None:
    import mlflow

    try:
        return str(mlflow.MlflowClient().get_model_version_by_alias(model_name(settings, stage), alias).version)
    except mlflow.exceptions.MlflowException:
        return None


def refused(store: Warehouse, stage: str) -> str | None:
    """The version that the last comparison of a stage has refused and registered; None without one."""
    if stage not in COMPARED:
        return None
    table = store.table(COMPARED[stage])
    return store.value(table.filter(~table.champion).model_version.max())


def _promotions(entries: list[Reign]) -> list[str]:
    """Promotions laid one on the other, of which each rollback takes one away: so a second one goes further back, not forth again."""
    stack: list[str] = []
    for entry in entries:
        if entry.rollback and len(stack) > 1:
            stack.pop()
        elif not entry.rollback:
            stack.append(entry.version)
    return stack


def version_before(settings: Settings, stage: str) -> str:
    """The champion before the present one.

    Raises:
        ModelNotFoundError: there is no champion, or none before it.
    """
    reigns = _promotions(history(settings, stage))
    if not reigns:
        raise ModelNotFoundError(f"no champion of {model_name(settings, stage)} yet; materialise the assets that train it, or: persona run")
    if len(reigns) == 1:
        raise ModelNotFoundError(f"version {reigns[-1]} of {model_name(settings, stage)} has no champion before it")
    return reigns[-2]


def champion_version(settings: Settings, stage: str) -> str | None:
    """The version that MLflow's alias names; None before the first training."""
    if _nothing_yet(settings):
        return None
    configure(settings)
    return _version_by_alias(settings, stage, CHAMPION)


def model(settings: Settings, stage: str, version: str | None) -> RegisteredModel:
    """A version of a stage's model, its files in a local folder and as they were registered.

    Raises:
        ModelNotFoundError: nothing has been trained yet, or the files are gone or changed.
    """
    name = model_name(settings, stage)
    if version is None:
        raise ModelNotFoundError(f"no champion of {name} in MLflow yet; materialise the assets that train it, or: persona run")
    configure(settings)
    import mlflow

    try:
        registered = mlflow.MlflowClient().get_model_version(name, version)
        folder = data_folder(_local(settings, name, version))
        digest = digest_of_folder(folder)
    except (mlflow.exceptions.MlflowException, OSError, StoredModelError) as error:
        reason = " ".join(str(error).split())
        raise ModelNotFoundError(f"version {version} of {name}: its files cannot be read ({reason}); {TRAIN_AGAIN}") from None
    if digest != registered.tags.get(DIGEST_TAG, digest):
        raise ModelNotFoundError(f"version {version} of {name}: its files in {folder} are not those that were registered; {TRAIN_AGAIN}")
    return RegisteredModel(name, version, folder)


def of_champion(
    store: Warehouse, settings: Settings, stage: str, load: Callable[[Path], Loaded], otherwise: Callable[[str], None]
) -> Loaded | None:
    """What ``load`` reads from the files of the version that a training is held against.

    It is the one whose results were published last, or that a person has chosen since: what a run has chosen that died before it could
    publish was seen by nobody, and the next one makes what that one would have made.

    Returns:
        None before the first training, and where the files are gone, changed or of another version of this project: ``otherwise`` is told why.
    """
    written = chosen(store, settings, stage)
    version = written.version if written and written.chosen_by == "person" else champion_version(settings, stage)
    try:
        if version is None:
            if written is not None:
                require_version(settings, stage, written.version)  # a first run that died before it published has left its model
            return None
        return load(model(settings, stage, version).folder)
    except (ModelNotFoundError, StoredModelError) as error:
        otherwise(str(error))
        return None


def _local(settings: Settings, name: str, version: str) -> Path:
    """The folder of a version: where it lies, or a copy of it by version, fetched once."""
    import mlflow

    address = f"models:/{name}/{version}"
    if settings.mlflow_is_local:
        return Path(mlflow.artifacts.download_artifacts(address))  # local artifacts are used where they lie
    kept = _kept(settings, name, version)
    if not kept.exists():
        with folder_appearing(kept) as waiting:
            mlflow.artifacts.download_artifacts(address, dst_path=str(waiting))
    return kept


def _kept(settings: Settings, name: str, version: str) -> Path:
    """Where the copy of a version lies that a server has."""
    return settings.home / "models" / name / version


def data_folder(model_folder: Path) -> Path:
    """The folder of arrays and JSON inside a stored pyfunc model.

    Raises:
        StoredModelError: the model's description names none inside it.
    """
    import yaml

    try:
        data = str(yaml.safe_load((model_folder / "MLmodel").read_text())["flavors"]["python_function"]["data"])
    except (yaml.YAMLError, KeyError, TypeError):
        raise StoredModelError(f"{model_folder / 'MLmodel'}: names no folder of data") from None
    folder = (model_folder / data).resolve()
    if model_folder.resolve() not in folder.parents or not folder.is_dir():
        raise StoredModelError(f"{model_folder / 'MLmodel'}: found the folder {data!r}; expected one inside of the model")
    return folder
