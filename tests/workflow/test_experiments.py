"""`dvc exp` on this workflow: in the workspace, in a temporary folder, from the queue, and applied afterwards."""

import re

import pytest
from waiting import wait_until

pytestmark = pytest.mark.long

THRESHOLD = "experiments.demo.outliers.threshold"


def test_experiments_run_what_they_change_and_can_be_applied(project):
    target = "outliers-demo"
    log = project.dvc("exp", "run", "-n", "lower", "-S", f"{THRESHOLD}=3.0", target)
    assert project.jobs(log) == [target]
    # Figures and report were not asked for, and are behind for both tools.
    assert project.planned() == project.after(target) - {target}

    log = project.dvc("exp", "run", "--temp", "-n", "higher", "-S", f"{THRESHOLD}=4.0", target)
    assert project.jobs(log) == [target]
    assert project.params["experiments"]["demo"]["outliers"]["threshold"] == 3.0

    project.dvc("exp", "run", "--queue", "-n", "highest", "-S", f"{THRESHOLD}=5.0", target)
    project.dvc("queue", "start")

    def ended() -> bool:
        return re.search(r"highest\s.*(Success|Failed)", project.dvc("queue", "status")) is not None

    wait_until(ended, pause=0.5)
    state = re.search(r"highest\s.*(Success|Failed)", project.dvc("queue", "status"))[1]
    assert state == "Success", project.dvc("queue", "logs", "highest", ok=None)
    project.dvc("queue", "stop", "--kill", ok=None)

    table = project.dvc("exp", "show", "--csv")
    assert {"lower", "higher", "highest"} <= set(re.split(r"[,\n]", table))
    for name, value in {"higher": 4.0, "highest": 5.0}.items():
        project.dvc("exp", "apply", name)
        assert project.params["experiments"]["demo"]["outliers"]["threshold"] == value
        assert project.planned() == project.after(target) - {target}
    assert "outliers.threshold" in project.dvc("params", "diff", "HEAD")
    assert "false_positive_rate" in project.dvc("metrics", "diff", "HEAD", "--all")
