"""Two runs write the same crops, whatever number of cores they have."""

from __future__ import annotations

from pathlib import Path

import pytest

from study_runner import Study, copy_house, tiny_config, tiny_rows

pytestmark = pytest.mark.nightly
STAGES = ("template", "registration", "crops")


def contents(study: Study) -> dict[str, bytes]:
    """File → bytes of what registration and crop left."""
    return {
        str(path.relative_to(study.results)): path.read_bytes()
        for stage in STAGES
        for path in sorted((study.results / stage).rglob("*"))
        if path.is_file() and path.name != ".snakemake_timestamp"
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """Two patients from DICOM to crop, in two houses: on one core, and on two."""
    contents_of_runs = {}
    for name, cores in (("one", "1"), ("two", "2")):
        house = copy_house(tmp_path_factory.mktemp(name) / "repo")
        rows = tiny_rows()
        (house / "cohort.csv").write_text("\n".join(rows[:3]) + "\n")
        config = tiny_config()
        config["plan"]["folds"] = 2
        study = Study(house, config)
        patients = [row.split(",")[0] for row in rows[1:3]]
        wanted = [f"results/tiny/crops/{patient}.zarr" for patient in patients]
        study.snakemake(*wanted, "--cores", cores)
        contents_of_runs[name] = contents(study)
    return contents_of_runs


def test_the_same_bytes(runs: dict[str, dict[str, bytes]]) -> None:
    assert len([name for name in runs["one"] if name.startswith("crops/") and "/c/" in name]) >= 6
    assert runs["one"].keys() == runs["two"].keys()
    different = [name for name, data in runs["one"].items() if runs["two"][name] != data]
    assert not different
    assert any(Path(name).name == "to_template.mat" for name in runs["one"])
