"""Records that one service publishes and another takes over as they are. Their ids are pseudonyms already, which only a holder of the key can know:
the seal says so, and nobody without the key can make one."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from persona_pipelines.serving.received import InvalidEventError

SHAPE = "persona_pipelines.records"
PSEUDONYMS = "pseudonyms"
SEAL = "seal"


def sealed(records: Sequence[Mapping[str, Any]], key: bytes) -> bytes:
    """Records of the journal as a message: ``shape``, ``ids`` (that they are pseudonyms), ``records``, and the ``seal`` over all of it."""
    content: dict[str, Any] = {"shape": SHAPE, "ids": PSEUDONYMS, "records": list(records)}
    return orjson.dumps({**content, SEAL: _seal(content, key)})


def is_sealed(document: Any) -> bool:
    """Whether a message says that it is sealed; ``unsealed`` finds out."""
    return isinstance(document, dict) and document.get("shape") == SHAPE


def unsealed(document: Mapping[str, Any], key: bytes) -> list[dict[str, Any]]:
    """The records of a sealed message.

    Raises:
        InvalidEventError: it was not sealed with this key, or it has been changed since.
    """
    content = {name: value for name, value in document.items() if name != SEAL}
    seal = document.get(SEAL)
    if not isinstance(seal, str) or not hmac.compare_digest(seal.encode(), _seal(content, key).encode()):
        raise InvalidEventError(
            SEAL, seal, "the seal of these records by the key of this service: services that share records have one key file"
        )
    if content.get("ids") != PSEUDONYMS:
        raise InvalidEventError("ids", content.get("ids"), PSEUDONYMS)
    records: list[dict[str, Any]] = content["records"]
    return records


def _seal(content: Mapping[str, Any], key: bytes) -> str:
    """HMAC-SHA-512 (RFC 2104), in hexadecimal digits, of the content with its names in order. Pseudonyms are HMAC-SHA-256 with the same key: with that
    function a seal could be asked for as the pseudonym of an id that somebody chooses."""
    return hmac.new(key, orjson.dumps(content, option=orjson.OPT_SORT_KEYS), hashlib.sha512).hexdigest()
