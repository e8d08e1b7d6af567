"""What runs where only `requirements/base.txt` or `demo.txt` is installed: tests themselves have far more packages."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.environment import ROOT, clean_environment

# Every other distribution is as good as not installed in the program that runs this first.
HIDE_OTHERS = """
import re, runpy, sys
from importlib.metadata import packages_distributions
from pathlib import Path

pinned = set(re.findall(r"^([a-z0-9-]+)==", Path(sys.argv.pop(1)).read_text(), re.MULTILINE))
found = {name: {one.lower().replace("_", "-") for one in which} for name, which in packages_distributions().items()}
hidden = {name for name, which in found.items() if not which & pinned}
assert {"pytest", "yaml"} <= hidden and "django" not in hidden, hidden

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
"""
AS_MANAGE = HIDE_OTHERS + "sys.argv[0] = 'manage.py'\nrunpy.run_path('manage.py', run_name='__main__')\n"
AS_WEB_AND_WORKER = HIDE_OTHERS + "import config.wsgi, newsletters.actors, gunicorn.app.wsgiapp\n"


def run(program: str, requirements: str, *arguments: str, folder: Path) -> None:
    command = [sys.executable, "-c", program, str(ROOT / "requirements" / requirements), *arguments]
    environment = clean_environment() | {"DATABASE_URL": f"sqlite:///{folder}/courant.sqlite3"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("requirements", ["base.txt", "demo.txt"])
def test_a_deployment_s_packages_are_enough_for_checks_and_migrations(requirements: str, tmp_path: Path) -> None:
    run(AS_MANAGE, requirements, "migrate", "--verbosity", "0", folder=tmp_path)


def test_a_deployment_s_packages_are_enough_for_web_and_workers(tmp_path: Path) -> None:
    run(AS_WEB_AND_WORKER, "base.txt", folder=tmp_path)
