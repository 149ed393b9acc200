"""The second page: filters and a comparison of two groups, in the browser alone. It holds sums over enough people and nothing else."""

from __future__ import annotations

import base64
import hashlib
import json

import pandas as pd
from markupsafe import Markup

from persona_pipelines.gallery.content import Gallery
from persona_pipelines.gallery.cube import OTHERS, SUMS, cube
from persona_pipelines.gallery.filling import asset_text, filled
from persona_pipelines.gallery.page import dates_of, foreseen_means, names_of
from persona_pipelines.gallery.texts import Language, texts_of
from persona_pipelines.profiles.forecasting import CHURN, PURCHASE


def explorer(gallery: Gallery, language: Language) -> str:
    """The whole page. Its only script is allowed by its digest; nothing is loaded from anywhere. The same data give the same bytes."""
    texts, names = texts_of(language), names_of(gallery, texts_of(language))
    found = cube(gallery.people, names, gallery.minimum)
    script = asset_text("explorer.js")
    words = {
        "users": texts("glance_users"),
        "reachable": texts("glance_reachable"),
        "spent": texts("glance_total"),
        "mean": texts("glance_value"),
        "likely": f"{texts('glance_likely')} ({texts('word_chance')}; {foreseen_means(gallery, PURCHASE, texts)})",
        "leaving": f"{texts('glance_leaving')} ({texts('word_chance')}; {foreseen_means(gallery, CHURN, texts)})",
        "none": texts("none"),
    }
    columns = [*found.dimensions, *SUMS]
    cells = [[None if pd.isna(value) else value for value in row] for row in found.cells[columns].astype(object).to_numpy().tolist()]
    data = {"dimensions": found.dimensions, "columns": columns, "cells": cells, "words": words, "language": language}
    return filled(
        "explorer.html",
        gallery,
        texts,
        dates=dates_of(gallery, texts),
        # What would end the element is written otherwise; a script of data is never run.
        data=Markup(json.dumps(data, ensure_ascii=False).replace("<", "\\u003c")),  # noqa: S704
        script=Markup(script),  # noqa: S704 - a file of this package
        digest=Markup("sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()),  # noqa: S704
        left_out=texts.count("explore_left_out", found.left_out) if found.left_out and found.left_out >= gallery.minimum else "",
        choices=[
            (name, texts(f"explore_{name}"), [(value, _shown(name, value, language)) for value in sorted(found.cells[name].unique())])
            for name in found.dimensions
        ],
    )


def _shown(dimension: str, value: str, language: Language) -> str:
    texts = texts_of(language)
    if value == OTHERS:
        return texts("explore_others")
    if value == "":
        return texts("explore_unknown")
    if dimension == "stage":
        return texts(f"stage_{value.replace(' ', '_')}")
    return texts(f"explore_{value}") if dimension in ("bought", "reachable") else value
