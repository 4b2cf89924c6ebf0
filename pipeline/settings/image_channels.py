"""Which images a study asks for: its crops' channels, and what every other section then may and may not do."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.settings.root import Settings


def require_channels(settings: Settings) -> None:
    """The images that crops hold are asked of every patient, and no stage needs another one."""
    channels, source = settings.crop.channels, settings.cohort.source
    if source not in ("dicom", "nifti"):
        if channels != type(settings.crop).model_fields["channels"].default:
            raise ValueError(f"crop.channels is for dicom and nifti images, got cohort.source: {source}")
        return
    patterns = {"pet": settings.cohort.nifti_pet, "ct": settings.cohort.nifti_ct}
    asked = (
        settings.index.modalities if source == "dicom" else tuple(k for k, text in patterns.items() if text)
    )
    key = "index.modalities" if source == "dicom" else "cohort.nifti_pet and cohort.nifti_ct"
    named = f"and {key} ask for {', '.join(asked) or 'no image'}"
    for channel in channels:
        if channel not in asked:
            raise ValueError(f"crop.channels has {channel!r}, {named}: a patient without it has no crop")
    registration = settings.registration
    if registration.method == "template" and registration.moving not in asked:
        raise ValueError(
            f"registration.moving is {registration.moving!r}, {named}: set registration.moving to an image that "
            "all patients have, or registration.method: none"
        )
    if len(channels) == 1:
        _require_stages_of_one_image(settings)


def _require_stages_of_one_image(settings: Settings) -> None:
    """With one image in the crops, nothing needs the other."""
    (channel,) = settings.crop.channels
    radiomics, contours = settings.radiomics, settings.contours
    if radiomics.enabled and radiomics.modalities != (channel,):
        raise ValueError(
            f"crop.channels: [{channel}] goes with radiomics.modalities: [{channel}] (or radiomics.enabled: false), "
            f"got [{', '.join(radiomics.modalities)}]"
        )
    needs_pet = {
        f"contours.auto_segment: {contours.auto_segment}": contours.auto_segment != "none",
        "contours.reference_roi": bool(contours.reference_roi),
        "radiomics.pet_fwhm_mm": bool(radiomics.pet_fwhm_mm),
        "radiomics.contours: [threshold]": "threshold" in settings.region_tables(),
    }
    for name, used in needs_pet.items():
        if channel == "ct" and used:
            raise ValueError(f"{name} is measured on the PET, which crop.channels: [ct] leaves out")
