"""Tests that need a package from PyPI: installed once, into the build directory."""
import os
import pathlib
import subprocess
import sys

from dsa_program import PROGRAM, SKIPPED, main


def run_with(package, folder):
    """Runs the tests of the program with `package`, of an environment in the build directory's
    `folder`; skips them where DSA_SKIP_PYPI is set."""
    if os.environ.get("DSA_SKIP_PYPI"):
        print(f"DSA_SKIP_PYPI is set: {package} is not installed")
        sys.exit(SKIPPED)
    environment = pathlib.Path(PROGRAM).parent.parent / folder
    python = environment / "bin" / "python"
    done = environment / "done"
    if not done.exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", package], check=True)
        done.touch()
    if pathlib.Path(sys.prefix).resolve() != environment.resolve():
        os.execv(python, [str(python), "-B", *sys.argv])
    main()
