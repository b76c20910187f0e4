"""Builds the documentation site in build/site: collects the pages, runs Zensical, checks the result.

    python -m scripts.docs.build_site [--zensical PROGRAM]

Any warning, broken link, or address that a page would load from elsewhere is an error. `mkdocs.yml` has the
settings of the site. Runs in the environment of development, because the reference is made from the package;
Zensical has an environment of its own (`make docs`).
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.docs.links import find_problems
from scripts.docs.pages import collect_pages
from scripts.docs.reference import generated_files, generated_pages

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "build" / "docs"
SITE = ROOT / "build" / "site"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--zensical", default="zensical", help="the program to build with")
    program = parser.parse_args().zensical

    collect_pages(ROOT, generated_pages() | generated_files(), PAGES)
    shutil.rmtree(SITE, ignore_errors=True)
    built = subprocess.run(
        [program, "build", "--strict", "--clean"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    # A warning of a plugin, such as that of a name without documentation, does not end a strict build.
    warned = "warning" in (built.stdout + built.stderr).lower()
    if built.returncode or warned:
        print(built.stdout + built.stderr, file=sys.stderr)
        return 1
    problems = find_problems(SITE)
    print("\n".join(problems) or f"{len(list(SITE.rglob('*.html')))} pages in {SITE.relative_to(ROOT)}")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
