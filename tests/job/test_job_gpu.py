"""What the GPUs do while a job runs. The driver and nvidia-smi are fakes; files, threads and processes are real."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

import support
from deepspeech_wer.errors import LandingFailed
from deepspeech_wer.job import gpu, gpucharts, gpudevices, gpudmon, processes
from deepspeech_wer.job.gpudevices import Device, Reading
from deepspeech_wer.job.output import Output
from deepspeech_wer.results import hyper
from fake_nvml import FakeGpu, FakeNvml

PNG = b"\x89PNG\r\n\x1a\n"

#: What nvidia-smi -L prints.
LIST = """\
GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-fcf41002-68b6-5900-d7d1-74026173bb44)
  MIG 3g.20gb     Device  0: (UUID: MIG-e07a497d-1bb6-5a42-b670-1c33bf55ab6e)
GPU 1: Tesla T4 (UUID: GPU-2927d07e-3fe9-7904-9e08-b08b82d9a37d)
"""

#: What nvidia-smi dmon -s pucm prints, as drivers of several ages do, with the reading of the first GPU.
DMON = {
    "driver 375": (
        """\
# gpu   pwr  temp    sm   mem   enc   dec  mclk  pclk    fb  bar1
# Idx     W     C     %     %     %     %   MHz   MHz    MB    MB
    0    25    43    10     4    40     0  3499  1721   442     2
    1     -     -     0     0     -     -     -     -     0     2
""",
        Reading(0, 25, 43, 10, 4, 442, 40536, 1721, 3499),
    ),
    "driver 470": (
        """\
# gpu   pwr gtemp mtemp    sm   mem   enc   dec  mclk  pclk    fb  bar1
# Idx     W     C     C     %     %     %     %   MHz   MHz    MB    MB
    0    70    48     -     5     1     0     0  7000  1350   512     5
    1   ERR!   41     -     5     1     0     0  7000  1350   512     5
""",
        Reading(0, 70, 48, 5, 1, 512, 40536, 1350, 7000),
    ),
    "driver 580": (
        """\
# gpu    pwr  gtemp  mtemp     sm    mem    enc    dec    jpg    ofa   mclk   pclk     fb   bar1   ccpm
# Idx      W      C      C      %      %      %      %      %      %    MHz    MHz     MB     MB     MB
    0    294     81      -     98     57      0      0      0      0  13365   1897  90538      4      0
    1    292     68      -     99     55      0      0      0      0  13365   2017  90536      4      0
""",
        Reading(0, 294, 81, 98, 57, 90538, 40536, 1897, 13365),
    ),
    "another order, with the time": (
        """\
#Time         gpu     fb   bar1   ccpm     sm    mem    pwr  gtemp   mclk   pclk
#HH:MM:SS     Idx     MB     MB     MB      %      %      W      C    MHz    MHz
 21:54:15       0   2287     23      0     17      7    110     45    810    675
 21:54:15       1   2287     23      0     17      7    110     45    810    675
""",
        Reading(0, 110, 45, 17, 7, 2287, 40536, 675, 810),
    ),
}


class Log(Output):
    """The job's log, in memory."""

    def __init__(self) -> None:
        self.file = io.BytesIO()
        super().__init__(self.file)

    def lines(self) -> list[str]:
        return self.file.getvalue().decode().splitlines()


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def spec(bench):
    bench.spec.partial.mkdir(parents=True)
    return bench.spec


@pytest.fixture(autouse=True)
def machine(monkeypatch, tmp_path):
    """A machine with no GPU, no driver and no nvidia-smi, whatever this one has, on which a second is short."""
    monkeypatch.setattr(gpudevices, "PERIOD", 0.01)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    have(monkeypatch, init_error=12)


def have(monkeypatch, *gpus, init_error=0):
    nvml = FakeNvml(*gpus, init_error=init_error)
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    return nvml


def nvidia_smi(tmp_path, dmon, listing=LIST, rest="exec sleep 1000"):
    """A fake nvidia-smi. It prints ``dmon``, and then does ``rest``."""
    (tmp_path / "list").write_text(listing)
    (tmp_path / "dmon").write_text(dmon)
    program = tmp_path / "bin" / "nvidia-smi"
    program.write_text(
        f"""#!/bin/sh
echo "$*" >> {tmp_path}/calls
case "$1" in
-L) cat {tmp_path}/list ;;
--query-gpu=index,memory.total) echo "0, 40536"; echo "1, [N/A]" ;;
dmon) echo $$ > {tmp_path}/pid; cat {tmp_path}/dmon; {rest} ;;
esac
"""
    )
    program.chmod(0o755)
    return program


def rows(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not happen")


def sampled(spec, log, fake, rounds=3):
    """Sample until the fake GPU was asked so often."""
    with gpu.sampling(spec, log) as usage:
        until(lambda: fake.rounds >= rounds)
    return usage


# What is seen


def test_a_machine_without_a_gpu_is_silent(spec, log, tmp_path):
    spec = replace(spec, gpu_csv=str(tmp_path / "usage" / "gpu.csv"), gpu_charts=str(tmp_path / "usage" / "charts"))
    with gpu.sampling(spec, log) as usage:
        pass
    assert log.lines() == []
    assert list(spec.partial.iterdir()) == []
    assert not (tmp_path / "usage").exists()
    assert usage.energy_kwh() is None
    assert gpu.visible() == []
    assert "libnvidia-ml.so.1" in gpu.why_none()


def test_nothing_is_loaded_without_being_asked_for():
    """The real package too, where it is installed: it is loaded by a look, and not by an import of ours."""
    code = "import sys, deepspeech_wer.job.gpu; print({'pynvml', 'matplotlib', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_real_package_finds_no_driver_or_a_gpu():
    code = "from deepspeech_wer.job import gpu; assert bool(gpu.visible()) != bool(gpu.why_none())"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("number", "why"),
    [(18, "driver/library version mismatch): reboot"), (9, "kernel module is not loaded"), (999, "error 999")],
)
def test_a_broken_driver_is_one_line_and_no_failure(monkeypatch, spec, log, number, why):
    have(monkeypatch, init_error=number)
    with gpu.sampling(spec, log):
        pass
    assert [why in line for line in log.lines()] == [True]
    assert gpu.visible() == []
    assert why in gpu.why_none()
    assert list(spec.partial.iterdir()) == []


def test_a_missing_package_is_as_a_missing_driver(monkeypatch, spec, log):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with gpu.sampling(spec, log):
        pass
    assert log.lines() == []
    assert "nvidia-ml-py" in gpu.why_none()


A = Device(0, "GPU-aaaa1111-0000", "A")
B = Device(1, "GPU-aaaa2222-0000", "B", ("MIG-bbbb1111-0000", "MIG-bbbb2222-0000"))
C = Device(3, "GPU-cccc3333-0000", "C")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [A, B, C]),
        ("0", [A]),
        ("2,0", [C, A]),  # a place among those that can be opened, not the machine's number
        (" 1 , 0", [B, A]),
        ("1,1", [B]),
        ("0,7,1", [A]),  # it ends at what means nothing
        ("0,-1,1", [A]),
        ("GPU-cccc", [C]),
        ("GPU-aaaa2222-0000,0", [B, A]),
        ("MIG-bbbb2222-0000", [B]),
        ("MIG-GPU-aaaa2222-0000/1/0", [B]),
        ("", []),
        ("-1", []),
        ("none", []),
        ("GPU-aaaa", []),  # it could be two
        ("GPU-", []),
        ("²", []),
        ("99999999999999999999", []),
    ],
)
def test_cuda_visible_devices(value, expected):
    environment = {} if value is None else {"CUDA_VISIBLE_DEVICES": value}
    if expected:
        assert gpudevices.seen([A, B, C], environment) == expected
    else:
        with pytest.raises(gpudevices.NoGpu, match="hides every GPU of this machine"):
            gpudevices.seen([A, B, C], environment)


def test_what_is_visible_goes_by_the_given_environment(monkeypatch):
    nvml = have(monkeypatch, FakeGpu(name="A"), FakeGpu(name="B", parts=("MIG-1", "MIG-2")))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpu.visible() == ["B"] and gpu.why_none() == ""
    assert gpu.visible({}) == ["A", "B"]
    assert gpu.visible({"CUDA_VISIBLE_DEVICES": "MIG-2"}) == ["B"]
    assert gpu.visible({"CUDA_VISIBLE_DEVICES": ""}) == []
    assert "CUDA_VISIBLE_DEVICES=''" in gpu.why_none({"CUDA_VISIBLE_DEVICES": ""})
    assert nvml.is_open == 0


def test_a_gpu_that_cannot_be_opened_hides_no_other(monkeypatch):
    nvml = have(monkeypatch, FakeGpu(refuses=("nvmlDeviceGetHandleByIndex",)), FakeGpu(name="B"))
    assert gpu.visible({"CUDA_VISIBLE_DEVICES": "0"}) == ["B"]
    nvml.gpus.pop()
    assert gpu.visible() == []
    assert "no GPU of this machine (1) can be opened: Not Supported" in gpu.why_none()
    nvml.gpus.pop()
    assert "finds no GPU" in gpu.why_none()
    assert nvml.is_open == 0


# The figures


def test_figures_are_written_with_their_units(monkeypatch, spec, log):
    fake = FakeGpu(name='Fake "A", 100')
    nvml = have(monkeypatch, fake)
    sampled(spec, log, fake)
    lines = (spec.partial / "gpu.csv").read_text().splitlines()
    assert lines[0] == (
        "time,gpu,name,power_w,temperature_c,sm_percent,memory_percent,"
        "memory_used_mib,memory_total_mib,sm_clock_mhz,memory_clock_mhz"
    )
    assert len(lines) == 1 + fake.rounds
    first = rows(spec.partial / "gpu.csv")[0]
    assert list(first.values())[1:] == ["0", fake.name, "250.5", "58", "97", "41", "1000", "40960", "1410", "1215"]
    assert first["time"].endswith("Z")
    assert abs((datetime.fromisoformat(first["time"]) - datetime.now().astimezone()).total_seconds()) < 60
    assert nvml.is_open == 0 and log.lines() == []


def test_only_what_the_job_sees_is_sampled(monkeypatch, spec, log):
    first, second = FakeGpu(name="A"), FakeGpu(name="B")
    have(monkeypatch, first, second)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    sampled(spec, log, second)
    assert first.rounds == 0
    assert {(row["gpu"], row["name"]) for row in rows(spec.partial / "gpu.csv")} == {("1", "B")}


def test_a_figure_that_is_not_known_stays_empty(monkeypatch, spec, log):
    fake = FakeGpu(refuses=("nvmlDeviceGetPowerUsage", "nvmlDeviceGetUtilizationRates", "nvmlDeviceGetMemoryInfo_v2"))
    fake.refuses += ("nvmlDeviceGetTemperature", "nvmlDeviceGetTotalEnergyConsumption")
    have(monkeypatch, fake)
    usage = sampled(spec, log, fake)
    row = rows(spec.partial / "gpu.csv")[0]
    assert (row["power_w"], row["sm_percent"], row["memory_percent"]) == ("", "", "")
    # Told in another way: as old drivers tell the memory in use, and new ones the temperature.
    assert (row["memory_used_mib"], row["temperature_c"]) == ("1500", "59")
    assert usage.energy_kwh() is None
    assert log.lines() == []


def test_a_lost_gpu_is_one_line_and_the_others_go_on(monkeypatch, spec, log):
    lost, other = FakeGpu(name="A", lost_after=2), FakeGpu(name="B")
    nvml = have(monkeypatch, lost, other)
    usage = sampled(spec, log, other, rounds=5)
    assert [line.split(" ", 1)[1] for line in log.lines()] == ["GPU 0 (A) gives no figures any more: GPU is lost"]
    found = [row["gpu"] for row in rows(spec.partial / "gpu.csv")]
    assert found.count("0") == 2 and found.count("1") >= 5
    assert usage.energy_kwh() == pytest.approx(found.count("1") - 1 + 1)  # one round less than a GPU was asked
    assert nvml.is_open == 0


def test_when_all_are_lost_the_job_goes_on_unwatched(monkeypatch, spec, log):
    have(monkeypatch, FakeGpu(lost_after=1))
    with gpu.sampling(spec, log):
        until(log.lines)
    assert len(log.lines()) == 1 and len(rows(spec.partial / "gpu.csv")) == 1


def test_a_gpu_that_tells_nothing_is_told_once(monkeypatch, spec, log):
    silent = FakeGpu(name="A")
    silent.refuses = tuple(name for name in dir(FakeNvml) if name.startswith("nvmlDevice") and "Handle" not in name)
    silent.refuses += ("nvmlDeviceGetMemoryInfo_v2",)
    have(monkeypatch, silent)
    with gpu.sampling(spec, log):
        until(log.lines)
    assert "GPU 0 (A) gives no figures any more: Not Supported" in log.lines()[0]
    assert len(log.lines()) == 1 and list(spec.partial.iterdir()) == []


def test_looks_are_a_period_apart_and_late_ones_are_left_out(monkeypatch):
    """On a clock of our own: each look takes a while, and the third takes three periods."""
    clock = [100.0]
    nvml = have(monkeypatch, FakeGpu())
    source = gpudevices.Nvml({})
    monkeypatch.setattr(gpudevices, "PERIOD", 1.0)
    monkeypatch.setattr(gpudevices.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(source._stopped, "wait", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    times = []
    for readings in source.rounds(print):
        assert len(readings) == 1
        times.append(clock[0] - 100.0)
        clock[0] += 3.25 if len(times) == 3 else 0.25
        if len(times) == 5:
            source.stop()
    assert times == pytest.approx([0, 1, 2, 6, 7, 8])
    source.close()
    assert nvml.is_open == 0


def test_times_do_not_run_backwards_with_the_clock(monkeypatch, spec, log):
    fake = FakeGpu()
    have(monkeypatch, fake)

    class Backwards(datetime):
        calls = 0

        @classmethod
        def now(cls, tz=None):
            cls.calls += 1
            return datetime(2026, 1, 2, tzinfo=tz) - timedelta(hours=cls.calls)

    monkeypatch.setattr(gpu, "datetime", Backwards)
    sampled(spec, log, fake, rounds=5)
    times = [row["time"] for row in rows(spec.partial / "gpu.csv")]
    assert times == sorted(times) and times[0].startswith("2026-01-01T23:00:0")


def test_the_end_is_at_once_and_looks_once_more(monkeypatch, spec, log):
    monkeypatch.setattr(gpudevices, "PERIOD", 1000.0)
    fake = FakeGpu()
    have(monkeypatch, fake)
    usage = sampled(spec, log, fake, rounds=1)
    assert len(rows(spec.partial / "gpu.csv")) == 2
    assert usage.energy_kwh() == pytest.approx(1.0)


def test_a_driver_that_hangs_is_not_waited_for(monkeypatch, spec, log):
    monkeypatch.setattr(gpu, "_STOPPING", 0.05)
    fake, hang, is_hanging = FakeGpu(), threading.Event(), threading.Event()
    nvml = have(monkeypatch, fake)

    def never(handle):
        is_hanging.set()
        hang.wait()

    with gpu.sampling(replace(spec, gpu_csv=str(spec.partial / "copy.csv")), log):
        until(lambda: fake.rounds >= 2)
        nvml.nvmlDeviceGetPowerUsage = never
        assert is_hanging.wait(10)
    hang.set()
    assert ["does not answer" in line for line in log.lines()] == [True]
    assert len(rows(spec.partial / "copy.csv")) >= 1


def test_a_kill_leaves_a_file_that_can_be_read(spec):
    code = """
import sys
from pathlib import Path
from fake_nvml import FakeGpu, FakeNvml
from deepspeech_wer.job import gpu, gpudevices
from deepspeech_wer.job.output import Output
from deepspeech_wer.job.spec import JobSpec
FakeNvml(FakeGpu(), FakeGpu()).install()
gpudevices.PERIOD = 0.001
spec = JobSpec.from_json(Path(sys.argv[1]).read_text())
with gpu.sampling(spec, Output()):
    sys.stdin.read()
"""
    (spec.partial / "job.json").write_text(spec.to_json())
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(spec.partial / "job.json")],
        stdin=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(support.ROOT / "tests")},
    )
    path = spec.partial / "gpu.csv"
    try:
        until(lambda: path.exists() and path.stat().st_size > 10_000)
    finally:
        process.kill()
        process.wait()
    found = rows(path)
    assert len(found) > 100 and found[-1]["memory_clock_mhz"] == "1215"
    # Had the kill cut the last line in two the charts would go without it.
    path.write_text(path.read_text() + "2026-01-02T03:04:05.006Z,0,Fake A100,250.5,,,,,,1410,12")
    _, curves = gpucharts.read(path.open())
    assert sum(bucket.count for bucket in curves["power_w"]["GPU 0: Fake A100"]._buckets) == len(found) // 2


# Where they go


def test_copy_and_charts_of_a_job_that_failed(monkeypatch, spec, log, tmp_path):
    fake = FakeGpu()
    have(monkeypatch, fake)
    spec = replace(spec, gpu_csv=str(tmp_path / "a" / "b" / "usage.csv"), gpu_charts=str(tmp_path / "charts" / "run"))
    with pytest.raises(LandingFailed), gpu.sampling(spec, log):
        until(lambda: fake.rounds >= 3)
        raise LandingFailed("it failed")
    copy = tmp_path / "a" / "b" / "usage.csv"
    assert copy.read_text() == (spec.partial / "gpu.csv").read_text()
    assert copy.stat().st_mode & 0o777 == 0o644
    charts = sorted(path.name for path in (tmp_path / "charts" / "run").iterdir())
    assert charts == sorted(name for _, name, _ in gpucharts.CHARTS)
    for path in (tmp_path / "charts" / "run").iterdir():
        data = path.read_bytes()
        assert data.startswith(PNG) and 5_000 < len(data) < 300_000
    assert [path.name for path in copy.parent.iterdir()] == ["usage.csv"]
    assert log.lines() == []


def test_an_interrupted_job_is_not_held_up(monkeypatch, spec, log, tmp_path):
    fake = FakeGpu()
    have(monkeypatch, fake)
    spec = replace(spec, gpu_csv=str(tmp_path / "usage.csv"), gpu_charts=str(tmp_path / "charts"))
    with pytest.raises(SystemExit), gpu.sampling(spec, log):
        until(lambda: fake.rounds >= 2)
        raise SystemExit(143)
    assert len(rows(spec.partial / "gpu.csv")) >= 2
    assert not (tmp_path / "usage.csv").exists() and not (tmp_path / "charts").exists()


def test_what_is_to_be_in_the_result_folder_goes_into_the_partial_one(monkeypatch, spec, log):
    fake = FakeGpu()
    have(monkeypatch, fake)
    result = spec.result
    spec = replace(spec, gpu_csv=str(result / "gpu.csv"), gpu_charts=str(result / "charts"))
    sampled(spec, log, fake)
    assert not result.exists()
    assert (spec.partial / "charts" / "power.png").read_bytes().startswith(PNG)
    assert sorted(path.name for path in spec.partial.iterdir()) == ["charts", "gpu.csv"]
    assert log.lines() == []


def test_a_place_that_cannot_be_written_is_a_line_each(monkeypatch, spec, log, tmp_path):
    fake = FakeGpu()
    have(monkeypatch, fake)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    spec = replace(spec, gpu_csv=str(tmp_path / "folder"), gpu_charts=str(tmp_path / "file" / "charts"))
    sampled(spec, log, fake)
    told = log.lines()
    assert len(told) == 2
    assert "the GPU figures are not in" in told[0] and "no GPU charts in" in told[1]
    assert list((tmp_path / "folder").iterdir()) == []
    assert not list(tmp_path.glob(".*.tmp"))


def test_a_full_disk_stops_the_file_and_not_the_meter(monkeypatch, spec, log):
    fake = FakeGpu()
    have(monkeypatch, fake)
    (spec.partial / "gpu.csv").symlink_to("/dev/full")
    usage = sampled(spec, log, fake)
    assert [line.endswith("cannot be written: No space left on device") for line in log.lines()] == [True]
    assert usage.energy_kwh() == pytest.approx(fake.rounds - 1)


def test_a_result_folder_that_is_gone_is_told(monkeypatch, spec, log):
    fake = FakeGpu()
    have(monkeypatch, fake)
    spec.partial.rmdir()
    sampled(spec, log, fake)
    assert ["cannot be written: No such file" in line for line in log.lines()] == [True]


def test_a_log_that_takes_no_more_fails_nothing(monkeypatch, spec):
    have(monkeypatch, FakeGpu(lost_after=1))

    class Full(Log):
        tried = 0

        def step(self, text):
            self.tried += 1
            raise OSError(28, "No space left on device")

    log = Full()
    with gpu.sampling(spec, log):
        until(lambda: log.tried)
    assert len(rows(spec.partial / "gpu.csv")) == 1


def test_without_matplotlib_a_line_says_what_to_install(monkeypatch, spec, log, tmp_path):
    fake = FakeGpu()
    have(monkeypatch, fake)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
    monkeypatch.delitem(sys.modules, "matplotlib.backends.backend_agg", raising=False)
    sampled(replace(spec, gpu_charts=str(tmp_path / "charts")), log, fake)
    assert ["pip install matplotlib" in line for line in log.lines()] == [True]


# Charts


def test_a_curve_keeps_means_and_extremes_in_bounded_memory():
    curve = gpucharts.Curve(most=100)
    for second in range(100_000):
        curve.add(second + 0.5, second % 10)
    points = curve.points()
    assert 50 <= len(points) <= 100
    assert {(low, high) for _, _, low, high in points} == {(0, 9)}
    assert all(abs(mean - 4.5) < 0.1 for _, mean, _, _ in points)
    assert points[0][0] == pytest.approx(512, abs=1) and points == sorted(points)
    assert sum(bucket.count for bucket in curve._buckets) == 100_000


def test_a_short_curve_is_drawn_as_it_is():
    curve = gpucharts.Curve()
    for second, value in enumerate([3.0, 1.0, 2.0]):
        curve.add(second, value)
    assert curve.points() == [(0, 3, 3, 3), (1, 1, 1, 1), (2, 2, 2, 2)]


def three_days(seconds):
    """The lines of a file of three days, with a line every so many seconds; they are never all there at once."""
    yield "time,gpu,name,power_w,temperature_c,sm_percent\n"
    began = datetime.fromisoformat("2026-01-02T03:04:05Z")
    for second in range(0, 3 * 86400, seconds):
        at = (began + timedelta(seconds=second)).isoformat()
        yield f"{at},0,Fake A100,{250 + second % 7},,{0 if second < 1000 else 97}\n"


def test_charts_of_three_days():
    started, curves = gpucharts.read(three_days(1))
    assert started == "2026-01-02 03:04 UTC"
    assert curves["temperature_c"] == {} and curves["sm_clock_mhz"] == {}
    points = curves["power_w"]["GPU 0: Fake A100"].points()
    assert len(points) <= gpucharts.MOST and {point[2:] for point in points} == {(250, 256)}
    assert points[-1][0] > 3 * 86400 - 600
    png = gpucharts._png("power (W)", started, curves["power_w"])
    assert png.startswith(PNG) and len(png) < 200_000


def test_ten_times_the_lines_need_no_more_memory():
    def most(seconds):
        tracemalloc.start()
        try:
            gpucharts.read(three_days(seconds))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert most(10) < 1.5 * most(100)


def test_a_file_that_is_no_file_of_figures_has_no_charts(tmp_path):
    source = tmp_path / "gpu.csv"
    for text in ("", "\n", "a,b\n1,2\n", "time,gpu,name,power_w\nx,0,A,1\n2026-01-02T03:04:05Z,0,A,much\n"):
        source.write_text(text)
        assert gpucharts.draw(source, tmp_path / "charts") == []


# Energy


def used(*readings):
    usage = gpu.Usage()
    for seconds, reading in readings:
        usage.add(seconds, reading)
    return usage.energy_kwh()


def test_energy_is_what_the_counters_say():
    assert used(
        (0, Reading(0, power_w=1, energy_mj=5_000)),
        (0, Reading(1, energy_mj=0)),
        (9, Reading(0, power_w=1, energy_mj=3_600_000_000 + 5_000)),
        (9, Reading(1, energy_mj=1_800_000_000)),
    ) == pytest.approx(1.5)


def test_energy_is_power_over_time_where_there_is_no_counter():
    readings = [(0, 100.0), (1800, 300.0), (3600, None), (5400, 300.0)]
    assert used(*((at, Reading(0, power_w=power)) for at, power in readings)) == pytest.approx(0.1 + 0.3)


@pytest.mark.parametrize("counts", [(9_000, 10_000, 5, 20_000), (9_000, 9_000, 9_000, 9_000)])
def test_a_counter_that_began_anew_or_stands_still_is_not_believed(counts):
    readings = [(1800 * beat, Reading(0, power_w=100, energy_mj=count)) for beat, count in enumerate(counts)]
    assert used(*readings) == pytest.approx(0.15)


def test_energy_is_not_told_where_a_part_of_it_is_not_known():
    assert used() is None
    assert used((0, Reading(0, power_w=100))) is None
    known = [(0, Reading(0, power_w=100)), (3600, Reading(0, power_w=100))]
    assert used(*known) == pytest.approx(0.1)
    assert used(*known, (0, Reading(1, sm_percent=3))) is None


def test_the_energy_goes_into_hyper_json_and_nothing_else_changes(tmp_path):
    path = tmp_path / "hyper.json"
    content = {
        "parameters": {"b": 1e-05, "a": 10**17, "name": "Žofie \ud83d"},
        "context": {"git_hash": "0" * 40},
        "results": {"test_wer": 0.25, "duration": 1},
    }
    usage = gpu.Usage()
    usage.add(0, Reading(0, energy_mj=0))
    usage.add(1, Reading(0, energy_mj=123_456_789))
    path.write_text(json.dumps(content))
    gpu.record(path, usage)
    after = hyper.parse(path.read_bytes())
    assert after["results"].pop("energy_kwh") == 0.034294
    assert after == content and list(after) == list(content)
    assert [entry.name for entry in tmp_path.glob("*hyper*")] == ["hyper.json"]


@pytest.mark.parametrize(
    "text",
    [
        '{"context": {}, "parameters": {}, "results": {"test_wer": 0.25, "energy_kwh": 3}}',  # the training's own
        '{"context": {}, "parameters": {}, "results": {}}',
        '{"context"',
    ],
)
def test_a_hyper_json_that_needs_nothing_or_is_not_valid_stays(tmp_path, text):
    path = tmp_path / "hyper.json"
    path.write_text(text)
    usage = gpu.Usage()
    usage.add(0, Reading(0, energy_mj=0))
    usage.add(1, Reading(0, energy_mj=1))
    gpu.record(path, usage)
    assert path.read_text() == text
    gpu.record(tmp_path / "none.json", usage)
    assert [entry.name for entry in tmp_path.iterdir() if entry.is_file()] == ["hyper.json"]


def test_without_energy_the_hyper_json_stays(tmp_path):
    path = tmp_path / "hyper.json"
    path.write_text('{"context": {}, "parameters": {}, "results": {"test_wer": 0.25}}')
    gpu.record(path, gpu.Usage())
    assert "energy" not in path.read_text()


# nvidia-smi alone


@pytest.mark.parametrize("driver", DMON)
def test_dmon_of_several_drivers(driver):
    text, expected = DMON[driver]
    table = gpudmon.Table()
    readings = [reading for line in (text * 2).splitlines(keepends=True) if (reading := table.read(line))]
    assert [reading.gpu for reading in readings] == [0, 1, 0, 1]
    assert replace(readings[0], memory_total_mib=expected.memory_total_mib) == expected


def test_dmon_tells_what_it_does_not_know():
    table = gpudmon.Table()
    assert table.read("    0    25    43\n") is None  # before any header
    readings = [table.read(line) for line in DMON["driver 375"][0].splitlines()]
    assert readings[-1] == Reading(1, sm_percent=0, memory_percent=0, memory_used_mib=0)
    assert table.read("    0    25    43\n") is None  # cut off
    assert table.read("Unable to determine the device handle\n") is None
    assert table.read("\n") is None
    broken = gpudmon.Table()
    assert [broken.read(line) for line in DMON["driver 470"][0].splitlines()][-1].power_w is None


def test_nvidia_smi_stands_in_for_a_missing_library(monkeypatch, spec, log, tmp_path):
    nvidia_smi(tmp_path, DMON["driver 470"][0])
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-e07a497d")
    assert gpu.visible() == ["NVIDIA A100-SXM4-40GB"]
    path = spec.partial / "gpu.csv"
    with gpu.sampling(spec, log) as usage:
        until(lambda: path.exists() and path.stat().st_size)
        pid = int((tmp_path / "pid").read_text())
        assert pid in {process.pid for process in processes.descendants(os.getpid())}
    assert list(rows(path)[0].values())[1:] == [
        "0", "NVIDIA A100-SXM4-40GB", "70", "48", "5", "1", "512", "40536", "1350", "7000"
    ]  # fmt: skip
    assert "dmon -s pucm -d 1 -i 0" in (tmp_path / "calls").read_text().splitlines()
    assert not Path(f"/proc/{pid}").exists()
    assert log.lines() == []
    assert usage.energy_kwh() is None  # there was one line a GPU


def test_power_over_time_is_the_energy_where_there_is_nvidia_smi_alone(spec, log, tmp_path):
    more = f"for i in 1 2 3; do sleep 0.05; tail -n 2 {tmp_path}/dmon; done; exec sleep 1000"
    nvidia_smi(tmp_path, DMON["driver 580"][0], rest=more)
    path = spec.partial / "gpu.csv"
    with gpu.sampling(spec, log) as usage:
        until(lambda: path.exists() and len(rows(path)) == 8)
    energy = usage.energy_kwh()
    assert energy is not None and (294 + 292) * 0.1 / 3.6e6 < energy < (294 + 292) * 60 / 3.6e6


def test_a_wrapper_around_nvidia_smi_ends_with_all_below_it(spec, log, tmp_path):
    nvidia_smi(tmp_path, DMON["driver 580"][0], rest=f"sleep 1000 & echo $! > {tmp_path}/below; trap '' TERM; wait")
    path = spec.partial / "gpu.csv"
    with gpu.sampling(spec, log):
        until(lambda: path.exists() and (tmp_path / "below").exists() and (tmp_path / "below").read_text().strip())
    below = int((tmp_path / "below").read_text())
    try:
        until(lambda: "sleep" not in command(below))
    finally:
        if "sleep" in command(below):
            os.kill(below, signal.SIGKILL)
    assert log.lines() == []


def command(pid):
    """What a process runs: nothing for one that is dead and not yet collected."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_nvidia_smi_that_gives_up_is_one_line(spec, log, tmp_path):
    nvidia_smi(tmp_path, DMON["driver 580"][0], rest="echo GPU is lost.; exit 15")
    with gpu.sampling(spec, log):
        until(log.lines)
    assert [line.split(" ", 1)[1] for line in log.lines()] == [
        "nvidia-smi dmon gives no figures any more: GPU is lost."
    ]
    assert len(rows(spec.partial / "gpu.csv")) == 2


def test_nvidia_smi_that_is_ended_with_the_job_is_no_trouble(spec, log, tmp_path):
    nvidia_smi(tmp_path, DMON["driver 580"][0])
    path = spec.partial / "gpu.csv"
    with gpu.sampling(spec, log):
        until(lambda: path.exists() and path.stat().st_size)
        assert processes.end_all(lambda: processes.descendants(os.getpid())) == []
    assert log.lines() == []


@pytest.mark.parametrize(
    ("body", "why", "lines"),
    [
        ("echo 'NVIDIA-SMI has failed because it could not talk to the driver.'; exit 9", "could not talk", 1),
        ("echo 'No devices were found'; exit 6", "finds no GPU", 0),
        ("exit 0", "finds no GPU", 0),
        ("exit 3", "return code 3", 1),
    ],
)
def test_nvidia_smi_without_a_gpu(spec, log, tmp_path, body, why, lines):
    program = nvidia_smi(tmp_path, "")
    program.write_text(f"#!/bin/sh\n{body}\n")
    with gpu.sampling(spec, log):
        pass
    assert len(log.lines()) == lines and all(why in line for line in log.lines())
    assert gpu.visible() == [] and why in gpu.why_none()
    assert list(spec.partial.iterdir()) == []


def test_an_nvidia_smi_that_is_no_program(tmp_path):
    nvidia_smi(tmp_path, "").write_text("\x7fELF no")
    assert gpu.visible() == []
    assert "cannot be started" in gpu.why_none()


def test_nvidia_smi_of_a_killed_worker_ends_by_itself(spec, tmp_path):
    nvidia_smi(tmp_path, DMON["driver 580"][0], rest="while echo; do sleep 0.05; done")
    code = """
import sys
from pathlib import Path
sys.modules["pynvml"] = None
from deepspeech_wer.job import gpu
from deepspeech_wer.job.output import Output
from deepspeech_wer.job.spec import JobSpec
with gpu.sampling(JobSpec.from_json(Path(sys.argv[1]).read_text()), Output()):
    sys.stdin.read()
"""
    (spec.partial / "job.json").write_text(spec.to_json())
    process = subprocess.Popen([sys.executable, "-c", code, str(spec.partial / "job.json")], stdin=subprocess.PIPE)
    try:
        until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
        until(lambda: (spec.partial / "gpu.csv").exists())
    finally:
        process.kill()
        process.wait()
    pid = int((tmp_path / "pid").read_text())
    until(lambda: "nvidia-smi" not in command(pid))


def test_a_whole_job(bench, tmp_path, shell_write_hyper):
    """With a worker in its own process: with nvidia-smi's fake, or with NVML on a machine that has it."""
    nvidia_smi(tmp_path, DMON["driver 580"][0], rest=f"while sleep 0.05; do tail -n 2 {tmp_path}/dmon; done")
    bench.settings = {"gpu_csv": str(tmp_path / "usage.csv"), "gpu_charts": str(tmp_path / "charts")}
    lines = '$(cat "$ds_result_dir/gpu.csv" 2>&1 | wc -l)'
    bench.script(f"#!/bin/sh\nuntil [ {lines} -ge 6 ]; do sleep 0.05; done\n{shell_write_hyper}\n")
    assert bench.run().why == ""
    assert bench.result("gpu.csv") == (tmp_path / "usage.csv").read_text()
    assert (tmp_path / "charts" / "power.png").read_bytes().startswith(PNG)
    assert bench.hyper()["results"]["energy_kwh"] >= 0
    assert "GPU" not in bench.result("log.txt")


def test_a_driver_that_hangs_before_the_job_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu, "_LOOKING", 0.2)
    end = threading.Event()

    def hang(environment: object) -> None:
        end.wait(60)
        raise gpudevices.NoGpu("too late")

    monkeypatch.setattr(gpu, "_open", hang)
    assert gpu.visible() == []
    assert "no answer for 0.2 seconds" in gpu.why_none()
    end.set()
