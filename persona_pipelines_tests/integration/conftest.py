"""What runs of the whole flow share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from persona_pipelines.profiles import predictions

WHOLE = ("test_sample", "test_public_data")
"""Where figures are judged that documents name, or that others have published: as users have them."""


@pytest.fixture(scope="module", autouse=True)
def _small_forests(request: pytest.FixtureRequest) -> Iterator[None]:
    """A quarter of the trees of predictions: what is asked here does not depend on how many there are."""
    with pytest.MonkeyPatch.context() as patch:
        if request.module.__name__.rpartition(".")[2] not in WHOLE:
            patch.setattr(predictions, "TREES", 30)
            patch.setattr(predictions, "BOOSTED_TREES", 40)
        yield
