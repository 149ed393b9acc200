"""What a mistyped name may mean."""

from __future__ import annotations

import pytest

from persona_pipelines.suggestions import suggestion


@pytest.mark.parametrize(
    ("found", "known", "meant"),
    [
        ("fetures", ["logs", "features"], "features"),
        ("FEATURES", ["logs", "features"], "features"),
        ("churn", ["churn_probability", "sessions"], "churn_probability"),
        ("events/session", ["events/sessions", "events/users"], "events/sessions"),
        ("events/session", ["logs/sessions"], None),
        ("attributes.size", ["attributes.joined", "attributes.age"], None),
        ("xyz", ["logs", "features"], None),
        ("", ["logs"], None),
        ("x", [], None),
    ],
)
def test_the_most_similar_name_is_asked_for(found: str, known: list[str], meant: str | None) -> None:
    assert suggestion(found, known) == (f" (did you mean {meant!r}?)" if meant else "")
