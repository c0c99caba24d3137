"""What a training needs: its Python, its kernel, the GPU, and TensorFlow that sees it. None of it is imported here."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator

from deepspeech_wer.config import Settings
from deepspeech_wer.diagnosis import Check, fail, ok, warn

#: Seconds that an interpreter gets for an import; TensorFlow takes its time on a slow disk.
_IMPORT, _HEAVY_IMPORT = 60, 240

_MARK = "deepspeech-wer:"
_LOOK_FOR_KERNEL = f"import ipykernel, sys; print('{_MARK}', ipykernel.__version__, sys.version.split()[0])"
_LOOK_FOR_GPUS = (
    "import json, tensorflow as tf; "
    "gpus = [tf.config.experimental.get_device_details(d).get('device_name', d.name) "
    "for d in tf.config.list_physical_devices('GPU')]; "
    f"print('{_MARK}', json.dumps({{'version': tf.__version__, 'gpus': gpus}}))"
)


def python(settings: Settings) -> Iterator[Check]:
    """Whether the job's Python is there, and can be the kernel of a notebook."""
    if settings.kernel:
        yield _named_kernel(settings)
        return
    interpreter = _interpreter(settings)
    if interpreter is None:
        yield fail(
            "python", f"ds_job_python is {settings.job_python}, which is no program", "name a Python interpreter"
        )
        return
    if settings.setup_command:
        said = _ask(settings, interpreter, f"import venv, ensurepip; print('{_MARK} yes')", _IMPORT)
        found = f"{interpreter} makes the job's environment, which ds_setup_command fills"
        mend = "install its venv module (Debian: apt-get install python3-venv)"
        is_there = said.answer is not None
        yield ok("python", found) if is_there else fail("python", f"{interpreter} cannot make environments", mend)
        return
    said = _ask(settings, interpreter, _LOOK_FOR_KERNEL, _IMPORT)
    if said.answer is not None:
        kernel, version = said.answer.split()
        yield ok("kernel", f"{interpreter}, Python {version} with ipykernel {kernel}")
    else:
        yield warn(
            "kernel",
            f"{interpreter} cannot be a notebook's kernel: {said.why}",
            f"{interpreter} -m pip install ipykernel; a training that is a script does not need it",
        )


def _named_kernel(settings: Settings) -> Check:
    from jupyter_client.kernelspec import KernelSpecManager, NoSuchKernel

    manager = KernelSpecManager()
    try:
        kernel = manager.get_kernel_spec(settings.kernel)
    except NoSuchKernel:
        names = ", ".join(sorted(manager.find_kernel_specs())) or "none"
        return fail("kernel", f"there is no kernel {settings.kernel!r} on this machine", f"kernels here: {names}")
    program = kernel.argv[0] if kernel.argv else ""
    if shutil.which(program) is None:
        return fail(
            "kernel",
            f"the kernel {settings.kernel!r} starts {program!r}, which is not there",
            "install that kernel again",
        )
    return ok("kernel", f"{settings.kernel!r} ({kernel.display_name}), which starts {program}")


def gpu(settings: Settings) -> Iterator[Check]:
    """Which GPUs the driver shows to a job."""
    from deepspeech_wer.job import gpu as nvml

    environment = _environment(settings)
    seen = nvml.visible(environment)
    if seen:
        yield ok("gpu", ", ".join(seen))
    elif settings.require_gpu:
        yield fail(
            "gpu", f"none, and ds_require_gpu demands one: {nvml.why_none(environment)}", "see what nvidia-smi says"
        )
    else:
        yield ok("gpu", f"none: {nvml.why_none(environment)}; trainings run on the CPU")


def tensorflow(settings: Settings) -> Iterator[Check]:
    """Whether TensorFlow is there for the job, and sees the GPUs that the driver shows."""
    from deepspeech_wer.job import gpu as nvml

    if settings.setup_command or settings.kernel:
        whose = "ds_setup_command" if settings.setup_command else "ds_kernel"
        yield ok("tensorflow", f"not looked for: what a training has, {whose} says")
        return
    interpreter = _interpreter(settings)
    if interpreter is None:  # told by python()
        return
    said = _ask(settings, interpreter, _LOOK_FOR_GPUS, _HEAVY_IMPORT)
    if said.answer is None:
        yield warn(
            "tensorflow",
            f"{interpreter} cannot import it: {said.why}",
            f"{interpreter} -m pip install 'tensorflow[and-cuda]'; a training with another framework does not need it",
        )
        return
    value = json.loads(said.answer)
    there, seen = nvml.visible(_environment(settings)), value["gpus"]
    if seen:
        yield ok("tensorflow", f"{value['version']} sees {', '.join(map(str, seen))}")
    elif there or settings.require_gpu:
        level = fail if settings.require_gpu else warn
        yield level(
            "tensorflow",
            f"{value['version']} sees no GPU" + (f", and there is {', '.join(there)}" if there else ""),
            f"{interpreter} -m pip install 'tensorflow[and-cuda]'; see that the driver is new enough: nvidia-smi",
        )
    else:
        yield ok("tensorflow", f"{value['version']}, on the CPU")


class _Said:
    """What an interpreter answered, or why it did not."""

    def __init__(self, answer: str | None, why: str = "") -> None:
        self.answer, self.why = answer, why


def _ask(settings: Settings, interpreter: str, program: str, seconds: int) -> _Said:
    """Have the job's Python run a line, in the job's environment. What it prints after the mark is the answer.

    Keras and Matplotlib write their settings where they are imported: those go with the answer.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="deepspeech-wer-doctor-") as folder:
            ours = {"TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_HOME": folder, "MPLCONFIGDIR": folder}
            done = subprocess.run(
                [interpreter, "-c", program],
                env=_environment(settings) | ours,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                cwd="/",
            )
    except subprocess.TimeoutExpired:
        return _Said(None, f"it was not done within {seconds} s")
    except OSError as error:
        return _Said(None, f"it does not start: {error.strerror}")
    for line in done.stdout.splitlines():
        if line.startswith(_MARK):
            return _Said(line.removeprefix(_MARK).strip())
    last = [line for line in done.stderr.splitlines() if line.strip()][-1:]
    return _Said(None, last[0].strip()[:200] if last else f"it ended with {done.returncode}")


def _interpreter(settings: Settings) -> str | None:
    if not settings.job_python:
        return sys.executable
    return shutil.which(os.path.expanduser(settings.job_python))  # noqa: PTH111 - also a name without a folder


def _environment(settings: Settings) -> dict[str, str]:
    """What a job finds in its environment."""
    kept = {name: value for name, value in os.environ.items() if name not in settings.withheld()}
    return kept | settings.job_environment()
