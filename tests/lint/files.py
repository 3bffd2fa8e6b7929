"""files.py - which files the lint tests look at: the tree without build directories."""

import os

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIP = {".git", "__pycache__", ".pytest_cache", "prefix", "corpus", "vectors"}


def walk(*tops):
    """Paths relative to the root of all files under the given directories, sorted."""
    found = []
    for top in tops or (".",):
        for folder, folders, files in os.walk(os.path.join(ROOT, top)):
            here = os.path.relpath(folder, ROOT)
            folders[:] = [f for f in folders if f not in SKIP and not
                          (here == "." and (f == "build" or f.startswith("build-")))]
            found += [os.path.normpath(os.path.join(here, f)) for f in files]
    return sorted(set(found))


def sources(*suffixes):
    """The C sources (or other suffixes) of the project."""
    suffixes = suffixes or (".c", ".h")
    return [f for f in walk("src", "include", "sim", "bench", "tests", "fuzz", "examples", "tools")
            if f.endswith(suffixes)]


def read(path):
    """The text of a file, path relative to the root."""
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as file:
        return file.read()
