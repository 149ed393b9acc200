"""A home with everything in it, as a release has left it, for the commands that read."""

from __future__ import annotations

import csv
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import duckdb
import pytest
from click.testing import Result

from persona_pipelines.privacy.pseudonyms import load_key, pseudonym
from persona_pipelines_tests.integration.running import asked, at_home

RELEASES = Path(__file__).parents[1] / "home" / "releases"


class Told:
    """A small shop with its state; commands are given in its folder, for its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home = folder, folder / "home"

    def asked(self, *arguments: str, named: bool = True, **environment: str) -> Result:
        """A command's answer.

        Args:
            named: whether the configuration is named behind it.
        """
        config = ("--config", "persona.yaml") if named else ()
        return asked(self.folder, at_home(self.home) | environment, *arguments, *config)

    def rows(self, query: str) -> list[tuple]:
        with duckdb.connect(str(self.home / "published.duckdb"), read_only=True) as connection:
            return connection.execute(query).fetchall()

    def person(self) -> str:
        """The raw id of somebody who has a profile and a list."""
        key = load_key(self.home / "pseudonym.key")
        listed = {
            row[0]
            for row in self.rows("FROM recommendations.recommendations SEMI JOIN profiles.user_profiles USING (user_id) SELECT user_id")
        }
        with (self.folder / "raw" / "customers.csv").open() as stream:
            return next(row["customer"] for row in csv.DictReader(stream) if pseudonym(row["customer"], key) in listed)


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    with tarfile.open(max(RELEASES.glob("*.tar.xz"))) as archive:
        archive.extractall(folder, filter="data")
    (folder / "home" / "pseudonym.key").chmod(0o600)
    return folder


@pytest.fixture(scope="module")
def told(unpacked: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    """For commands that leave the home as it is, and those that save audiences."""
    return _copied(unpacked, tmp_path_factory.mktemp("read"))


@pytest.fixture
def changed(unpacked: Path, tmp_path: Path) -> Told:
    """For commands that change the home."""
    return _copied(unpacked, tmp_path)


def _copied(folder: Path, to: Path) -> Told:
    shutil.copytree(folder, to, dirs_exist_ok=True)
    return Told(to)


@pytest.fixture
def pasted() -> Callable[[str], str]:
    """The words of a text without how they stand on lines."""
    return lambda text: " ".join(text.split())
