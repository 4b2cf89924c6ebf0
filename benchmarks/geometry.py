"""Whole-body size, from NIfTI to crop: this software beside the plain chain.

    python -m benchmarks.geometry [ours|plain|both] [--keep FOLDER]

A head, neck and trunk (512×512×299 CT at 0.98×0.98×3.27 mm, 168×168×299 PET at
4.07×4.07×3.27 mm) is written twice, the second time turned and moved. `ours` runs the rules
`register` and `crop` as their own processes do; `plain` resamples both images to 1 mm,
registers at 1 mm with the same program and levels (and its usual sampling of a fifth of the
voxels), resamples again and crops. Each chain runs
in a process of its own; wall time, processor time and peak memory are printed, and the error
of the alignment at the lesion.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

CT_SHAPE, CT_MM = (299, 512, 512), (3.27, 0.98, 0.98)
PET_SHAPE, PET_MM = (299, 168, 168), (3.27, 4.07, 4.07)
SHAPE = (112, 128, 128)
LESION = np.array([25.0, -30.0, 380.0])
ROOT = Path(__file__).resolve().parents[1]


def pose() -> np.ndarray:
    """4×4, template points to patient points: 8° about z, 5° about x, and a shift."""
    a, b = np.radians(8.0), np.radians(5.0)
    about_z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]])
    matrix = np.eye(4)
    matrix[:3, :3] = about_z @ about_x
    matrix[:3, 3] = (12.0, 25.0, -20.0)
    return matrix


def body(grid, matrix: np.ndarray) -> np.ndarray:
    """HU (z, y, x) of trunk, neck, head with bones and air, slice by slice."""
    back = np.linalg.inv(matrix)
    out = np.empty(grid.shape, dtype=np.int16)
    rng = np.random.default_rng(1)
    index = np.argwhere(np.ones((1, *grid.shape[1:])))
    for k in range(grid.shape[0]):
        points = grid.points(index + np.array([k, 0, 0])) @ back[:3, :3].T + back[:3, 3]
        x, y, z = points.T
        hu = np.full(len(points), -1000.0)
        trunk = ((x / 180) ** 2 + (y / 110) ** 2 < 1) & (z < 250)
        neck = ((x / 58) ** 2 + (y / 62) ** 2 < 1) & (z >= 240) & (z < 400)
        hu[trunk | neck] = 40
        for side in (-80, 80):
            hu[((x - side) / 55) ** 2 + (y / 70) ** 2 + ((z - 120) / 110) ** 2 < 1] = -850
        hu[((x / 75) ** 2 + (y / 95) ** 2 + ((z - 430) / 80) ** 2) < 1] = 900
        hu[((x / 68) ** 2 + (y / 88) ** 2 + ((z - 430) / 73) ** 2) < 1] = 35
        hu[(((x) / 34) ** 2 + ((y + 62) / 28) ** 2 + ((z - 385) / 14) ** 2) < 1] = 700
        hu[((x / 16) ** 2 + ((y - 40) / 16) ** 2 < 1) & (z < 380)] = 500
        hu[((x / 9) ** 2 + ((y + 8) / 10) ** 2 < 1) & (z > 200) & (z < 400)] = -950
        out[k] = (hu + rng.normal(0, 12, len(hu))).reshape(grid.shape[1:])
    return out


def write(folder: Path) -> None:
    """Two converted patients, P (moved) and T (template), with SUV and contour of P."""
    from pipeline.tables.status import Status, write_status
    from pipeline.volumes.nifti import write_nifti
    from pipeline.volumes.volume import Grid, Volume

    def grid(shape, spacing):
        half = [(n - 1) / 2 * s for n, s in zip(shape, spacing, strict=True)]
        return Grid(shape, spacing, (-half[2], -half[1], -460.0))

    ct, pet = grid(CT_SHAPE, CT_MM), grid(PET_SHAPE, PET_MM)
    for name, matrix in (("T", np.eye(4)), ("P", pose())):
        for stage in ("convert", "suv", "contours"):
            write_status(folder / stage / name, Status("ok", stage))
        write_nifti(folder / f"convert/{name}/ct_hu.nii.gz", Volume(body(ct, matrix), ct))
        if name == "T":
            continue
        uptake = np.where(body(pet, matrix) > -500, 1.5, 0.01).astype(np.float32)
        write_nifti(folder / f"suv/{name}/pet_suvbw.nii.gz", Volume(uptake, pet))
        mask = np.zeros(CT_SHAPE, dtype=np.uint8)
        centre = np.round(ct.indices(matrix[:3, :3] @ LESION + matrix[:3, 3])[0]).astype(int)
        mask[tuple(slice(c - r, c + r + 1) for c, r in zip(centre, (4, 13, 13), strict=True))] = 1
        write_nifti(folder / f"contours/{name}/gtv_ct.nii.gz", Volume(mask, ct))
        (folder / f"contours/{name}/contours.json").write_text('{"contour": "manual"}')


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print what a step takes."""
    wall, processor = time.perf_counter(), time.process_time()
    yield
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(
        f"  {title:34s} {time.perf_counter() - wall:7.2f} s  processor "
        f"{time.process_time() - processor:7.2f} s  peak so far {peak:5.2f} GiB",
        flush=True,
    )


def ours(folder: Path) -> None:
    """The rules `register` and `crop` for one patient."""
    with step("import"):
        from pipeline.crops.crop import CropSources, crop_patient
        from pipeline.registration.register import RegistrationSources, register_patient
        from pipeline.settings.geometry import CropSettings, RegistrationSettings
    settings = RegistrationSettings(template="T")
    with step("register"):
        sources = RegistrationSources("P", folder / "convert/P", folder / "template")
        register_patient(sources, folder / "registration/P", settings, "stop")
    with step("crop"):
        stages = {s: folder / s / "P" for s in ("convert", "suv", "contours", "registration")}
        crop = CropSettings(centre_mm=tuple(LESION[::-1]), shape=SHAPE)
        crop_patient(CropSources("P", **stages), folder / "P.zarr", crop, "stop", "ct")
    report_error(folder / "registration/P/to_template.mat")


def plain(folder: Path) -> None:
    """Resample to 1 mm, register at 1 mm, resample again, crop."""
    with step("import"):
        import ants
    with step("read"):
        paths = ("convert/T/ct_hu", "convert/P/ct_hu", "suv/P/pet_suvbw", "contours/P/gtv_ct")
        images = [ants.image_read(str(folder / f"{path}.nii.gz")) for path in paths]
    with step("resample all to 1 mm"):
        kinds = (0, 0, 0, 1)
        template, ct, pet, mask = (
            ants.resample_image(image, (1.0, 1.0, 1.0), False, kind)
            for image, kind in zip(images, kinds, strict=True)
        )
    with step("register at 1 mm"):
        levels = {
            "aff_iterations": (100, 60),
            "aff_shrink_factors": (4, 2),
            "aff_smoothing_sigmas": (2, 1),
        }
        prefix = str(folder / "plain_")
        found = ants.registration(template, ct, type_of_transform="Rigid", outprefix=prefix, **levels)
    with step("resample again"):
        moved = [
            ants.apply_transforms(template, image, found["fwdtransforms"], interpolator=kind)
            for image, kind in ((ct, "linear"), (pet, "linear"), (mask, "nearestNeighbor"))
        ]
    with step("crop"):
        middle = np.round((LESION - np.asarray(template.origin)) / np.asarray(template.spacing)).astype(int)
        low = middle - np.array(SHAPE[::-1]) // 2
        cut = [
            m.numpy()[tuple(slice(a, a + n) for a, n in zip(low, SHAPE[::-1], strict=True))] for m in moved
        ]
        np.savez(folder / "plain.npz", *cut)
    report_error(Path(found["fwdtransforms"][0]))


def report_error(path: Path) -> None:
    """Print how far the lesion's centre lies from where it should."""
    from pipeline.volumes.transform import read_matrix

    difference = read_matrix(path) - pose()
    error = np.linalg.norm(difference[:3, :3] @ LESION + difference[:3, 3])
    print(f"  error at the lesion {error:.2f} mm")


def run(chain: str, folder: Path, threads: int) -> dict[str, float]:
    """Run a chain in its own process; wall seconds and peak GiB."""
    threads_of = ("OMP_NUM_THREADS", "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS")
    environment = os.environ | dict.fromkeys(threads_of, str(threads))
    environment["PYTHONPATH"] = str(ROOT)
    start = time.perf_counter()
    print(f"{chain}:", flush=True)
    with subprocess.Popen([sys.executable, __file__, chain, "--in", str(folder)], env=environment) as process:
        _, code, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(code)
    if process.returncode:
        raise SystemExit(f"{chain} failed")
    processor = used.ru_utime + used.ru_stime
    result = {
        "wall_s": time.perf_counter() - start,
        "processor_s": processor,
        "peak_gib": used.ru_maxrss / 2**20,
    }
    print(f"  all: {json.dumps({k: round(v, 2) for k, v in result.items()})}", flush=True)
    return result


def main() -> None:
    """Run the chains asked for and compare them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("chain", choices=("ours", "plain", "both"), nargs="?", default="both")
    parser.add_argument("--keep", type=Path, help="folder for the images, kept and used again")
    parser.add_argument("--in", dest="folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--threads", type=int, default=2)
    given = parser.parse_args()
    if given.folder:
        {"ours": ours, "plain": plain}[given.chain](given.folder)
        return
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.keep or Path(scratch)
        if not (folder / "template").is_dir():
            write(folder)
            from pipeline.registration.template import choose_template
            from pipeline.settings.geometry import RegistrationSettings

            settings = RegistrationSettings(template="T")
            choose_template([folder / "convert/T"], folder / "template", settings, 1)
        chains = ("ours", "plain") if given.chain == "both" else (given.chain,)
        results = {chain: run(chain, folder, given.threads) for chain in chains}
    if len(results) == 2:
        ratio = {k: results["plain"][k] / results["ours"][k] for k in results["ours"]}
        print(f"plain / ours: {json.dumps({k: round(v, 1) for k, v in ratio.items()})}")


if __name__ == "__main__":
    main()
