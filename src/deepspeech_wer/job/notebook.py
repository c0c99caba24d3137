"""A notebook as a job: executed without a browser, watched, and saved as it goes.

The work is that of nbconvert's ``ExecutePreprocessor``. Ours streams the outputs into the log as they come, saves the
notebook into the result folder after every cell and on every failure, injects parameters as papermill does (a cell
tagged ``injected-parameters`` after the one tagged ``parameters``), keeps limits for a cell and for the whole run, and
tells in a sentence why a notebook failed. Cells are counted as ``In [n]`` counts them in the saved notebook.
"""

# nbformat and nbconvert are typed in part.
# mypy: allow-untyped-calls

from __future__ import annotations

import json
import keyword
import logging
import math
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import ExecutePreprocessor
from traitlets import TraitError

from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.files import write_atomically
from deepspeech_wer.job import outcome, processes
from deepspeech_wer.job.output import Output, Stream, one_line, plain
from deepspeech_wer.job.script import ending, out_of_memory_hint
from deepspeech_wer.job.spec import JobSpec

#: The executed notebook in the result folder.
EXECUTED = "notebook.ipynb"

#: Seconds for a kernel to start: a busy machine and a slow disk, not a slow training.
_STARTUP_SECONDS = 120

#: Seconds to wait for outputs that are still on their way when a cell has ended.
_OUTPUT_SECONDS = 60

#: Bytes of a dead kernel's own output that are copied into the log.
_KERNEL_LOG_SHOWN = 8192

#: What is added to a limit's end before it is blamed: clocks and polling are not exact.
_SLACK = 0.05

#: The tag and the id of the cell that holds the parameters of a run, as papermill names it.
_INJECTED = "injected-parameters"

_SAVED = "the traceback and all outputs so far are in notebook.ipynb, beside the log"


def run(spec: JobSpec, path: Path, output: Output, deadline: float | None, report: Callable[[int, int], None]) -> None:
    """Execute the notebook at ``path`` with the checkout as its working directory.

    ``deadline`` is on the clock of ``time.monotonic()``, None meaning none; ``report`` is told how many of how many
    code cells are done. The kernel inherits this process's environment. Raises LandingFailed where the notebook cannot
    be read, has no kernel, fails, or passes a limit, and OSError where the result folder cannot be written.
    """
    notebook = read(path, spec.notebook)
    kernel = choose_kernel(spec, notebook)
    if spec.parameters:
        inject(notebook, spec, kernel.language)
    _keep_home_clean(spec)
    _Execution(spec, kernel, output, deadline, report).execute_all(notebook)


def read(path: Path, name: str) -> nbformat.NotebookNode:
    """The notebook at ``path``, in today's format whatever its own. Raises LandingFailed where it is none."""
    hint = "open it in Jupyter and save it; what Jupyter cannot open is not a notebook"
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise LandingFailed(f"{name} is not a notebook: it is not valid JSON ({one_line(str(error))})", hint) from error
    version = content.get("nbformat") if isinstance(content, dict) else None
    if not isinstance(version, int):
        raise LandingFailed(f"{name} is not a notebook: it has no 'nbformat'", hint)
    if version > nbformat.current_nbformat:
        raise LandingFailed(
            f"{name} is of notebook format {version}, and this machine knows formats up to {nbformat.current_nbformat}",
            "update nbformat here (pip install -U nbformat), or save the notebook in an older format",
        )
    try:
        notebook: nbformat.NotebookNode = nbformat.convert(nbformat.reader.reads(json.dumps(content)), 4)
        _, notebook = nbformat.validator.normalize(notebook)  # gives cells of an older minor version their ids
        nbformat.validate(notebook, relax_add_props=True)
    except Exception as error:  # nbformat raises what its upgrades stumble on: KeyError, AttributeError, TypeError
        raise LandingFailed(f"{name} is not a valid notebook: {one_line(str(error))}", hint) from error
    return notebook


def choose_kernel(spec: JobSpec, notebook: nbformat.NotebookNode) -> KernelSpec:
    """The kernel that the specification names, else the running interpreter's.

    The second is not looked up by its name ``python3``, which any folder of kernels may give to another interpreter.
    Raises LandingFailed where there is no such kernel, or where the notebook is in another language.
    """
    manager = KernelSpecManager()
    if spec.kernel:
        try:
            return manager.get_kernel_spec(spec.kernel)
        except NoSuchKernel as error:
            raise LandingFailed(f"there is no kernel {spec.kernel!r} on this machine", _kernels(manager)) from error
        except (OSError, ValueError, TypeError, TraitError) as error:
            raise LandingFailed(
                f"the kernel {spec.kernel!r} cannot be read: {one_line(str(error))}", "install that kernel again"
            ) from error
    metadata = notebook.metadata
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language") or ""
    if language and language.lower() not in ("python", "ipython"):
        raise LandingFailed(
            f"{spec.notebook} is written in {language}, and ds_kernel names no kernel for it", _kernels(manager)
        )
    return KernelSpec(
        argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"],
        display_name="Python (the interpreter of this job)",
        language="python",
    )


def inject(notebook: nbformat.NotebookNode, spec: JobSpec, language: str) -> None:
    """Put ``spec.parameters`` into a cell of their own, after the cell tagged ``parameters`` or else at the top.

    A cell that an earlier run injected is replaced. Raises LandingFailed where the kernel's ``language`` is not Python,
    or a name cannot be one of a Python variable.
    """
    if language.lower() != "python":
        raise LandingFailed(
            f"{spec.notebook} runs in {language or 'another language'}, and parameters can be given to Python only",
            "give them to the notebook by environment variables",
        )
    lines = ["# Parameters of this run"]
    for name, value in spec.parameters.items():
        if not name.isidentifier() or keyword.iskeyword(name):
            raise LandingFailed(f"the parameter {name!r} is not the name of a Python variable", "rename it")
        is_odd = isinstance(value, float) and not math.isfinite(value)
        lines.append(f"{name} = float({str(value)!r})" if is_odd else f"{name} = {value!r}")
    cell = nbformat.v4.new_code_cell("\n".join(lines), id=_INJECTED, metadata={"tags": [_INJECTED]})
    if notebook.nbformat_minor < 5:
        del cell["id"]  # cells had none then
    notebook.cells = [old for old in notebook.cells if _INJECTED not in _tags(old)]
    places = (index + 1 for index, old in enumerate(notebook.cells) if "parameters" in _tags(old))
    notebook.cells.insert(next(places, 0), cell)


class _Kernel(KernelSpecManager):
    """Knows one kernel, whatever it is asked for."""

    def __init__(self, kernel: KernelSpec) -> None:
        super().__init__()
        self._kernel = kernel

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self._kernel


class _Execution(ExecutePreprocessor):
    """One execution of one notebook."""

    def __init__(
        self,
        spec: JobSpec,
        kernel: KernelSpec,
        output: Output,
        deadline: float | None,
        report: Callable[[int, int], None],
    ) -> None:
        super().__init__(
            startup_timeout=_STARTUP_SECONDS, iopub_timeout=_OUTPUT_SECONDS, timeout_func=self._seconds_left
        )
        self._spec = spec
        self._kernel = kernel
        self._kernel_log = spec.partial / outcome.SCRATCH / "kernel.log"
        self._output = output
        self._streams = {"stdout": Stream(output), "stderr": Stream(output)}
        self._deadline = deadline
        self._report = report
        self._done = 0
        self._total = 0

    def execute_all(self, notebook: nbformat.NotebookNode) -> None:
        """Execute every code cell, in order; see :func:`run`."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of tasks that end with a dead kernel
        self._total = sum(self._is_run(cell) for cell in notebook.cells)
        self._report(0, self._total)
        self.preprocess(notebook, {"metadata": {"path": str(self._spec.checkout)}})
        self._save()

    def create_kernel_manager(self) -> AsyncKernelManager:
        self.km = AsyncKernelManager(
            kernel_name=self._spec.kernel or "python3",
            kernel_spec_manager=_Kernel(self._kernel),
            connection_file=str(self._spec.partial / outcome.SCRATCH / "kernel.json"),
        )
        return self.km

    def start_new_kernel(self, **options: Any) -> None:
        try:
            with self._kernel_log.open("wb") as log:
                super().start_new_kernel(stdout=log, stderr=log, **options)
        except (FileNotFoundError, PermissionError) as error:
            raise LandingFailed(
                f"the kernel {self._spec.kernel!r} cannot be started: {error.strerror}: {self._kernel.argv[0]}",
                "install that kernel again, or let ds_kernel name another",
            ) from error

    def start_new_kernel_client(self) -> Any:
        try:
            return super().start_new_kernel_client()
        except RuntimeError as error:  # what nbclient and jupyter_client raise for a dead and for a silent kernel
            self._show_kernel_log()
            raise LandingFailed(
                f"the kernel did not start: {one_line(str(error))}",
                "what it printed is in log.txt; a Python environment needs ipykernel to be one",
            ) from error

    def preprocess_cell(
        self, cell: nbformat.NotebookNode, resources: dict[str, Any], index: int
    ) -> tuple[nbformat.NotebookNode, dict[str, Any]]:
        if not self._is_run(cell):
            return cell, resources
        where = f"cell {self._done + 1}"
        self._output.step(f"{where} of {self._total} starts")
        started = time.monotonic()
        try:
            cell, resources = super().preprocess_cell(cell, resources, index)
        except CellExecutionError as error:
            raise LandingFailed(one_line(f"{where}: {error.ename}: {error.evalue}"), _SAVED) from error
        except CellTimeoutError as error:
            self._end_kernel()
            raise self._too_long(where) from error
        except DeadKernelError as error:
            raise self._dead(where) from error
        except BaseException:
            self._end_kernel()
            raise
        finally:
            for stream in self._streams.values():
                stream.close()
            self._save()
        self._done += 1
        self._report(self._done, self._total)
        self._output.step(f"{where} of {self._total} done in {time.monotonic() - started:.1f} s")
        return cell, resources

    def output(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        kind, content = msg["msg_type"], msg["content"]
        if kind == "stream":
            self._streams[content["name"]].feed(content["text"])
        elif kind in ("execute_result", "display_data"):
            self._write(content["data"].get("text/plain", ""))
        elif kind == "error":
            self._write("\n".join(content["traceback"]))
        return super().output(outs, msg, display_id, cell_index)

    def _write(self, text: str) -> None:
        for stream in self._streams.values():
            stream.close()
        for line in plain(text).splitlines():
            self._output.write(line)

    def _is_run(self, cell: nbformat.NotebookNode) -> bool:
        """Whether nbclient executes the cell, and Jupyter gives it a number."""
        return cell.cell_type == "code" and bool(cell.source.strip()) and self.skip_cells_with_tag not in _tags(cell)

    def _seconds_left(self, _: nbformat.NotebookNode) -> float | None:
        """How long the next cell may take; None for as long as it likes. nbclient takes 0 for None as well."""
        limits = [self._spec.cell_seconds] if self._spec.cell_seconds > 0 else []
        if self._deadline is not None:
            limits.append(max(self._deadline - time.monotonic(), _SLACK))
        return min(limits, default=None)

    def _too_long(self, where: str) -> LandingFailed:
        if self._deadline is not None and time.monotonic() >= self._deadline - _SLACK:
            return LandingFailed(
                f"{where} was on when the whole run had taken {self._spec.run_seconds:g} s, its limit",
                "make the training shorter, or raise ds_run_timeout (seconds; 0 means no limit)",
            )
        return LandingFailed(
            f"{where} was not done after {self._spec.cell_seconds:g} s, the limit for a cell",
            "make the cell shorter, or raise ds_cell_timeout (seconds; 0 means no limit)",
        )

    def _dead(self, where: str) -> LandingFailed:
        assert self.km is not None and self.km.provisioner is not None
        self._show_kernel_log()
        code = run_sync(self.km.provisioner.poll)()
        how = f"the kernel {ending(code)}" if code is not None else "the kernel answers no more"
        return LandingFailed(f"{where}: {how}", out_of_memory_hint(code or 0) or _SAVED)

    def _end_kernel(self) -> None:
        """End the kernel and all below it before nbclient, which knows SIGKILL only and the kernel only, does."""
        processes.end_all(lambda: processes.descendants(os.getpid()))

    def _show_kernel_log(self) -> None:
        """Copy the end of what the kernel printed past Jupyter into the log: how it crashed, if it said so.

        Only now, because ipykernel prints there again much of what comes as a cell's output.
        """
        with self._kernel_log.open("rb") as log:
            log.seek(max(0, log.seek(0, os.SEEK_END) - _KERNEL_LOG_SHOWN))
            self._write(log.read().decode(errors="replace"))

    def _save(self) -> None:
        write_atomically(self._spec.partial / EXECUTED, nbformat.writes(self.nb))


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    tags: list[str] = cell.metadata.get("tags", [])
    return tags


def _kernels(manager: KernelSpecManager) -> str:
    names = ", ".join(sorted(manager.find_kernel_specs())) or "none"
    return f"let ds_kernel name one of the kernels that are there: {names}"


def _keep_home_clean(spec: JobSpec) -> None:
    """Let the kernel keep its connection file, profile and history in the result folder's scratch, not in the home.

    A profile of the user's with start-up files of its own would also change what is trained.
    """
    for name, folder in (("JUPYTER_RUNTIME_DIR", "jupyter"), ("IPYTHONDIR", "ipython")):
        path = spec.partial / outcome.SCRATCH / folder
        path.mkdir(mode=0o700, parents=True)
        if name not in spec.environment:
            os.environ[name] = str(path)
