"""Options of the test run."""

from __future__ import annotations

import signal

import pytest

import support


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


def pytest_report_header() -> str:
    import paramiko

    return f"paramiko {paramiko.__version__}"
