"""A patient who withdrew leaves nothing: what is removed, what is told, whom it refuses."""

from __future__ import annotations

import json
import shutil
from base64 import urlsafe_b64encode
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline.workflow.forget import main
from pipeline.workflow.patient_search import PatientSearch
from study_runner import Study, tiny_config, tiny_rows

WITHDRAWN = "P001"
"""First patient of the tiny study; the ids of two others contain it below."""


def write(path: str, text: str = "x") -> Path:
    file = Path(path)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def record(output: str, text: str) -> Path:
    return write(f".snakemake/metadata/{urlsafe_b64encode(output.encode()).decode()}", text)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with the tiny study, whose table has lost its first patient."""
    monkeypatch.chdir(tmp_path)
    rows = tiny_rows()
    others = [rows[2].replace(rows[2].split(",")[0], f"{WITHDRAWN}_b"), f"X_{WITHDRAWN}{rows[3][4:]}"]
    write("cohort.csv", "\n".join([rows[0], *others, *rows[4:]]) + "\n")
    write("study.yaml", yaml.safe_dump(tiny_config()))
    return tmp_path


def forget(capsys: pytest.CaptureFixture[str], patient: str = WITHDRAWN) -> str:
    assert main([patient, "--configfile", "study.yaml"]) == 0
    return capsys.readouterr().out


OWN = (
    "phantom/{}/dicom/1.dcm", "index/{}/status.json", "convert/{}/status.json", "suv/{}/suv.json",
    "contours/{}/status.json", "registration/{}/quality.png", "crops/{}.zarr/zarr.json",
    "crops/.{}.zarr.partial/zarr.json", "radiomics/{}.parquet", "radiomics/peritumoral/{}.parquet",
    "radiomics/stability/{}.parquet", "models/deepmts/fold0/masks.zarr/{}/zarr.json",
    "models/gone/fold7/masks.zarr/{}/zarr.json", "logs/suv/{}.log", "logs/suv/{}.attempts",
    "logs/radiomics_region/peritumoral_{}.log", "benchmarks/crop/{}.tsv",
)  # fmt: skip


def test_what_is_the_patients_alone_goes_and_what_is_anothers_stays(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    others = ("P004", f"{WITHDRAWN}_b", f"X_{WITHDRAWN}")
    for path in OWN:
        for patient in (WITHDRAWN, *others):
            write("results/tiny/" + path.format(patient))
    output = forget(capsys)
    assert not any(Path("results/tiny", path.format(WITHDRAWN)).exists() for path in OWN)
    assert all(Path("results/tiny", path.format(patient)).exists() for path in OWN for patient in others)
    assert output.count("removed: ") == len(OWN) and "removed: results/tiny/suv/P001\n" in output
    assert forget(capsys) == "nothing below results/tiny names P001\n"


def test_lists_that_no_rule_writes_again_lose_the_patient(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("frozen/template.json", "pins/crop_position.json", "absent_images.json"):
        write(f"results/tiny/{name}", json.dumps({"patients": ["P004", WITHDRAWN]}))
    assert forget(capsys).count("struck from the list") == 3
    assert json.loads(Path("results/tiny/frozen/template.json").read_text()) == {"patients": ["P004"]}


def test_what_names_the_patient_still_is_told_with_the_command(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write("results/tiny/splits.json", json.dumps({"folds": [{"train": ["P004", WITHDRAWN]}]}))
    pd.DataFrame({"patient_id": ["P004", WITHDRAWN]}).set_index("patient_id").to_parquet(
        "results/tiny/cohort.parquet"
    )
    write("results/tiny/report/figures/crops_1.svg", f"<text>{WITHDRAWN}</text>")
    write("results/tiny/report/index.html", f"<td>{WITHDRAWN}</td>")
    write("results/tiny/problems.csv", f"patient_id,stage\n{WITHDRAWN}_b,suv\n")
    write("results/tiny/models/gone/fold7/note.csv", f"patient_id,risk\n{WITHDRAWN},1\n")
    write("results/other/suv/P001/suv.json")
    lines = forget(capsys).splitlines()
    again = "made again by: snakemake --cores all {0} --configfile study.yaml"
    assert sorted(line for line in lines if "still" in line) == sorted(
        f"names P001 still: {path}; {end.format(path)}"
        for path, end in (
            ("results/tiny/splits.json", again),
            ("results/tiny/cohort.parquet", again),
            ("results/tiny/report", again),
            ("results/tiny/models/gone/fold7/note.csv", "no rule of this study makes it: rm {0}"),
        )
    )
    assert "another study holds P001: results/other" in lines[-1]
    assert Path("results/tiny/splits.json").exists(), "the next run makes it, not this command"


def test_snakemakes_records_and_logs_forget_the_patient(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    named = json.dumps({"input": [f"results/tiny/crops/{WITHDRAWN}.zarr"]})
    gone = [
        record("results/tiny/suv/P001", "{}"),
        record("results/tiny/models/gone/fold7", named),
        write(".snakemake/log/1.snakemake.log", f"SUV {WITHDRAWN}: stored PET values"),
        write(".snakemake/slurm_logs/rule_suv/P001/7.log"),
    ]
    stays = [
        record("results/tiny/report", named),  # written again with the report
        record("results/tiny/suv/P001_b", "{}"),
        record("results/other/suv/P001", "{}"),
        write(".snakemake/log/2.snakemake.log", f"SUV {WITHDRAWN}_b: stored PET values"),
    ]
    output = forget(capsys)
    assert not any(path.exists() for path in gone) and all(path.exists() for path in stays)
    assert "removed: Snakemake's record of results/tiny/suv/P001\n" in output


@pytest.mark.parametrize("patient", ["P004", "p004", "X/../../cohort.csv"])
def test_patients_of_the_table_and_what_is_no_id_are_refused(
    here: Path, capsys: pytest.CaptureFixture[str], patient: str
) -> None:
    kept = write("results/tiny/suv/P004/suv.json")
    assert main([patient, "--configfile", "study.yaml"]) == 1
    assert ("still in the cohort table" in (error := capsys.readouterr().err)) == (patient[1:] == "004")
    assert error.startswith("error: ") and kept.exists()


def test_nothing_is_removed_while_a_run_is_at_work(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    kept = write("results/tiny/suv/P001/suv.json")
    write(".snakemake/locks/0.input.lock")
    assert main([WITHDRAWN, "--configfile", "study.yaml"]) == 1
    assert "snakemake --unlock" in capsys.readouterr().err and kept.exists()


def test_a_file_that_is_no_study_is_one_message(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([WITHDRAWN, "--configfile", "absent.yaml"]) == 1
    assert capsys.readouterr().err.startswith("error: the study's file cannot be read")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("P1", True), ("a P1.", True), ("registration_P1.png", True), ("P1_mask", True), ("P10", False),
        ("XP1", False), ("P1_b", False), ("P1-b", False), ("region_P1_b", False), ("region_P1", True), ("", False),
    ],
)  # fmt: skip
def test_words_that_name_a_patient(text: str, named: bool) -> None:
    """`P1_b` is another patient of the table, and so are words that end or begin with that id."""
    assert PatientSearch.of("P1", ["P1_b", "P10", "P1-b"]).in_text(text) is named


def test_an_id_of_digits_is_not_every_number(tmp_path: Path) -> None:
    search = PatientSearch.of("12", [])
    for name, text, named in (
        ("a.csv", "patient_id,age\n7,12\n", False),
        ("b.csv", "patient_id,age\n12,7\n", True),
        ("a.json", '{"age": 12}', False),
        ("b.json", '{"train": ["12"]}', True),
        ("a.html", "<td>12</td>", False),
    ):
        (tmp_path / name).write_text(text)
        assert search.in_file(tmp_path / name) is named, name


@pytest.mark.nightly
def test_a_whole_study_without_the_patient_names_the_patient_nowhere(
    finished_study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The row goes: the same command, then this one, leave no trace."""
    house = tmp_path / "repo"
    shutil.copytree(finished_study.house, house, symlinks=True)
    study = Study(house, finished_study.config)
    table = house / "cohort.csv"
    rows = [row for row in table.read_text().splitlines(True) if not row.startswith("P001,")]
    # Nine development patients are too few for two folds: an external one takes the place.
    place = next(n for n, row in enumerate(rows) if ",external," in row)
    rows[place] = rows[place].replace(",external,", ",development,")
    table.write_text("".join(rows))
    study.snakemake()
    monkeypatch.chdir(house)
    made = {path: path.read_bytes() for path in house.glob("results/tiny/report/**/*") if path.is_file()}
    assert not any(b"P001" in content for content in made.values())
    assert "removed: results/tiny/crops/P001.zarr" in forget(capsys)
    assert forget(capsys) == "nothing below results/tiny names P001\n"
    files = [path for top in ("results", ".snakemake") for path in (house / top).rglob("*")]
    assert not [path for path in files if "P001" in str(path.relative_to(house))]
    assert not [path for path in files if path.is_file() and b"P001" in path.read_bytes()]
    assert "Nothing to be done" in study.snakemake("-n")
