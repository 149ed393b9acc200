"""Charts show all that there is, in few enough marks to be drawn at once and to be seen."""

from __future__ import annotations

import datetime as dt
import io

import numpy as np
import pandas as pd
import pytest
from matplotlib.patches import Rectangle
from PIL import Image

from persona_pipelines.charts import bars, drawn, probabilities, records_per_period

KINDS = ("events", "filtered", "duplicates", "rejects")


@pytest.mark.parametrize(
    ("days", "period"), [(1, "day"), (28, "day"), (121, "day"), (400, "week"), (3000, "month"), (8000, "quarter"), (20_000, "year")]
)
def test_the_records_of_any_span_are_drawn_in_few_bars_and_none_is_lost(days: int, period: str) -> None:
    begin = dt.date(1996, 1, 1)
    accounting = pd.DataFrame(
        [
            {"day": begin + dt.timedelta(days=day), "source": source, **dict.fromkeys(KINDS, 1)}
            for day in range(days)
            for source in ("a", "b")
        ]
    )
    (axes,) = records_per_period(accounting).axes
    assert axes.get_title(loc="left") == f"Records per {period}"
    assert len(axes.patches) <= 4 * 125
    assert sum(bar.get_height() for bar in axes.patches if isinstance(bar, Rectangle)) == 2 * len(KINDS) * days


def test_no_record_is_a_chart_without_bars() -> None:
    assert not records_per_period(pd.DataFrame(columns=["day", *KINDS])).axes[0].patches


def test_a_picture_is_drawn_once_small_and_in_its_colours() -> None:
    figure = bars(pd.Series({"a": 3, "b": 1}), "Bars")
    picture = drawn(figure)
    assert drawn(figure) is picture
    plain = io.BytesIO()
    figure.savefig(plain, format="png", dpi=90)
    assert len(picture) < len(plain.getvalue()) / 2
    shown, full = (np.asarray(Image.open(io.BytesIO(content)).convert("RGB"), dtype=int) for content in (picture, plain.getvalue()))
    assert shown.shape == full.shape
    assert np.abs(shown - full).mean() < 1
    assert shown[0, 0].min() >= 254


def test_the_four_pictures_of_probabilities_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import precision_recall_curve, roc_curve

    generator = np.random.default_rng(3)
    said = generator.random(300).round(1)  # with ties
    happened = generator.random(300) < said
    panels = {axes.get_title(loc="left"): axes.lines[-1].get_xydata() for axes in probabilities(said, happened, "t").axes}
    false, true, _ = roc_curve(happened, said, drop_intermediate=False)
    assert np.allclose(panels["ROC"], np.column_stack([false, true]))
    precision, recall, _ = precision_recall_curve(happened, said)
    assert np.allclose(panels["precision and recall"], np.column_stack([recall, precision])[:-1][::-1])
    assert np.allclose(panels["lift"][-1], [1, 1])
    assert panels["lift"][:, 1].tolist() == panels["ROC"][:, 1].tolist()
    assert panels["calibration"][:, 0].mean() == pytest.approx(said.mean())
    assert panels["calibration"][:, 1].mean() == pytest.approx(happened.mean())


@pytest.mark.parametrize("happened", [True, False])
def test_probabilities_of_what_all_or_none_did_are_drawn(happened: bool) -> None:
    assert drawn(probabilities(np.full(7, 0.5), np.full(7, happened), "t"))
