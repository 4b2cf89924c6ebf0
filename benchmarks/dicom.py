"""Indexing and conversion beside a plain pydicom loop and dcm2niix, in one run.

    python -m benchmarks.dicom [--files 10000] [--slices 300] [--size 512] [--dcm2niix PATH]

Writes its own files into a temporary folder. Each contestant runs in a process of its own:
wall time, processor time and peak memory (resident) are printed as Markdown.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

INDEX = """
import sys
from pathlib import Path
from pipeline.dicom.series.scan import scan_folder
if __name__ == "__main__":
    scan = scan_folder(Path(sys.argv[1]), Path(sys.argv[2]) / "unpacked", workers=2)
    assert len(scan.instances) == int(sys.argv[3]), scan.skipped
"""
LOOP_INDEX = """
import os, sys, pydicom
n = 0
for root, _, names in os.walk(sys.argv[1]):
    for name in names:
        ds = pydicom.dcmread(os.path.join(root, name), stop_before_pixels=True)
        n += bool(ds.SeriesInstanceUID and ds.ImagePositionPatient and ds.Modality)
assert n == int(sys.argv[3])
"""
CONVERT = """
import sys
from pathlib import Path
from pipeline.dicom.volume.convert import convert_patient
from pipeline.dicom.series.index import index_patient
from pipeline.settings.dicom import ConvertSettings, IndexSettings
from pipeline.tables.files import PatientFiles
out = Path(sys.argv[2])
settings = IndexSettings(modalities=("ct",))
index_patient(PatientFiles("P", Path(sys.argv[1])), settings, out / "index", "stop")
convert_patient(out / "index", out / "convert", ConvertSettings(compression_level=1), "stop")
"""
LOOP_CONVERT = """
import sys, os
import numpy as np, pydicom, SimpleITK as sitk
slices = [pydicom.dcmread(os.path.join(sys.argv[1], n)) for n in os.listdir(sys.argv[1])]
slices.sort(key=lambda d: float(d.ImagePositionPatient[2]))
volume = np.stack([d.pixel_array * d.RescaleSlope + d.RescaleIntercept for d in slices]).astype(np.int16)
image = sitk.GetImageFromArray(volume)
os.makedirs(sys.argv[2])
sitk.WriteImage(image, os.path.join(sys.argv[2], "ct.nii.gz"), True, 1)
"""


@dataclass(frozen=True)
class Result:
    """Wall and processor seconds (children included) and peak memory (MiB) of one process."""

    seconds: float
    processor_s: float
    peak_mib: float


def header(number: int, size: int) -> Dataset:
    """A CT header with the elements that scanners write."""
    ds = Dataset()
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    series, study = (generate_uid(entropy_srcs=[name])[:50] for name in ("series", "study"))
    ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{series}.{number + 1}"
    ds.SeriesInstanceUID, ds.StudyInstanceUID, ds.FrameOfReferenceUID = series, study, f"{study}.1"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "CT", "BENCHMARK", "MODEL"
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20200310"
    ds.StudyTime = ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "100000.000000"
    ds.PatientName, ds.PatientID, ds.PatientSex, ds.PatientAge = "A^B", "BENCH", "M", "057Y"
    ds.SeriesDescription, ds.ProtocolName, ds.ConvolutionKernel = "CT WB 3.0 B30f", "PETCT", "B30f"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.KVP, ds.XRayTubeCurrent, ds.ExposureTime = "120", 200, 500
    ds.SliceThickness, ds.PixelSpacing = "3.0", [0.976562, 0.976562]
    ds.ImagePositionPatient = [-249.5, -249.5, -600.0 + 3.0 * number]
    ds.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    ds.SeriesNumber, ds.InstanceNumber, ds.AcquisitionNumber = 2, number + 1, 1
    ds.RescaleSlope, ds.RescaleIntercept, ds.RescaleType = "1", "-1024", "HU"
    ds.Rows = ds.Columns = size
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def write_ct(folder: Path, count: int, size: int) -> None:
    """An ellipse of tissue with noise in air."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    body = (x / 0.8) ** 2 + (y / 0.6) ** 2 < 1
    for number in range(count):
        ds = header(number, size)
        noise = rng.normal(0, 15, (size, size))
        ds.PixelData = (
            np.where(body, 1064 + noise, 24 + 0.3 * noise).clip(0, 4095).astype(np.uint16).tobytes()
        )
        pydicom.dcmwrite(folder / f"IM{number:06d}", ds, enforce_file_format=True)


def measure(command: list[str]) -> Result:
    """Run a command in a process of its own, its children included in the peak."""
    script = (
        "import resource, subprocess, sys, time; t = time.monotonic();"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN);"
        "print(time.monotonic() - t, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command], check=True, capture_output=True, text=True, env=os.environ
    )
    return Result(*(float(part) for part in done.stdout.split()))


def best(command: list[str], target: Path, runs: int) -> Result:
    """The fastest of some runs, each into an empty target."""
    found = []
    for _ in range(runs):
        shutil.rmtree(target, ignore_errors=True)
        found.append(measure(command))
    return min(found, key=lambda r: r.seconds)


def report(title: str, rows: dict[str, Result]) -> None:
    """Print one table."""
    print(f"\n### {title}\n\n| program | seconds | processor seconds | peak MiB |\n|---|---|---|---|")
    for name, result in rows.items():
        print(f"| {name} | {result.seconds:.2f} | {result.processor_s:.2f} | {result.peak_mib:.0f} |")


def run(arguments: argparse.Namespace, scratch: Path) -> None:
    """Both comparisons."""
    python = [sys.executable, "-c"]
    many, ct, out = scratch / "many", scratch / "ct", scratch / "out"
    write_ct(many, arguments.files, 16)
    tail = [str(many), str(out), str(arguments.files)]
    (scratch / "index.py").write_text(INDEX)
    rows = {
        "this package, 2 processes": best(
            [sys.executable, str(scratch / "index.py"), *tail], out, arguments.runs
        ),
        "pydicom loop": best([*python, LOOP_INDEX, *tail], out, arguments.runs),
    }
    report(f"headers of {arguments.files} files", rows)
    write_ct(ct, arguments.slices, arguments.size)
    rows = {
        "this package, index and convert": best([*python, CONVERT, str(ct), str(out)], out, arguments.runs),
        "pydicom loop": best([*python, LOOP_CONVERT, str(ct), str(out)], out, arguments.runs),
    }
    if arguments.dcm2niix:
        out.mkdir(exist_ok=True)
        command = [arguments.dcm2niix, "-z", "i", "-1", "-b", "n", "-o", str(scratch), str(ct)]
        rows["dcm2niix, level 1"] = best(command, out, arguments.runs)
    mib = arguments.slices * arguments.size**2 * 2 / 2**20
    report(f"{arguments.size}×{arguments.size}×{arguments.slices} CT to NIfTI, int16 ({mib:.0f} MiB)", rows)


def main() -> None:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--slices", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--dcm2niix", default=shutil.which("dcm2niix"))
    arguments = parser.parse_args()
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["PYTHONPATH"] = str(Path(__file__).resolve().parents[1])
        run(arguments, Path(scratch))
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"\n{time.monotonic() - start:.0f} s in all, {used.ru_utime:.0f} s of processor time")


if __name__ == "__main__":
    main()
