"""What tests of predictions share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persona_pipelines.profiles import predictions


@pytest.fixture(scope="package", autouse=True)
def _small_forests() -> Iterator[None]:
    """A quarter of the trees: the rules by which models are judged, kept and stored are the same for all sizes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictions, "TREES", 30)
        yield
