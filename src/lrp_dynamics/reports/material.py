"""What a study's report is made of besides modules: it lies in the study's package, and is installed with it."""

from importlib.resources import files
from importlib.resources.abc import Traversable

from lrp_dynamics.base.errors import UserError


def material(study: str, name: str) -> Traversable:
    """Return a file or folder of a study, wherever the package is installed.

    Parameters
    ----------
    study : str
        Name of the study, a package of `lrp_dynamics.studies`.
    name : str
        "notebook.py": the report's notebook in percent format; "captions": the folder of the figures' captions;
        "captions/<figure>.rst": one of them; or the name of what else lies in the study's package.

    Raises
    ------
    UserError
        If there is no such study, or nothing of that name in it.

    Examples
    --------
    >>> material("blog", "captions/heatmaps.rst").read_text(encoding="utf-8")[:22]
    '**Heatmaps along train'
    """
    packages = files("lrp_dynamics.studies")
    known = sorted(package.name for package in packages.iterdir() if (package / "study.py").is_file())
    if study not in known:
        raise UserError(f"found no study {study!r}; expected one of {', '.join(known)}")
    found = packages / study / name
    if not (found.is_file() or found.is_dir()):
        raise UserError(f"the study {study} has no {name}; expected a file or folder in its package")
    return found
