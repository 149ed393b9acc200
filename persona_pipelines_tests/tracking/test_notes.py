"""What MLflow's pages say of a configuration."""

from __future__ import annotations

import pandas as pd
import pytest

from persona_pipelines.tracking.notes import of_experiment, of_model
from persona_pipelines_tests.conftest import CLICKS


@pytest.mark.parametrize(
    ("description", "told"),
    [
        ("", "of the configuration **test**."),
        ("Raw logs of a shop,\nsix weeks.", "of the configuration **test**: Raw logs of a shop, six weeks."),
    ],
)
def test_the_pages_say_what_the_logs_are(configure, description: str, told: str) -> None:
    settings = configure(CLICKS, description=description)
    assert of_experiment(settings, "segments", "1").endswith(told)
    assert told.removeprefix("of ") in of_model(settings, "segments", pd.DataFrame())
