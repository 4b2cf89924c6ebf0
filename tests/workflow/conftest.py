"""The small study that the workflow tests share."""

from __future__ import annotations

import pytest

from study_runner import Study, copy_house, tiny_config, tiny_rows


@pytest.fixture(scope="session")
def finished_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study, run to its report."""
    study = Study(copy_house(tmp_path_factory.mktemp("house") / "repo"), tiny_config())
    (study.house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    study.output = study.snakemake()
    return study


@pytest.fixture(scope="session")
def local_study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The tiny study, run on this machine's processor: what a cluster's results are held against."""
    config = tiny_config()
    # Test clusters have no accelerator: a fold that asks for one would never start there.
    config["training"]["device"] = "cpu"
    study = Study(copy_house(tmp_path_factory.mktemp("local") / "repo"), config)
    (study.house / "cohort.csv").write_text("\n".join(tiny_rows()) + "\n")
    study.snakemake()
    return study


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """One worker runs all tests that share a study, which takes up to a minute and a half to make.

    Before pytest-xdist's own hook, which reads the groups: after it, they say nothing.
    """
    for item in items:
        needed = set(getattr(item, "fixturenames", ()))
        if needed & {"finished_study", "spoilt"}:
            item.add_marker(pytest.mark.xdist_group("finished_study"))
        elif needed & {"study", "local_study"} and item.get_closest_marker("xdist_group") is None:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("::")[0]))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The table of the fault suite: a line each fault, and whether anything was lost or wrong."""
    outcomes = {"passed": "nothing lost, nothing wrong", "failed": "FAILED", "skipped": "not tried here"}
    rows = [
        f"{dict(report.user_properties)['fault']:<60} {outcomes[report.outcome]}"
        for reports in terminalreporter.stats.values()
        for report in reports
        if "fault" in dict(getattr(report, "user_properties", ()))
        and (report.when == "call" or report.outcome != "passed")
    ]
    if rows:
        terminalreporter.section("faults")
        for row in rows:
            terminalreporter.write_line(row)
