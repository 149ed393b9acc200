"""What ``/openapi.json`` says is so: of every address, requests that it describes and others are answered as it says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import given
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.config import SchemathesisConfig
from schemathesis.python.asgi import shutdown_lifespans
from schemathesis.schemas import APIOperation, BaseSchema
from schemathesis.specs.openapi.checks import negative_data_rejection, positive_data_acceptance

from persona_pipelines.serving.engine import Engine
from persona_pipelines.serving.journal import Journal
from persona_pipelines.serving.service import EVENTS, app_of
from persona_pipelines_tests.conftest import law

LOCAL = {"host": "127.0.0.1"}
REFUSED = {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 413, 415, 422]}}}
"""How a request may be answered that is not as it is described."""


@pytest.fixture
def described(engine_of: Callable[..., Engine], tmp_path: Path) -> Iterator[BaseSchema]:
    """What the service over the shop says of itself, and how it is asked."""
    journal = Journal(tmp_path / "events", lambda: dt.datetime.now(dt.UTC).date())
    app = app_of(engine_of(now=dt.datetime.now(dt.UTC).replace(tzinfo=None)), journal)
    yield schemathesis.openapi.from_asgi("/openapi.json", app, config=SchemathesisConfig.from_dict(REFUSED), headers=LOCAL)
    shutdown_lifespans()
    journal.close()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_every_address_answers_as_it_is_described(described: BaseSchema, mode: GenerationMode) -> None:
    wrong = [found for operation in described.get_all_operations() if (found := _faults(operation.ok(), mode))]
    assert not wrong, "\n\n".join(wrong)


def _faults(operation: APIOperation, mode: GenerationMode) -> str | None:
    """What is wrong with the answers of an address; None for nothing."""

    @law(200)
    @given(case=operation.as_strategy(mode))
    def answered(case: schemathesis.Case) -> None:
        case.call_and_validate(headers=LOCAL, excluded_checks=unsaid)

    # Of events more is taken than is described (numbers as texts, null for nothing), and less: which moments they may be of changes with the clock.
    unsaid: list[Any] = [positive_data_acceptance, negative_data_rejection] if operation.path == EVENTS else []
    try:
        answered()
    except Unsatisfiable:  # nothing can be wrong where nothing is asked
        return None
    except BaseExceptionGroup as errors:
        return f"{operation.label}: {[str(error) for error in errors.exceptions]}"
    return None
