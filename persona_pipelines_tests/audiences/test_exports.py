"""Who leaves the house: those who have consented to marketing, and nobody else."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from persona_pipelines.audiences import exports
from persona_pipelines.audiences.exports import export_alike, export_audience, size
from persona_pipelines.audiences.saved import AudienceError, save
from persona_pipelines.privacy.pseudonyms import create_key
from persona_pipelines.settings import Settings
from persona_pipelines.warehouse import contracts
from persona_pipelines.warehouse.connection import DUCKDB_TYPES, Warehouse, from_frame
from persona_pipelines_tests.conftest import CLICKS

PEOPLE = {f"{number:032x}": number for number in range(1, 41)}
"""Pseudonyms; the number says how often somebody has bought, and those with an odd one have consented."""


@pytest.fixture
def settings(configure) -> Settings:
    made = configure(CLICKS)
    made.home.mkdir(parents=True, exist_ok=True)
    create_key(made.key_file)
    return made


def filled(contract: contracts.Table, count: int, **columns: object) -> pd.DataFrame:
    """Rows of a table that say nothing but some columns."""
    filler = {
        "string": "x",
        "int64": 0,
        "float64": 0.0,
        "boolean": False,
        "date": pd.Timestamp("2025-09-01"),
        "timestamp": pd.Timestamp("2025-09-01"),
    }
    assert filler.keys() == DUCKDB_TYPES.keys()
    return pd.DataFrame({column.name: [filler[column.type]] * count for column in contract.columns}).assign(**columns)


@pytest.fixture
def store(warehouse: Warehouse) -> Warehouse:
    number = list(PEOPLE.values())
    consenting = [one % 2 == 1 for one in number]
    profiles = filled(contracts.USER_PROFILES, len(PEOPLE), user_id=list(PEOPLE), frequency=number, consent_marketing=consenting)
    with warehouse.transaction():
        warehouse.replace(contracts.USER_PROFILES, from_frame(profiles))
        warehouse.replace(contracts.USERS, from_frame(filled(contracts.USERS, len(PEOPLE), user_id=list(PEOPLE))))
        warehouse.replace(contracts.USER_FEATURES, from_frame(filled(contracts.USER_FEATURES, len(PEOPLE), user_id=list(PEOPLE))))
    return warehouse


def exported(file: Path) -> list[int]:
    return [PEOPLE[user] for user in pd.read_csv(file, dtype=str)["user_id"]]


def test_an_audience_is_counted_with_and_without_consent_and_only_who_consented_is_written(store, settings, tmp_path) -> None:
    found = size(store, settings, "frequency <= 6")
    assert (found.users, found.consenting) == (6, 3)
    save(settings, "few", "frequency <= 6")
    told = export_audience(store, settings, "few", tmp_path / "few.csv")
    assert (told.users, told.consenting) == (6, 3)
    assert exported(tmp_path / "few.csv") == [1, 3, 5]
    with pytest.raises(AudienceError, match="no audience 'other'; there are few"):
        export_audience(store, settings, "other", tmp_path / "other.csv")
    assert not (tmp_path / "other.csv").exists()


def test_who_is_alike_is_written_by_likeness_without_the_seeds_and_without_who_has_not_consented(
    store, settings, tmp_path, monkeypatch
) -> None:
    """The model of the segments is a stand-in that sees how often somebody has bought; likeness is the project's own."""
    scaler = SimpleNamespace(transform=lambda features, shares: np.array([[float(PEOPLE[user])] for user in features["user_id"]]))
    monkeypatch.setattr(exports, "SegmentModel", SimpleNamespace(load=lambda folder: SimpleNamespace(scaler=scaler)))
    monkeypatch.setattr(exports, "model", lambda settings, stage, version: SimpleNamespace(folder=None))
    seeds = tmp_path / "seeds.csv"
    seeds.write_text("user\n" + "".join(f"{number:032x}\n" for number in range(1, 11)))
    found = export_alike(store, settings, seeds, 5, tmp_path / "alike.csv")
    assert (found.users, found.seeds, found.unknown) == (5, 10, 0)
    assert exported(tmp_path / "alike.csv") == [11, 13, 15, 17, 19]
