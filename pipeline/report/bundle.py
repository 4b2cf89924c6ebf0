"""The bundle that was packed with a study: its identity and its model card on the study's page."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pipeline.provenance import file_sha256
from pipeline.tables.failures import damage

IDENTITY, MANIFEST, MODEL_CARD = "ID", "manifest.json", "MODEL_CARD.md"
"""Files of a bundle; the first holds the SHA-256 of the second."""


@dataclass(frozen=True)
class PackedBundle:
    """A bundle as the page shows it.

    Attributes:
        identity: SHA-256 of its manifest, by which predictions name it.
        card: Its model card, Markdown.
    """

    identity: str
    card: str


def packed_bundle(folder: Path | None) -> PackedBundle | None:
    """Read a bundle's identity and model card; None where the study's report shows none.

    Raises:
        DamageError: The manifest is not the one that `ID` names, or a file is missing.
    """
    if folder is None:
        return None
    for name in (IDENTITY, MANIFEST, MODEL_CARD):
        if not (folder / name).is_file():
            raise damage(folder / name, "a file of the bundle", "none", remove=folder)
    written = (folder / IDENTITY).read_text(encoding="utf-8").strip()
    identity = file_sha256(folder / MANIFEST)
    if written != identity:
        raise damage(folder / MANIFEST, f"SHA-256 {written[:16]}…", f"{identity[:16]}…", remove=folder)
    return PackedBundle(identity, (folder / MODEL_CARD).read_text(encoding="utf-8"))
