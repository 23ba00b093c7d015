"""No file that is opened may run code: nothing reads a pickle."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("src", "workflow", "benchmarks", "examples")
MODULES = {"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
NEVER = {"allow_pickle=True", "weights_only=False"}
# Calls that run what a file says, unless an argument says that they must not.
UNLESS = {
    "torch.load": ("weights_only=True",),
    "yaml.load": ("SafeLoader", "BaseLoader"),
    "load_state_dict_from_url": ("weights_only=True",),
    "get_state_dict": ("weights_only=True",),  # of torchvision
    "yaml.unsafe_load": (),
    "yaml.full_load": (),
    "read_pickle": (),
}


def runs_code(source: str) -> list[int]:
    """Return the lines of Python that may run code out of a file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if MODULES & {name.partition(".")[0] for name in names}:
            found.add(node.lineno)
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            arguments = [ast.unparse(part) for part in (*node.args, *node.keywords)]
            safe = [words for name, words in UNLESS.items() if called == name or called.endswith("." + name)]
            if NEVER & set(arguments) or any(not any(w in a for w in words for a in arguments) for words in safe):
                found.add(node.lineno)
    return sorted(found)


def test_nothing_reads_a_pickle():
    found, files = [], 0
    for path in sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")):
        found += [f"{path.relative_to(ROOT)}:{line}" for line in runs_code(path.read_text(encoding="utf-8"))]
        files += 1
    assert found == []
    assert files > 150


def test_the_rules_of_snakemake_read_none():
    """Their words are no Python that can be parsed."""
    paths = [ROOT / "Snakefile", ROOT / "workflow/Snakefile", *(ROOT / "workflow").rglob("*.smk")]
    words = (*MODULES, "torch.load", "allow_pickle", "read_pickle")
    assert [(path.name, word) for path in paths for word in words if word in path.read_text(encoding="utf-8")] == []


def test_what_reads_a_pickle_is_named():
    for line in (
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "pandas.read_pickle(path)",
        "torch.hub.load_state_dict_from_url(address)",
        "yaml.load(text, yaml.Loader)",
        "yaml.unsafe_load(text)",
    ):
        assert runs_code(line) == [1], line
    for line in (
        "torch.load(path, weights_only=True)",
        "np.load(path)",
        "json.load(f)",
        "yaml.load(t, yaml.SafeLoader)",
    ):
        assert runs_code(line) == [], line
