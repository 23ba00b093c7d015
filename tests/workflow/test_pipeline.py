"""The whole pipeline, made small: Snakemake runs it, and DVC knows."""

RATE = "experiments.demo.training.learning_rate"
THRESHOLD = "experiments.demo.outliers.threshold"
RELEVANCE = "results/demo/seed-0/relevance.h5"
OUTLIERS = "results/demo/outliers.csv"


def test_dvc_knows_what_snakemake_built(built):
    assert built.jobs(built.log)[0] == "prepare-shapes10"
    assert set(built.jobs(built.log)) == built.everything
    built.assert_clean()


def test_results_restored_from_the_run_cache_are_current(project):
    """Learning rate .001 → .002 → .001, then another threshold: nothing is trained that was trained before."""
    project.edit(RATE, 0.002)
    project.snakemake(RELEVANCE)
    project.edit(RATE, 0.001)
    project.edit(THRESHOLD, 3.0)
    log = project.dvc("repro", "outliers-demo")
    assert project.jobs(log) == ["outliers-demo"]
    project.assert_made("outliers-demo")


def test_a_result_edited_by_hand_is_made_again(project):
    table = project.path(OUTLIERS)
    content = table.read_text(encoding="utf-8")
    table.write_text(content + "\n", encoding="utf-8")
    assert project.planned() == project.after("outliers-demo")
    project.snakemake(OUTLIERS)
    assert table.read_text(encoding="utf-8") == content
