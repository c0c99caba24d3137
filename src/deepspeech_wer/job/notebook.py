"""A notebook as a job: executed without a browser, watched, and saved as it goes.

The work is that of nbconvert's ``ExecutePreprocessor``. Ours streams the outputs into the log as they come, saves the
notebook into the result folder after every cell and on every failure, injects parameters as papermill does (a cell
tagged ``injected-parameters`` after the one tagged ``parameters``), keeps limits for a cell, for the whole run (the
kernel's start included) and for what is printed, and tells in a sentence why a notebook failed. Cells are counted as
``In [n]`` counts them in the saved notebook.
"""

# nbformat and nbconvert are typed in part.
# mypy: allow-untyped-calls

from __future__ import annotations

import asyncio
import json
import keyword
import logging
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbconvert.preprocessors import ExecutePreprocessor

from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.files import write_atomically
from deepspeech_wer.job import environment, outcome, processes
from deepspeech_wer.job import kernel as kernels
from deepspeech_wer.job.output import LONGEST_LINE, Output, Stream, one_line, overwritten, plain, printed_too_much
from deepspeech_wer.job.script import ending, out_of_memory_hint, too_late
from deepspeech_wer.job.spec import JobSpec

#: The executed notebook in the result folder.
EXECUTED = "notebook.ipynb"

#: Seconds for a kernel to start: a busy machine and a slow disk, not a slow training.
_STARTUP_SECONDS = 120

#: Seconds to wait for outputs that are still on their way when a cell has ended.
_OUTPUT_SECONDS = 60

#: What is added to a limit's end before it is blamed: clocks and polling are not exact.
_SLACK = 0.05

#: The tag and the id of the cell that holds the parameters of a run, as papermill names it.
_INJECTED = "injected-parameters"

_SAVED = "the traceback and all outputs so far are in notebook.ipynb, beside the log"


def run(
    spec: JobSpec,
    path: Path,
    output: Output,
    deadline: float | None,
    report: Callable[[int, int], None],
    python: environment.Interpreter | None = None,
) -> None:
    """Execute the notebook at ``path`` with the checkout as its working directory.

    ``deadline`` is on the clock of ``time.monotonic()``, None meaning none; ``report`` is told how many of how many
    code cells are done; ``python`` is the job's own interpreter, None for the tracker's. The kernel inherits this
    process's environment. Raises LandingFailed where the notebook cannot be read, is in another language, fails, or
    passes a limit, EnvironmentFailure where this machine has no kernel for it or cannot start it, and OSError where the
    result folder cannot be written.
    """
    notebook = read(path, spec.notebook)
    kernel = kernels.choose(spec, notebook, python)
    if spec.parameters:
        inject(notebook, spec, kernel.language)
    kernels.keep_home_clean(spec)
    _Execution(spec, kernel, output, deadline, report, python).execute_all(notebook)


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


class _Execution(ExecutePreprocessor):
    """One execution of one notebook."""

    def __init__(
        self,
        spec: JobSpec,
        kernel: KernelSpec,
        output: Output,
        deadline: float | None,
        report: Callable[[int, int], None],
        python: environment.Interpreter | None,
    ) -> None:
        super().__init__(
            startup_timeout=_STARTUP_SECONDS, iopub_timeout=_OUTPUT_SECONDS, timeout_func=self._seconds_left
        )
        self._spec = spec
        self._kernel = kernel
        self._tail = kernels.Tail()
        self._output = output
        self._streams = {"stdout": Stream(output), "stderr": Stream(output)}
        self._deadline = deadline
        self._report = report
        self._is_own_fault = python is not None and python.is_set_up
        self._done = 0
        self._total = 0
        self._kept = 0
        self._trouble: Exception | None = None

    def execute_all(self, notebook: nbformat.NotebookNode) -> None:
        """Execute every code cell, in order; see :func:`run`."""
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it tells of tasks that end with a dead kernel
        self._total = sum(self._is_run(cell) for cell in notebook.cells)
        self._report(0, self._total)
        try:
            self.preprocess(notebook, {"metadata": {"path": str(self._spec.checkout)}})
        except DeadKernelError as error:  # one that dies in a cell is dealt with in preprocess_cell
            raise self._not_started("it gave no account of itself") from error
        self._save()

    def create_kernel_manager(self) -> AsyncKernelManager:
        self.km = AsyncKernelManager(
            kernel_name=self._spec.kernel or "python3",
            kernel_spec_manager=kernels.OnlyKernel(self._kernel),
            connection_file=str(self._spec.partial / outcome.SCRATCH / "kernel.json"),
        )
        return self.km

    def start_new_kernel(self, **options: Any) -> None:
        try:
            super().start_new_kernel(stdout=self._tail.write_end, stderr=self._tail.write_end, **options)
        except (FileNotFoundError, PermissionError) as error:
            raise EnvironmentFailure(
                f"the kernel {self._spec.kernel!r} cannot be started: {error.strerror}: {self._kernel.argv[0]}",
                "install that kernel again, or let ds_kernel name another",
            ) from error
        finally:
            self._tail.close()

    def start_new_kernel_client(self) -> Any:
        try:
            return run_sync(self._start_client)()
        except TimeoutError as error:
            raise self._not_started(f"it did not answer within {_STARTUP_SECONDS} s") from error
        except RuntimeError as error:  # what nbclient and jupyter_client raise for a dead and for a silent kernel
            raise self._not_started(one_line(str(error))) from error

    async def _start_client(self) -> Any:
        """As nbclient does it, whose own limit goes by a clock that may be set back, and knows nothing of the run's."""
        left = math.inf if self._deadline is None else self._deadline - time.monotonic()
        return await asyncio.wait_for(self.async_start_new_kernel_client(), max(min(_STARTUP_SECONDS, left), _SLACK))

    async def _async_check_alive(self) -> None:
        """What nbclient asks every other second while it waits for a kernel; the end of the run is an answer too."""
        if self._is_overdue():
            raise DeadKernelError("the whole run has taken as long as it may")
        await super()._async_check_alive()

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
            if self._trouble is None and not self._is_overdue():
                raise self._dead(where) from error
            self._end_kernel()
            raise (self._trouble or self._too_long(where)) from error
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
        try:
            self._show(msg["msg_type"], msg["content"])
            return self._keep(outs, msg, display_id, cell_index)
        except Exception as error:
            # nbclient would see it only when the cell is done. It knows one reason to stop before: a dead kernel.
            self._trouble = error
            assert self.task_poll_for_reply is not None
            self.task_poll_for_reply.cancel()
            raise

    def _show(self, kind: str, content: dict[str, Any]) -> None:
        if kind == "stream":
            self._streams[content["name"]].feed(content["text"])
        elif kind in ("execute_result", "display_data"):
            self._write(content["data"].get("text/plain", ""))
        elif kind == "error":
            self._write("\n".join(content["traceback"]))

    def _keep(self, outs: list[Any], msg: dict[str, Any], display_id: str | None, cell_index: int) -> Any:
        """Add an output to its cell: one of a stream to what came before it, as a terminal would show the two."""
        last = outs[-1] if outs else {}
        content = msg["content"]
        is_more = last.get("output_type") == msg["msg_type"] == "stream" and last["name"] == content["name"]
        is_elsewhere = self.clear_before_next_output or bool(self.output_hook_stack[msg["parent_header"].get("msg_id")])
        if not is_more or is_elsewhere or len(last["text"]) > LONGEST_LINE:
            added = super().output(outs, msg, display_id, cell_index)
            self._count(_size(added or {}))
            return added
        before = len(last["text"])
        last["text"] = overwritten(last["text"] + content["text"])
        self._count(len(last["text"]) - before)
        return last

    def _count(self, size: int) -> None:
        """Count ``size`` more characters of outputs. Raises LandingFailed where the notebook holds more than it may."""
        limit = self._spec.log_bytes
        self._kept += size
        if limit and self._kept > limit:
            # Cells may have cleared what they put out: only now is it worth the time to count exactly.
            self._kept = sum(_size(output) for cell in self.nb.cells for output in cell.get("outputs", ()))
            if self._kept > limit:
                raise printed_too_much(limit)

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

    def _is_overdue(self) -> bool:
        return self._deadline is not None and time.monotonic() >= self._deadline - _SLACK

    def _too_long(self, where: str) -> LandingFailed:
        if self._is_overdue():
            return too_late(self._spec, f"{where} was on")
        return LandingFailed(
            f"{where} was not done after {self._spec.cell_seconds:g} s, the limit for a cell",
            "make the cell shorter, or raise ds_cell_timeout (seconds; 0 means no limit)",
        )

    def _not_started(self, why: str) -> LandingFailed | EnvironmentFailure:
        """The failure of a kernel that is not there before the first cell, which has had no part in that."""
        self._end_kernel()
        self._write(self._tail.text())
        if self._is_overdue():
            return too_late(self._spec, "the kernel was still starting")
        hint = "what it printed is in log.txt; a Python environment needs ipykernel to be one"
        return (LandingFailed if self._is_own_fault else EnvironmentFailure)(f"the kernel did not start: {why}", hint)

    def _dead(self, where: str) -> LandingFailed:
        assert self.km is not None and self.km.provisioner is not None
        # Only now, because ipykernel prints there again much of what comes as a cell's output.
        self._write(self._tail.text())
        code = run_sync(self.km.provisioner.poll)()
        how = f"the kernel {ending(code)}" if code is not None else "the kernel answers no more"
        return LandingFailed(f"{where}: {how}", out_of_memory_hint(code or 0) or _SAVED)

    def _end_kernel(self) -> None:
        """End the kernel and all below it before nbclient, which knows SIGKILL only and the kernel only, does."""
        processes.end_all(lambda: processes.descendants(os.getpid()))

    def _save(self) -> None:
        write_atomically(self._spec.partial / EXECUTED, nbformat.writes(self.nb))


def _size(output: dict[str, Any]) -> int:
    """About how many characters an output has in the saved notebook."""
    if output.get("output_type") == "stream":
        return len(output["text"])
    return len(json.dumps(output))


def _tags(cell: nbformat.NotebookNode) -> list[str]:
    tags: list[str] = cell.metadata.get("tags", [])
    return tags
