"""A notebook as a job, on real kernels, run by the local engine: what it is given, and how it can fail."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import nbformat
import pytest

from deepspeech_wer.engines.local import LocalEngine
from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import kernel, notebook, processes
from deepspeech_wer.job.spec import FAILED, TRAINED, Status

STUBBORN = (
    "import subprocess\n"
    "subprocess.Popen(['env', '-i', 'setsid', 'sh', '-c', "
    "'trap \"\" TERM; echo $$ > pid; while :; do sleep 0.1; done'])\n"
    "import os, time\n"
    "while not os.path.exists('pid') or not open('pid').read().strip(): time.sleep(0.02)\n"
)

ENDLESS = "while True: time.sleep(0.1)"


def is_gone(pid: str) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return True


def saved(bench, folder=None):
    """The saved notebook; reading it checks that it is one."""
    return nbformat.read((folder or bench.spec.result) / "notebook.ipynb", 4)


def outputs(cell):
    return "".join(output.get("text", "") for output in cell.outputs)


def read_cells(bench, *cells, tags=None):
    return notebook.read(bench.notebook(*cells, tags=tags), "n.ipynb")


def test_a_notebook_trains(bench, write_hyper, monkeypatch):
    home = bench.root / "home"
    shadow = bench.root / "jupyter" / "kernels" / "python3"
    shadow.mkdir(parents=True)
    home.mkdir()
    (shadow / "kernel.json").write_text(json.dumps({"argv": ["/bin/false"], "display_name": "x", "language": "python"}))
    monkeypatch.setenv("JUPYTER_PATH", str(bench.root / "jupyter"))
    monkeypatch.setenv("HOME", str(home))
    for name in ("IPYTHONDIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ds_website_privkey", "secret")
    bench.settings |= {
        "parameters": {"epochs": 7, "name": "it's", "rate": 0.5, "fast": True, "most": float("inf")},
        "environment": {"ds_epochs": "3"},
        # The second, because a kernel that finds it does not show what C code prints.
        "withheld": ("ds_website_privkey", "PYTEST_CURRENT_TEST"),
    }
    bench.notebook(
        "epochs, name, rate, fast, most = 1, '', 0.0, False, 0.0",
        "print(epochs, name, rate, fast, most)",
        "import os, sys, time\n"
        "print(sys.executable, os.getcwd(), os.environ['ds_epochs'], os.environ.get('ds_website_privkey'))\n"
        "print(open(f'/proc/{os.getppid()}/environ').read().count('secret'), 'secrets above')",
        "for i in range(50): print(f'\\r{i} of 50', end='', file=sys.stderr)\n"
        "os.write(1, b'from C\\n')\n"
        "while not os.path.exists('seen'): time.sleep(0.05)",
        "",
        "1 + 1",
        write_hyper,
        tags={0: "parameters"},
    )

    def watch(progress):
        bench.seen.append(progress)
        if "from C" in progress.lines:
            (bench.checkout / "seen").touch()  # without which the cell goes on for ever

    bench.watch = watch
    bench.settings["run_seconds"] = 60.0
    status = bench.run()
    assert (status.state, status.cell, status.cells) == (TRAINED, 7, 7), status
    lines = bench.printed()
    assert "7 it's 0.5 True inf" in lines
    assert f"{sys.executable} {bench.checkout} 3 None" in lines
    assert "0 secrets above" in lines
    assert [line for line in lines if "of 50" in line] == ["49 of 50"]
    assert lines.count("from C") == 1
    assert "2" in lines
    assert any(line.endswith("cell 3 of 7 starts") for line in lines)
    assert any("cell 3 of 7 done in" in line for line in lines)
    assert {progress.cells for progress in bench.seen[-3:]} == {7}
    executed = saved(bench)
    assert [cell.metadata.get("tags") for cell in executed.cells[:3]] == [["parameters"], ["injected-parameters"], None]
    assert [cell.execution_count for cell in executed.cells] == [1, 2, 3, 4, 5, None, 6, 7]
    assert list(home.iterdir()) == []


def test_a_cell_that_raises(bench):
    bench.notebook("print('before')", "1 / 0", "print('after')")
    status = bench.run()
    assert status.state == FAILED
    assert status.why == "cell 2: ZeroDivisionError: division by zero"
    assert (status.cell, status.cells) == (1, 3)
    assert "ZeroDivisionError" in bench.result("log.txt") and "\x1b" not in bench.result("log.txt")
    assert "after" not in bench.result("log.txt")
    cells = saved(bench).cells
    assert outputs(cells[0]) == "before\n"
    assert cells[1].outputs[0].ename == "ZeroDivisionError"


@pytest.mark.parametrize(
    ("death", "how", "hint"),
    [
        ("os._exit(3)", "ended with exit code 3", "notebook.ipynb"),
        ("os.kill(os.getpid(), 9)", "was ended by SIGKILL", "dmesg"),
    ],
)
def test_a_kernel_that_dies(bench, death, how, hint):
    bench.notebook("import os\nprint('before')", f"os.write(2, b'last words')\n{death}")
    status = bench.run()
    assert status.state == FAILED
    assert status.why == f"cell 2: the kernel {how}"
    assert hint in status.hint
    assert outputs(saved(bench).cells[0]) == "before\n"


def test_an_endless_cell_ends_at_its_limit_with_all_that_it_started(bench):
    bench.settings["cell_seconds"] = 1.5
    bench.notebook(STUBBORN + "print('still here', flush=True)\n" + ENDLESS)
    status = bench.run()
    assert status.state == FAILED
    assert status.why == "cell 1 was not done after 1.5 s, the limit for a cell"
    assert "ds_cell_timeout" in status.hint
    assert is_gone((bench.checkout / "pid").read_text().strip())
    assert "still here" in outputs(saved(bench).cells[0])


def test_the_limit_of_the_whole_run_ends_whichever_cell_is_on(bench):
    bench.settings |= {"cell_seconds": 60.0, "run_seconds": 10.0}
    bench.notebook("import time; time.sleep(0.1)", "time.sleep(1000)")
    status = bench.run()
    assert status.state == FAILED
    assert status.why in {f"cell {n} was on when the whole run had taken 10 s, its limit" for n in (1, 2)}
    assert "ds_run_timeout" in status.hint


def test_a_worker_that_is_killed_leaves_the_notebook_as_of_the_last_cell(bench):
    bench.notebook("print('first')", STUBBORN + "print('second')\nprint('ready', os.getppid())\n" + ENDLESS)

    def kill(progress):
        bench.seen.append(progress)
        for line in progress.lines:
            if line.startswith("ready"):
                os.kill(int(line.split()[1]), signal.SIGKILL)

    bench.watch = kill
    status = bench.run()
    assert status.state == FAILED
    assert "SIGKILL" in status.why
    assert (status.cell, status.cells) == (1, 2)
    assert [outputs(cell) for cell in saved(bench).cells] == ["first\n", ""]
    # That one took its mark out of its environment, and the worker that would have adopted it is gone: where it works
    # gives it away.
    assert is_gone((bench.checkout / "pid").read_text().strip())


def test_an_interrupt_leaves_no_process_and_no_result_and_the_next_try_succeeds(
    bench, write_hyper, interrupt, interrupted
):
    bench.notebook("print('first')", STUBBORN + "print('ready')\n" + ENDLESS)

    def watch(progress):
        if "ready" in progress.lines:
            interrupt()

    with pytest.raises(interrupted):
        LocalEngine().run(bench.spec, watch)
    assert processes.marked(bench.spec.run_id) == []
    assert is_gone((bench.checkout / "pid").read_text().strip())
    assert not bench.spec.result.exists()
    assert [outputs(cell) for cell in saved(bench, bench.spec.partial).cells] == ["first\n", "ready\n"]

    bench.notebook(write_hyper)
    assert bench.run().state == TRAINED


def test_a_named_kernel_is_used_and_one_that_cannot_start_is_told(bench, monkeypatch):
    folder = bench.root / "jupyter" / "kernels"
    monkeypatch.setenv("JUPYTER_PATH", str(folder.parent))
    for name, argv in (("broken", [sys.executable, "-c", "exit('no such module')"]), ("absent", ["/no/such/program"])):
        (folder / name).mkdir(parents=True)
        spec = {"argv": argv, "display_name": name, "language": "python"}
        (folder / name / "kernel.json").write_text(json.dumps(spec))
    bench.notebook("1")

    bench.settings |= {"kernel": "broken", "result": bench.root / "runs" / "broken"}
    with pytest.raises(EnvironmentFailure, match="the kernel did not start") as caught:
        bench.run()
    assert "ipykernel" in caught.value.hint
    assert "no such module" in (bench.spec.partial / "log.txt").read_text()
    assert not bench.spec.result.exists()

    bench.settings |= {"kernel": "absent", "result": bench.root / "runs" / "absent"}
    with pytest.raises(EnvironmentFailure, match="/no/such/program") as caught:
        bench.run()
    assert "ds_kernel" in caught.value.hint
    assert Status.from_json((bench.spec.partial / "status.json").read_text()).why == caught.value.message


def test_a_kernel_that_there_is_not(bench):
    bench.settings["kernel"] = "unknown"
    with pytest.raises(EnvironmentFailure, match="no kernel 'unknown'") as caught:
        kernel.choose(bench.spec, read_cells(bench, "1"))
    assert "ds_kernel" in caught.value.hint and "python3" in caught.value.hint


def test_another_language_needs_a_kernel_named(bench):
    cells = read_cells(bench, "println(1)")
    cells.metadata["kernelspec"] = {"name": "julia-1.9", "language": "julia", "display_name": "Julia"}
    with pytest.raises(LandingFailed, match="written in julia") as caught:
        kernel.choose(bench.spec, cells)
    assert "ds_kernel" in caught.value.hint and "python3" in caught.value.hint
    bench.settings["kernel"] = "python3"
    assert kernel.choose(bench.spec, cells).language == "python"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("\udcff", "not valid JSON"),
        ("[]", "no 'nbformat'"),
        ("{}", "no 'nbformat'"),
        ('{"nbformat": 99, "nbformat_minor": 0}', "format 99"),
        ('{"nbformat": 4, "nbformat_minor": 5}', "not a valid notebook"),
        (
            '{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
            "not a valid notebook",
        ),
        ('{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": 3}', "not a valid notebook"),
        ('{"nbformat": 3, "nbformat_minor": 0}', "not a valid notebook"),
    ],
)
def test_what_is_not_a_notebook(tmp_path, content, why):
    path = tmp_path / "n.ipynb"
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(LandingFailed, match=why) as caught:
        notebook.read(path, "n.ipynb")
    assert caught.value.hint and len(caught.value.message) < 500


def test_a_notebook_of_an_older_format_is_upgraded(tmp_path):
    old = nbformat.v3.new_notebook(
        worksheets=[
            nbformat.v3.new_worksheet(
                cells=[nbformat.v3.new_code_cell("1 + 1"), nbformat.v3.new_text_cell("html", "x")]
            )
        ]
    )
    path = tmp_path / "old.ipynb"
    path.write_text(json.dumps(old))
    new = notebook.read(path, "old.ipynb")
    assert new.nbformat == 4
    assert [cell.source for cell in new.cells] == ["1 + 1", "x"]


def test_parameters_go_to_the_top_where_no_cell_is_tagged_and_replace_those_of_an_earlier_run(bench):
    bench.settings["parameters"] = {"epochs": 2}
    cells = read_cells(bench, "a", "b")
    notebook.inject(cells, bench.spec, "python")
    assert [cell.source.splitlines()[-1] for cell in cells.cells] == ["epochs = 2", "a", "b"]
    bench.settings["parameters"] = {"epochs": 3}
    notebook.inject(cells, bench.spec, "python")
    assert [cell.source.splitlines()[-1] for cell in cells.cells] == ["epochs = 3", "a", "b"]
    nbformat.validate(cells)


@pytest.mark.parametrize(
    ("name", "language"), [("a b", "python"), ("import os", "python"), ("if", "python"), ("a", "R")]
)
def test_parameters_that_cannot_be_injected(bench, name, language):
    bench.settings["parameters"] = {name: 2}
    with pytest.raises(LandingFailed):
        notebook.inject(read_cells(bench, "a"), bench.spec, language)
