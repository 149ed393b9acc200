"""The worked examples in the documentation come out as they say."""

import doctest
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize("name", ["worked-examples.md"])
def test_the_worked_examples_come_out_as_they_say(name: str) -> None:
    with np.printoptions(legacy=False):
        found = doctest.testfile(str(DOCS / name), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 20
    assert found.failed == 0
