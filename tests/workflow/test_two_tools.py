"""Snakemake and DVC side by side: whichever is used first, the other knows what is current and what is not."""

import pytest

pytestmark = pytest.mark.pipeline


def test_dvc_knows_what_snakemake_built(built):
    built.assert_clean()
