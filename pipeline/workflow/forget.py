"""Removes what is left of a patient who withdrew: `python -m pipeline.workflow.forget PATIENT`.

The row is taken out of the cohort table first. From then on the workflow leaves the patient out of
every file that it makes again; this command removes the others, and says of each file that still
names the patient how it is made again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import yaml

from pipeline.errors import PipelineError, SettingsError, TableError
from pipeline.tables.cohort import PATIENT_ID
from pipeline.tables.whole import partial_name, write_text
from pipeline.workflow.guards import machine_failures_told
from pipeline.workflow.paths import StudyPaths
from pipeline.workflow.patient_search import PatientSearch
from pipeline.workflow.records import shared_outputs
from pipeline.workflow.snakemake_files import LOCKS, disposable_files, records
from pipeline.workflow.study import load_study

DEFAULT = "config/config.yaml"
STAGES = ("phantom", "index", "convert", "suv", "contours", "registration")


@dataclass(frozen=True)
class Forgetting:
    """What is left of a patient in a study's results and in Snakemake's records.

    Attributes:
        paths: The study, whose table no longer has the patient.
        patient: The id.
        configfile: The study's file, for the commands that are told.
        told: Lines that say what was done.
    """

    paths: StudyPaths
    patient: str
    configfile: str
    told: list[str] = field(default_factory=list)

    @cached_property
    def search(self) -> PatientSearch:
        """Finds the patient among those of the table."""
        cohort = self.paths.study.cohort
        return PatientSearch.of(self.patient, [*cohort.ids(), *cohort.problems])

    def run(self) -> list[str]:
        """Remove what no run makes again, and tell it line by line.

        Raises:
            TableError: The patient is still in the table.
            PipelineError: A run is at work.
        """
        self._refuse()
        for path in self._own_files():
            self._remove(path)
        for path in self._lists():
            self._strike_from(path)
        self._forget_records()
        self._forget_logs()
        self.told.extend(self._still_named())
        self.told.extend(self._elsewhere())
        return self.told or [f"nothing below {self.paths.results} names {self.patient}"]

    def _refuse(self) -> None:
        cohort, table = self.paths.study.cohort, self.paths.study.settings.cohort.table
        present = {patient.lower() for patient in (*cohort.ids(), *cohort.problems)}
        if self.patient.lower() in present:
            raise TableError(
                f"patient {self.patient} is still in the cohort table",
                where=table,
                action="take the row out first; then this command removes what is left",
            )
        if LOCKS.is_dir() and any(LOCKS.iterdir()):
            raise PipelineError(
                "a run is at work in this folder, or was killed",
                where=str(LOCKS),
                action="wait for its end; after a kill: snakemake --unlock",
            )

    def _own_files(self) -> Iterator[Path]:
        """Files and folders that are the patient's alone, whichever settings they were made with."""
        results, name = Path(self.paths.results), self.patient
        own = [results / stage / name for stage in STAGES]
        own += [results / "crops" / f"{name}.zarr"]
        own += [results / "radiomics" / f"{name}.parquet", *results.glob(f"radiomics/*/{name}.parquet")]
        own += [*results.glob(f"models/*/*/masks.zarr/{name}")]
        for folder, ending in (("logs", "log"), ("logs", "attempts"), ("benchmarks", "tsv")):
            own += results.glob(f"{folder}/*/{name}.{ending}")
            of_regions = results.glob(f"{folder}/radiomics_region/*.{ending}")
            own += [path for path in of_regions if path.stem.partition("_")[2] == name]
        own += [partial_name(path) for path in own]  # what a killed job left
        yield from (path for path in own if os.path.lexists(path))

    def _lists(self) -> Iterator[Path]:
        """Lists of patients that are no output of a rule: who a decision was frozen for, who had no images."""
        results = Path(self.paths.results)
        yield from (*results.glob("frozen/*.json"), *results.glob("pins/*.json"), Path(self.paths.absent))

    def _strike_from(self, path: Path) -> None:
        if not path.is_file():
            return
        content = json.loads(path.read_text(encoding="utf-8"))
        if self.patient in content.get("patients", ()):
            content["patients"].remove(self.patient)
            write_text(path, json.dumps(content, indent=1) + "\n")
            self.told.append(f"struck from the list: {path}")

    def _forget_records(self) -> None:
        """Remove Snakemake's records of the patient's files, and of results that no rule makes now."""
        made, prefix = set(shared_outputs(self.paths)), self.paths.results + "/"
        for record in records():
            if not record.output.startswith(prefix) or record.output in made:
                continue  # of another study, or written again with the result
            patients = {part.partition(".")[0] for part in Path(record.output).parts}
            of_another = bool(patients & self.search.others)
            if self.patient in patients or (not of_another and self.search.in_file(record.path)):
                self._remove(record.path, f"Snakemake's record of {record.output}")

    def _forget_logs(self) -> None:
        for path in disposable_files():
            if self.search.in_text(str(path)) or self.search.in_file(path):
                self._remove(path)

    def _still_named(self) -> Iterator[str]:
        """What names the patient still, and how to make or remove it."""
        made = {Path(path): path for path in shared_outputs(self.paths)}
        told: set[Path] = set()
        for path in sorted(Path(self.paths.results).rglob("*")):
            if any(folder in told for folder in path.parents) or not path.is_file():
                continue
            if not (self.search.in_text(path.name) or self.search.in_file(path)):
                continue
            output = next((known for known in (path, *path.parents) if known in made), None)
            if output is None:
                yield f"names {self.patient} still: {path}; no rule of this study makes it: rm {path}"
            else:
                told.add(output)
                yield f"names {self.patient} still: {output}; {self._made_again_by(output)}"
        bundle, cohort = Path(self.paths.bundle), Path(self.paths.cohort)
        if bundle.exists() and (cohort in told or bundle.stat().st_mtime < cohort.stat().st_mtime):
            yield f"made with the data of patients who left the table: {bundle}; {self._made_again_by(bundle)}"

    def _made_again_by(self, output: Path) -> str:
        return f"made again by: snakemake --cores all {output} --configfile {self.configfile}"

    def _elsewhere(self) -> Iterator[str]:
        """Other studies in the same place that have the patient."""
        here = Path(self.paths.results)
        for folder in sorted(here.parent.glob("*/")):
            stages = (folder / stage / self.patient for stage in STAGES)
            if folder != here and any(map(Path.exists, (*stages, folder / "crops" / f"{self.patient}.zarr"))):
                yield f"another study holds {self.patient}: {folder}; run this command with its file, too"

    def _remove(self, path: Path, what: str = "") -> None:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
        self.told.append(f"removed: {what or path}")


def read_configuration(path: Path) -> dict[str, object]:
    """A study's YAML file as plain values.

    Raises:
        SettingsError: There is no such file, or it is no YAML mapping.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise SettingsError("the study's file cannot be read", where=str(path), got=str(error)) from None
    if not isinstance(content, dict):
        raise SettingsError("the study's file is no mapping", where=str(path), action="name the study's YAML")
    return content


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="forget", description="Remove what is left of a patient who withdrew."
    )
    parser.add_argument("patient", help="the patient_id whose row was taken out of the cohort table")
    parser.add_argument("--configfile", default=DEFAULT, help="the study's file (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        if not PATIENT_ID.match(given.patient):
            raise TableError("this is no patient_id", got=repr(given.patient), action="give the table's id")
        with machine_failures_told():
            file = Path(given.configfile)
            study = load_study(read_configuration(file), [file])
            lines = Forgetting(StudyPaths(study), given.patient, given.configfile).run()
    except PipelineError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
