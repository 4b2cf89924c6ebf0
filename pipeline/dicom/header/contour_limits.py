"""How large an RTSTRUCT may be: more than any person or program draws would fill the memory, or take hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import ContourError
from pipeline.volumes.volume import FloatArray


@dataclass(frozen=True)
class ContourLimits:
    """Limits of one file, and of one ROI.

    Attributes:
        file_mib: Size of the file.
        contours: largest number of contours of one ROI.
        points: largest number of points of one ROI, all contours together.
        per_plane: Contours of one ROI in one axial plane; each is compared with each.
        comparisons: Points times contours of their plane, added up over all planes: what comparing them takes.
    """

    file_mib: int = 128
    contours: int = 20_000
    points: int = 5_000_000
    per_plane: int = 200
    comparisons: int = 40_000_000

    def require_file(self, path: Path, label: str) -> None:
        """Refuse a file before it is read.

        Raises:
            ContourError: It is too large.
        """
        size = path.stat().st_size
        if size > self.file_mib << 20:
            _refuse(
                "an RTSTRUCT is too large", label, f"{self.file_mib} MiB", f"{size >> 20} MiB", "max_file_mib"
            )

    def require_count(self, contours: int, where: str) -> None:
        """Refuse an ROI before its points are read.

        Raises:
            ContourError: It has too many contours.
        """
        if contours > self.contours:
            _refuse("an ROI has too many contours", where, str(self.contours), str(contours), "max_contours")

    def require_points(self, contours: Sequence[FloatArray], where: str) -> None:
        """Refuse an ROI before its contours are filled.

        Raises:
            ContourError: It has too many points, too many contours in one plane, or too much to compare.
        """
        points = sum(len(contour) for contour in contours)
        if points > self.points:
            _refuse("an ROI has too many points", where, str(self.points), str(points), "max_points")
        planes: Counter[float] = Counter()
        plane_points: Counter[float] = Counter()
        for contour in contours:
            height = round(float(contour[0, 2]), 1)
            planes[height] += 1
            plane_points[height] += len(contour)
        most = max(planes.values(), default=0)
        if most > self.per_plane:
            problem = "an ROI has too many contours in one plane"
            _refuse(problem, where, str(self.per_plane), str(most), "max_contours_per_plane")
        work = sum(planes[height] * plane_points[height] for height in planes if planes[height] > 1)
        if work > self.comparisons:
            problem = "an ROI has too many points in planes of several contours"
            _refuse(problem, where, f"{self.comparisons} comparisons", str(work), "max_comparisons")


def _refuse(problem: str, where: str, limit: str, got: str, setting: str) -> None:
    raise ContourError(
        problem,
        where=where,
        expected=f"at most {limit}",
        got=got,
        action=f"choose another ROI or export it again; raise contours.{setting} if it is meant",
    )
