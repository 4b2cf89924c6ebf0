"""A job runs only what its run was planned with: code, settings, table and named files."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pipeline import as_planned, provenance
from pipeline.as_planned import (
    code_files,
    named_files,
    on_worker,
    require_as_planned,
    running_code,
    stage_code,
    write_planned_jobs,
)
from pipeline.errors import NotAsPlannedError

CODE = "from pipeline.room.b import helper\ndef work(x):\n    return helper(x)\n"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package of two modules, a script that calls them, and a process that began after they were written."""
    room = tmp_path / "pipeline" / "room"
    room.mkdir(parents=True)
    (tmp_path / "workflow_scripts").mkdir()
    (tmp_path / "workflow_scripts" / "a.py").write_text("from pipeline.room.a import work\nwork(1)\n")
    (room / "a.py").write_text(CODE)
    (room / "b.py").write_text("def helper(x):\n    return x\n")
    (room / "c.py").write_text("OTHER = 1\n")
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    monkeypatch.setattr(as_planned, "_BEGAN_NS", time.time_ns() + 10**10)
    provenance.forget_code()
    yield room
    provenance.forget_code()


def job(**parameters: Any) -> SimpleNamespace:
    """A job as its script gets it; like another process, it knows nothing of the code yet."""
    provenance.forget_code()
    return SimpleNamespace(log=["logs/a.log"], params=parameters, input=["in"], output=["out"])


def planned() -> dict[str, Any]:
    provenance.forget_code()
    return stage_code("a", ["pipeline.room.a"])


def run(job: SimpleNamespace, planned_jobs: str = "", policy: str = "stop") -> Any:
    return as_planned.as_planned(job, policy, planned_jobs)


def rewrite(path: Path, text: str) -> None:
    """Write a file; its time is another one, whatever the clock's steps."""
    path.write_text(text)
    os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns + 10**6))


def test_untouched_code_and_what_other_jobs_run_stop_nothing(package: Path) -> None:
    with run(job(code=planned())):
        rewrite(package / "c.py", "OTHER = 2\n")
        require_as_planned()
    require_as_planned()  # Outside a job nothing is watched.


@pytest.mark.parametrize("name", ["pipeline/room/a.py", "pipeline/room/b.py", "workflow_scripts/a.py"])
def test_code_edited_after_the_plan_starts_no_job(package: Path, tmp_path: Path, name: str) -> None:
    code = planned()
    rewrite(tmp_path / name, (tmp_path / name).read_text() + "CHANGED = 1\n")
    with (
        pytest.raises(NotAsPlannedError, match="changed after the run was planned") as raised,
        run(job(code=code)),
    ):
        pytest.fail("the job ran")
    assert code["digest"] in str(raised.value) and str(tmp_path / name) in str(raised.value)


def test_code_edited_and_put_back_while_a_job_runs_ends_it(package: Path) -> None:
    text, before = (package / "b.py").read_text(), (package / "b.py").stat()
    with (
        pytest.raises(NotAsPlannedError, match=r"written to while the job ran.*b\.py"),
        run(job(code=planned())),
    ):
        (package / "b.py").write_text(text + "CHANGED = 1\n")
        (package / "b.py").write_text(text)
        os.utime(package / "b.py", ns=(before.st_atime_ns, before.st_mtime_ns))


def test_what_outlives_a_job_is_not_written_once_code_was_edited(package: Path) -> None:
    with pytest.raises(NotAsPlannedError), run(job(code=planned())):
        rewrite(package / "b.py", (package / "b.py").read_text())
        require_as_planned()
        pytest.fail("a checkpoint was written")


def test_code_written_while_the_job_imported_it_ends_it(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Edited and put back between the beginning of the process and its frame: its content is the plan's."""
    code = planned()
    monkeypatch.setattr(as_planned, "_BEGAN_NS", time.time_ns() - 10**8)
    rewrite(package / "b.py", (package / "b.py").read_text())
    with pytest.raises(NotAsPlannedError, match="while the job began"), run(job(code=code)):
        pytest.fail("the job ran")
    # A machine whose clock was put back: the file's time, an hour ahead, tells nothing of the last second.
    monkeypatch.setattr(as_planned, "_BEGAN_NS", time.time_ns() - 3600 * 10**9)
    monkeypatch.setattr(as_planned.time, "time_ns", lambda: as_planned._BEGAN_NS + 10**9)
    with run(job(code=code)):
        pass


def test_a_named_file_is_that_of_the_plan_from_start_to_end(tmp_path: Path, package: Path) -> None:
    named = tmp_path / "boxes.csv"
    named.write_text("old")
    files = named_files([str(named), str(tmp_path), "nowhere"])
    assert list(files) == [str(named)]
    os.utime(named, (1e9, 1e9))  # An older one in its place.
    with pytest.raises(NotAsPlannedError, match=r"was replaced.*boxes\.csv"), run(job(files=files)):
        pytest.fail("the job ran")
    before = named.stat()
    with (
        pytest.raises(NotAsPlannedError, match=r"while the job ran.*boxes\.csv"),
        run(job(files=named_files(str(named)))),
    ):
        named.write_text("new")
        named.write_text("old")
        os.utime(named, ns=(before.st_atime_ns, before.st_mtime_ns))


def test_a_digest_watches_every_file_that_it_covers(package: Path, tmp_path: Path) -> None:
    (package / "b.py").write_text(
        'from pathlib import Path\nPAGES = Path(__file__).parent / "pages"\ndef helper(x):\n    return x\n'
    )
    (package / "pages").mkdir()
    (package / "pages" / "page.html").write_text("page")
    names = {path.relative_to(tmp_path).as_posix() for path in code_files(planned())}
    assert names == {"workflow_scripts/a.py", "pipeline/room/a.py", "pipeline/room/b.py",
                     "pipeline/room/pages/page.html"}  # fmt: skip


def test_a_worker_that_is_older_than_the_code_computes_nothing(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers of a dask cluster outlive runs, and keep the code that they imported."""
    assert running_code() is None and on_worker(None, abs, -1) == 1
    with run(job(code=planned())):
        code = running_code()
    assert code == planned()
    assert on_worker(code, abs, -1) == 1
    rewrite(package / "b.py", (package / "b.py").read_text() + "CHANGED = 1\n")
    # The worker has read the older code; the job is planned with the newer one.
    with pytest.raises(NotAsPlannedError, match="restart the worker"):
        on_worker({**planned(), "digest": code["digest"]}, abs, -1)
    # It reads the newer code now, but began before that was written.
    monkeypatch.setattr(as_planned, "_BEGAN_NS", time.time_ns() - 10**8)
    with pytest.raises(NotAsPlannedError, match="restart the worker"):
        on_worker(planned(), abs, -1)


@pytest.mark.parametrize(
    ("change", "policy"),
    [({}, "exclude"), ({"params": {"by_name": "other"}}, "stop"), ({"input": ["in", "new patient"]}, "stop")],
)
def test_a_job_elsewhere_is_given_what_was_planned(tmp_path: Path, change: dict, policy: str) -> None:
    """It reads settings and table where it starts; values that do not concern it may have changed."""
    path = str(write_planned_jobs(tmp_path / "planned", [job(by_name="a digest")], "stop"))
    with run(job(by_name="a digest"), path):
        pass
    changed = SimpleNamespace(**{**vars(job(by_name="a digest")), **change})
    with (
        pytest.raises(
            NotAsPlannedError, match="settings, cohort table, code, images or named files were changed"
        ),
        run(changed, path, policy),
    ):
        pytest.fail("the job ran")
    with pytest.raises(NotAsPlannedError, match="cannot be read"), run(job(by_name="a digest"), path + "x"):
        pytest.fail("the job ran")
