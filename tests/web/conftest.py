from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    # The fixtures import models, which exist only once the suite's settings are in place.
    config.pluginmanager.import_plugin("tests.web.fixtures")
