"""Options of the test run."""

from __future__ import annotations

import signal
from collections import Counter

import pytest

import support

#: Modules that take minutes, the longest first: begun first, so that none of them is what all others wait for.
LONGEST = ("test_demo", "test_training_ways", "test_training", "test_publish_unkillable", "test_faults_killed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require-system-packages",
        action="store_true",
        help="a test whose system package is missing fails instead of being skipped",
    )


def pytest_configure(config: pytest.Config) -> None:
    support.REQUIRE_SYSTEM_PACKAGES = config.getoption("--require-system-packages")
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell leaves it for what it starts in the background
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Modules are handed out to the processes whole, in this order: the longest, then those with the most tests."""
    tests = Counter(item.path for item in items)

    def place(item: pytest.Item) -> tuple[int, int]:
        name = item.path.stem
        return (LONGEST.index(name) if name in LONGEST else len(LONGEST), -tests[item.path])

    items.sort(key=place)


def pytest_report_header() -> str:
    import paramiko

    return f"paramiko {paramiko.__version__}"
