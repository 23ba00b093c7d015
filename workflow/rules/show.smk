# Figures, report and explorer of every kind of experiment, made alike.


for kind, made in KINDS.items():
    figures_rule, report_rule = made.shown_by
    package = f"src/lrp_dynamics/studies/{made.study}"

    rule:
        name:
            figures_rule
        input:
            **made.drawn_from,
            code=code_of("figures", *(f"{package}/{file}.py" for file in ("study", "results", "figures"))),
        output:
            png=pictures_of(made.study, made.figures),
            svg=drawings_of(made.figures),
        wildcard_constraints:
            experiment=experiments_of(kind),
        params:
            study=made.study,
            names=list(made.figures),
            json=value_of("experiments.{experiment}.figures"),
            inputs=given(made.drawn_from),
        message:
            "Drawing the figures of {wildcards.experiment}"
        shell:
            "lrp-dynamics figures {params.study} --inputs {params.inputs} --params {params.json:q}"
            " --figures {params.names} --out-dir reports/{wildcards.experiment}/figures 2>&1 | tee {log}"

    rule:
        name:
            report_rule
        input:
            **made.told_from,
            figures=[f"{REPORT}/figures/{name}.png" for name in made.figures],
            captions=[source(f"{package}/captions/{name}.rst") for name in made.figures],
            code=code_of("report", f"{package}/notebook.py"),
        output:
            ipynb=f"{REPORT}/report.ipynb",
            html=report(
                f"{REPORT}/report.html",
                caption=f"../../{package}/captions/report.rst",
                category="{experiment}",
                labels={"figure": "Report"},
            ),
        wildcard_constraints:
            experiment=experiments_of(kind),
        params:
            study=made.study,
            json=made.told_with or params_of(),
            inputs=given(made.told_from),
        message:
            "Writing the report of {wildcards.experiment}"
        shell:
            "lrp-dynamics report {params.study} --params {params.json:q} --inputs {params.inputs}"
            " figures=reports/{wildcards.experiment}/figures --ipynb {output.ipynb} --html {output.html} 2>&1 | tee {log}"

    if made.explored_from:

        rule:
            name:
                made.explored_by
            input:
                **made.explored_from,
                **made.explored_with,
                code=code_of("explorer"),
            output:
                html=f"{REPORT}/explorer.html",
            wildcard_constraints:
                experiment=experiments_of(kind),
            params:
                recordings=paths(made.explored_from),
                options=options(made.explored_with),
            message:
                "Writing the explorer of {wildcards.experiment}"
            shell:
                "lrp-dynamics explorer {params.recordings} {params.options} --output {output.html} 2>&1 | tee {log}"
