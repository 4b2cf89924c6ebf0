"""Whether a PET lies on the CT that it was scanned with: moved, or mirrored left to right?

Headers say where an image lies, and a wrong header, a patient who moved between the scans or a mirrored
array put the uptake beside the anatomy without any other sign. The PET is therefore moved and mirrored
against the CT: where it fits clearly better elsewhere, a person has to look.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.registration.body_mask import BodyImage
from pipeline.settings.geometry import RegistrationSettings
from pipeline.volumes.grids import index_map
from pipeline.volumes.volume import FloatArray, Volume

SAMPLED_VOXELS = 20_000
"""Voxels of the CT's grid that are compared, about: enough for a histogram of 32 × 24 cells."""
REACH_MM = 24.0
"""Greatest shift along an axis that is tried."""
CT_EDGES_HU = np.linspace(-1000.0, 1000.0, 33)[1:-1]
PET_LEVELS, PET_HIGH = 24, 9.0
"""Cells of the PET's histogram; they are even in the square root of uptake, up to nine times the body's median."""
BODY_UPTAKE = 0.15
"""Share of the body's own median uptake from which a voxel is body, as in the stage `suv`."""
_ROUNDS, _START_PERCENTILE, _START_SHARE = 8, 99.0, 0.02


@dataclass(frozen=True)
class PetOnCt:
    """How well a PET fits its CT as it lies, moved, and mirrored.

    Fit is mutual information of CT and PET over the mean of both entropies, in voxels that are body in
    either image (0: independent, 1: each determines the other).

    Attributes:
        fit: As the PET lies.
        shift_mm: Shift of the PET (LPS x, y, z) by which it fits best.
        fit_shifted: After that shift.
        fit_mirrored: Best fit of the PET mirrored about the middle of its field of view along x, moved likewise.
    """

    fit: float
    shift_mm: tuple[float, float, float]
    fit_shifted: float
    fit_mirrored: float

    def facts(self) -> dict[str, Any]:
        """As plain values for `quality.json`."""
        return {name: np.round(value, 4).tolist() for name, value in asdict(self).items()}

    def warnings(self, settings: RegistrationSettings) -> list[str]:
        """A sentence for each reason to look at PET and CT; none where the PET fits as it lies."""
        if self.fit_mirrored > (1 + settings.min_mirror_gain) * self.fit_shifted:
            return [
                "the PET fits the CT better when it is mirrored left to right (fit "
                f"{self.fit_mirrored:.2f}, as it lies {self.fit:.2f}): compare the sides of both images"
            ]
        length = float(np.linalg.norm(self.shift_mm))
        if length < settings.max_pet_shift_mm or self.fit_shifted <= (1 + settings.min_shift_gain) * self.fit:
            return []
        x, y, z = (f"{value:+.0f}" for value in self.shift_mm)
        return [
            f"the PET fits the CT better when it is moved by {length:.0f} mm ({x}, {y}, {z} mm along x, y, z; fit "
            f"{self.fit_shifted:.2f}, as it lies {self.fit:.2f}): the patient moved, or an image's position is wrong"
        ]


def pet_on_ct(ct: BodyImage, pet: Volume, to_pet: FloatArray) -> PetOnCt:
    """Compare a PET with its CT as it lies, moved along each axis, and mirrored.

    Args:
        ct: The CT's body on a coarse grid.
        pet: The PET (z, y, x) on a coarse grid, in any unit proportional to activity.
        to_pet: 4×4, CT points to PET points (LPS mm); the identity in a shared frame of reference.
    """
    images = _Sampled.of(ct, pet, to_pet)
    shift, shifted = images.best_shift()
    mirrored = images.mirrored().best_shift()[1]
    step = np.asarray(pet.grid.spacing_mm) * shift
    # Uptake found at `p + step` belongs at `p`: the PET is to be moved the other way.
    x, y, z = (float(0.0 - value) for value in (np.asarray(pet.grid.direction).reshape(3, 3) @ step[::-1]))
    return PetOnCt(images.fit(np.zeros(3, dtype=int)), (x, y, z), shifted, mirrored)


@dataclass(frozen=True)
class _Sampled:
    """Grey levels of the CT at n points, and where each lies in the PET.

    Attributes:
        ct: (n,) cell of the CT's histogram.
        in_body: (n,) whether the point is body on the CT.
        index: (3, n) PET voxel (z, y, x) of each point, perhaps outside of the PET.
        pet: (z, y, x) cell of the PET's histogram.
        pet_body: (z, y, x) whether a voxel is body by its uptake.
        reach: (3,) greatest shift that is tried, in voxels of the PET.
    """

    ct: npt.NDArray[np.int64]
    in_body: npt.NDArray[np.bool_]
    index: npt.NDArray[np.int64]
    pet: npt.NDArray[np.int64]
    pet_body: npt.NDArray[np.bool_]
    reach: npt.NDArray[np.int64]

    @classmethod
    def of(cls, ct: BodyImage, pet: Volume, to_pet: FloatArray) -> _Sampled:
        """Sample the CT on every n-th voxel of each axis."""
        step = max(1, int(np.ceil((ct.image.size / SAMPLED_VOXELS) ** (1 / 3))))
        every = (slice(None, None, step),) * 3
        matrix = index_map(pet.grid, ct.grid, to_pet)
        voxels = np.indices(ct.image[every].shape).reshape(3, -1) * step
        median, body = _body_uptake(pet.array)
        level = np.sqrt(np.clip(pet.array / median, 0.0, PET_HIGH)) / np.sqrt(PET_HIGH)
        return cls(
            ct=np.digitize(ct.image[every].ravel(), CT_EDGES_HU),
            in_body=ct.mask[every].ravel(),
            index=np.rint(matrix[:3, :3] @ voxels + matrix[:3, 3:]).astype(np.int64),
            pet=np.minimum((level * PET_LEVELS).astype(np.int64), PET_LEVELS - 1),
            pet_body=body,
            reach=np.rint(REACH_MM / np.asarray(pet.grid.spacing_mm)).astype(np.int64),
        )

    def mirrored(self) -> _Sampled:
        """The same with the PET's array turned round along x."""
        return _Sampled(
            self.ct, self.in_body, self.index, self.pet[:, :, ::-1], self.pet_body[:, :, ::-1], self.reach
        )

    def fit(self, shift: npt.NDArray[np.int64]) -> float:
        """Fit of the PET read `shift` voxels (z, y, x) further on; 0 where the images share no body."""
        place = self.index + shift[:, None]
        inside = ((place >= 0) & (place < np.array(self.pet.shape)[:, None])).all(axis=0)
        where = tuple(place[:, inside])
        either = self.in_body[inside] | self.pet_body[where]
        cells = self.ct[inside][either] * PET_LEVELS + self.pet[where][either]
        joint = np.bincount(cells, minlength=(len(CT_EDGES_HU) + 1) * PET_LEVELS).reshape(-1, PET_LEVELS)
        return _information(joint / max(1, joint.sum()))

    def best_shift(self) -> tuple[npt.NDArray[np.int64], float]:
        """The shift (z, y, x voxels) of the best fit, axis by axis until none is better, and that fit."""
        best, fit = np.zeros(3, dtype=np.int64), self.fit(np.zeros(3, dtype=np.int64))
        for _ in range(_ROUNDS):
            before = best
            for axis in range(3):
                for voxels in range(-int(self.reach[axis]), int(self.reach[axis]) + 1):
                    tried = best.copy()
                    tried[axis] = voxels
                    if voxels != best[axis] and (value := self.fit(tried)) > fit:
                        best, fit = tried, value
            if (best == before).all():
                break
        return best, fit


def _body_uptake(values: npt.NDArray[Any]) -> tuple[float, npt.NDArray[np.bool_]]:
    """Median uptake of the body, and the voxels above a share of it."""
    least = _START_SHARE * float(np.percentile(values, _START_PERCENTILE))
    for _ in range(_ROUNDS):
        above = values[values > least]
        if not len(above):
            break
        least = BODY_UPTAKE * float(np.median(above))
    body = values > least
    return (float(np.median(values[body])) if body.any() else 1.0), np.asarray(body, dtype=np.bool_)


def _information(share: FloatArray) -> float:
    """Mutual information of a joint histogram over the mean of both entropies."""
    entropies = _entropy(share.sum(axis=0)) + _entropy(share.sum(axis=1))
    return float(2.0 * (entropies - _entropy(share)) / entropies) if entropies > 0 else 0.0


def _entropy(share: FloatArray) -> float:
    filled = share[share > 0]
    return float(-(filled * np.log(filled)).sum())
