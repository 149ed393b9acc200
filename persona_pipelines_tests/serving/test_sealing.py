"""Records of another service are known by their seal, not by their looks."""

from typing import Any

import orjson
import pytest

from persona_pipelines.privacy.pseudonyms import pseudonym
from persona_pipelines.serving.received import InvalidEventError
from persona_pipelines.serving.sealing import is_sealed, sealed, unsealed
from persona_pipelines_tests.serving.conftest import KEY

RECORDS: list[dict[str, Any]] = [{"event_id": "e1", "user_id": "f" * 32, "value": 0.1}, {"event_id": "e2", "item_id": "Bücher"}]


def test_what_was_sealed_comes_back_as_it_was() -> None:
    document = orjson.loads(sealed(RECORDS, KEY))
    assert is_sealed(document)
    assert document["ids"] == "pseudonyms"
    assert unsealed(document, KEY) == RECORDS


def test_the_order_of_names_does_not_matter() -> None:
    document = orjson.loads(sealed(RECORDS, KEY))
    assert unsealed(dict(reversed(document.items())), KEY) == RECORDS


@pytest.mark.parametrize("change", [{"records": RECORDS[:1]}, {"ids": "raw"}, {"seal": None}, {"seal": "ü"}, {"more": 1}])
def test_what_was_changed_is_refused(change: dict) -> None:
    with pytest.raises(InvalidEventError, match=r"^seal: found .*; expected the seal of these records by the key of this service"):
        unsealed({**orjson.loads(sealed(RECORDS, KEY)), **change}, KEY)


def test_another_key_is_refused() -> None:
    with pytest.raises(InvalidEventError):
        unsealed(orjson.loads(sealed(RECORDS, KEY)), KEY[::-1])


def test_no_pseudonym_is_a_part_of_a_seal() -> None:
    """Whoever may send events sees pseudonyms of ids of their choice."""
    document = orjson.loads(sealed([], KEY))
    content = orjson.dumps({name: value for name, value in document.items() if name != "seal"}, option=orjson.OPT_SORT_KEYS)
    assert pseudonym(content.decode(), KEY) not in document["seal"]


@pytest.mark.parametrize("document", [[], "text", None, {}, {"shape": "own"}])
def test_other_messages_are_no_sealed_ones(document: object) -> None:
    assert not is_sealed(document)
