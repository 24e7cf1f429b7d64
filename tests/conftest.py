"""Rules that hold for every test: what a missing outside judge means, here and in CI."""

from __future__ import annotations

import os
import shutil
from collections.abc import Generator

import pytest

JUDGES = {
    "browser": ("chromium", "Debian's package chromium"),
    "gstreamer": ("gst-launch-1.0", "Debian's packages gstreamer1.0-tools and gstreamer1.0-plugins-*"),
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, with the reason, tests whose judge is not on this machine."""
    for item in items:
        for marker, (program, package) in JUDGES.items():
            if item.get_closest_marker(marker) and shutil.which(program) is None:
                item.add_marker(pytest.mark.skip(reason=f"needs {program}: install {package}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """In CI a judge that is missing is a failure, not a skip."""
    report = yield
    if report.skipped and os.environ.get("CI") and any(item.get_closest_marker(m) for m in JUDGES):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped in CI, where its judge must be installed: {report.longrepr}"
    return report
