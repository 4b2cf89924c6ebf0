"""What one fold's training is told."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from pipeline.settings.network import Network
from pipeline.settings.training import TrainingSettings


@dataclass(frozen=True)
class FoldJob:
    """One network in one fold.

    Attributes:
        model: Name the study gives the network.
        network: Its settings.
        training: The training section with the network's own overrides.
        crops: Folder of the crop stores, `{patient_id}.zarr`.
        outcomes: `cohort.parquet`.
        splits: `splits.json`.
        fold: Number of the fold, from 0.
        horizons_days: Times of the predicted survival probabilities.
        seed: Of the study.
        threads: CPU threads; results repeat bit for bit for the same number of threads.
        work: Folder for the checkpoint of a run that is under way. It must not be an output
            of the rule: Snakemake deletes a failed job's outputs.
        initial: `checkpoint.pt` of another model whose weights are the start
            (`training.pretrained_from`), or None.
    """

    model: str
    network: Network
    training: TrainingSettings
    crops: Path
    outcomes: Path
    splits: Path
    fold: int
    horizons_days: tuple[float, ...]
    seed: int
    threads: int
    work: Path
    initial: Path | None = None

    def fold_seed(self) -> int:
        """Seed of this model in this fold: 48 bits of a hash, so that no two runs are alike."""
        text = f"{self.seed}\0{self.model}\0{self.fold}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:6], "big")
