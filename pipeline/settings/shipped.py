"""Where the files of `config/` lie that commands read by name: feature sets of radiomics, studies to start from.

In a checkout they lie beside the package. A wheel holds a copy of them inside the package (`setup.py`),
so that an installed command finds the same files.
"""

from __future__ import annotations

from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]


def shipped(folder: str, package: Path = PACKAGE) -> Path:
    """A folder of `config/`.

    Args:
        folder: Its name, such as `radiomics` or `studies`.
        package: The package's own folder.
    """
    beside = package.parent / "config" / folder
    return beside if beside.is_dir() else package / "shipped" / folder
