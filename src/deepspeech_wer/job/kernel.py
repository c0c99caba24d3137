"""The Jupyter kernel that a notebook runs in: which one it is, where it keeps its files, and what it prints itself."""

# mypy: allow-untyped-calls

from __future__ import annotations

import os
import sys
import threading

import nbformat
from jupyter_client.kernelspec import KernelSpec, KernelSpecManager, NoSuchKernel
from traitlets import TraitError

from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import environment, outcome
from deepspeech_wer.job.output import one_line
from deepspeech_wer.job.spec import JobSpec

#: Bytes of what a kernel prints past Jupyter that are kept.
_KEPT = 8192

#: Seconds to wait for the end of that, which a process that the kernel left behind may hold open.
_END_SECONDS = 1.0


def choose(spec: JobSpec, notebook: nbformat.NotebookNode, python: environment.Interpreter | None = None) -> KernelSpec:
    """The kernel that the specification names, else that of the job's own interpreter ``python``, else the tracker's.

    The last is not looked up by its name ``python3``, which any folder of kernels may give to another interpreter.
    Raises EnvironmentFailure where there is no such kernel, and LandingFailed where the notebook is in another language
    or the landing's own environment lacks ipykernel.
    """
    manager = KernelSpecManager()
    if spec.kernel:
        try:
            return manager.get_kernel_spec(spec.kernel)
        except NoSuchKernel as error:
            raise EnvironmentFailure(
                f"there is no kernel {spec.kernel!r} on this machine", _kernels(manager)
            ) from error
        except (OSError, ValueError, TypeError, TraitError) as error:
            raise EnvironmentFailure(
                f"the kernel {spec.kernel!r} cannot be read: {one_line(str(error))}", "install that kernel again"
            ) from error
    metadata = notebook.metadata
    language = metadata.get("language_info", {}).get("name") or metadata.get("kernelspec", {}).get("language") or ""
    if language and language.lower() not in ("python", "ipython"):
        raise LandingFailed(
            f"{spec.notebook} is written in {language}, and ds_kernel names no kernel for it", _kernels(manager)
        )
    if python is not None:
        environment.require_ipykernel(python)
    return KernelSpec(
        argv=[
            python.executable if python is not None else sys.executable,
            "-m",
            "ipykernel_launcher",
            "-f",
            "{connection_file}",
        ],
        display_name="Python (the interpreter of this job)",
        language="python",
    )


class OnlyKernel(KernelSpecManager):
    """Knows one kernel, whatever it is asked for."""

    def __init__(self, kernel: KernelSpec) -> None:
        super().__init__()
        self._kernel = kernel

    def get_kernel_spec(self, kernel_name: str) -> KernelSpec:
        return self._kernel


class Tail:
    """The end of what a kernel prints past Jupyter. It comes through a pipe, so that it cannot fill the disk."""

    def __init__(self) -> None:
        self._read, self.write_end = os.pipe()
        self._data = b""
        self._thread = threading.Thread(target=self._copy, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Called when the kernel, or nobody, has the pipe's other end."""
        os.close(self.write_end)

    def text(self) -> str:
        """What a dead kernel printed last."""
        self._thread.join(_END_SECONDS)
        return self._data.decode(errors="replace")

    def _copy(self) -> None:
        while data := os.read(self._read, 65536):
            self._data = (self._data + data)[-_KEPT:]
        os.close(self._read)


def keep_home_clean(spec: JobSpec) -> None:
    """Let the kernel keep its connection file, profile and history in the result folder's scratch, not in the home.

    A profile of the user's with start-up files of its own would also change what is trained.
    """
    for name, folder in (("JUPYTER_RUNTIME_DIR", "jupyter"), ("IPYTHONDIR", "ipython")):
        path = spec.partial / outcome.SCRATCH / folder
        path.mkdir(mode=0o700, parents=True)
        if name not in spec.environment:
            os.environ[name] = str(path)


def _kernels(manager: KernelSpecManager) -> str:
    names = ", ".join(sorted(manager.find_kernel_specs())) or "none"
    return f"let ds_kernel name one of the kernels that are there: {names}"
