"""What is installed: the lock has what is declared, in the versions of the constraints."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]


def pinned(file: Path) -> dict[str, str]:
    """Versions by name."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^ ;\\\n]+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def test_the_lock_has_the_versions_of_the_constraints_with_their_hashes() -> None:
    lock, constraints = pinned(ROOT / "requirements.lock"), pinned(ROOT / "constraints.txt")
    assert len(lock) > 100
    assert {name: (version, constraints[name]) for name, version in lock.items() if constraints.get(name, version) != version} == {}
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")
    assert text.count("--hash=sha256:") > len(lock)
    assert "://" not in text


def test_the_lock_has_all_that_is_declared() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["ui"], *project["optional-dependencies"]["dev"]]
    names = {re.sub(r"[-_.]+", "-", re.match(r"[A-Za-z0-9._-]+", entry)[0]).lower() for entry in declared}
    assert names - pinned(ROOT / "requirements.lock").keys() == set()
