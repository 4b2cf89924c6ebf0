"""Slices that a series announces, against those that arrived: losses at its ends leave no gap."""

from __future__ import annotations

from dataclasses import dataclass, field

from pydicom.dataset import Dataset

from pipeline.dicom.header.values import integer_of
from pipeline.errors import DicomError
from pipeline.settings.dicom import ConvertSettings

# Elements that count one series' slices, and those that may count other series', too.
_SURE = {"NumberOfSlices": "(0054,0081) Number of Slices"}
_LIKELY = {
    "NumberOfSeriesRelatedInstances": "(0020,1209) Number of Series Related Instances",
    "ImagesInAcquisition": "(0020,1002) Images in Acquisition",
}


@dataclass
class Announced:
    """Greatest counts that the files of a series give, by element."""

    counts: dict[str, int] = field(default_factory=dict)
    files: int = 0

    def read(self, dataset: Dataset) -> None:
        """Take note of one file's counts."""
        self.files += 1
        for keyword, name in (_SURE | _LIKELY).items():
            count = integer_of(dataset, keyword)
            if count is not None:
                self.counts[name] = max(count, self.counts.get(name, 0))

    def check(self, slices: int, where: str, settings: ConvertSettings) -> list[str]:
        """Warnings of a series of some slices that announces more.

        Raises:
            DicomError: (0054,0081) says that slices are missing, and the settings refuse it.
        """
        short = [name for name in _SURE.values() if self.counts.get(name, 0) > slices]
        if short and settings.incomplete == "refuse":
            raise DicomError(
                f"{self.counts[short[0]] - slices} slices are missing at the ends of the series",
                where=f"{where}, {short[0]}",
                expected=f"{self.counts[short[0]]} slices",
                got=str(slices),
                action="send the whole series, or set convert.incomplete: warn if it was cut on purpose",
            )
        # One enhanced file holds many slices, and is one instance.
        short += [n for n in _LIKELY.values() if self.files == slices and self.counts.get(n, 0) > slices]
        return [
            f"{where}: {name} says {self.counts[name]}, {slices} arrived; the series may be cut at its ends"
            for name in short
        ]
