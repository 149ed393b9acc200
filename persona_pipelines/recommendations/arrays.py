"""Arrays and sparse matrices as plain files: read in an instant, mapped into memory, shared by whoever reads them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from persona_pipelines.errors import StoredModelError

PARTS = ("data", "indices", "indptr")


def save_arrays(folder: Path, arrays: Mapping[str, np.ndarray | sp.csr_matrix]) -> None:
    """Each array as ``NAME.npy``, each CSR matrix as a folder ``NAME`` of its parts; no pickle.

    Args:
        folder: made where it is not there.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in arrays.items():
        if sp.issparse(value):
            parts = {part: getattr(value, part) for part in PARTS} | {"shape": np.array(value.shape)}
            save_arrays(folder / name, parts)
        else:
            np.save(folder / f"{name}.npy", value, allow_pickle=False)


def load_arrays(folder: Path) -> dict[str, Any]:
    """What ``save_arrays`` has written, by name, for reading.

    Raises:
        StoredModelError: a file is gone or damaged.
    """
    try:
        found: dict[str, Any] = {file.stem: _mapped(file) for file in sorted(folder.glob("*.npy"))}
        for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
            parts = {part: _mapped(inner / f"{part}.npy") for part in (*PARTS, "shape")}
            found[inner.name] = sp.csr_matrix(tuple(parts[part] for part in PARTS), shape=tuple(parts["shape"]))
    except (OSError, ValueError, EOFError) as error:
        raise StoredModelError(f"{folder}: no arrays that can be read ({error})") from None
    return found


def _mapped(file: Path) -> np.ndarray:
    # As plain arrays: every access to a mapped one costs; what is mapped stays shared.
    return np.asarray(np.load(file, mmap_mode="r", allow_pickle=False))
