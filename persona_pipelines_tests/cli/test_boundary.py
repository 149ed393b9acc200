"""What the boundary of the command line makes of errors that are nobody's fault here."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from click.testing import CliRunner

from persona_pipelines.cli import main
from persona_pipelines.orchestration.runs import _innermost_text


def test_too_little_memory_is_no_fault(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much() -> str:
        raise MemoryError

    monkeypatch.setattr("persona_pipelines.warehouse.dictionary.data_dictionary", too_much)
    done = CliRunner().invoke(main, ["dictionary", str(tmp_path / "file.md")])
    assert done.exit_code == 1
    assert done.stderr.startswith("Error: out of memory. The tables keep")
    assert not (tmp_path / "file.md").exists()


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ("_duckdb.OutOfMemoryException: Out of Memory Error: failed to allocate 32.0 KiB\n", "32.0 KiB; raise warehouse.memory_limit"),
        ("OSError: [Errno 28] No space left on device\n", "No space left on device"),
    ],
)
def test_an_engine_out_of_memory_says_which_setting_to_raise(message: str, told: str) -> None:
    error = SimpleNamespace(message=message, cause=None)
    event = SimpleNamespace(event_specific_data=SimpleNamespace(error=error), message="")
    assert _innermost_text(event).endswith(told)  # type: ignore[arg-type]
