from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from deepspeech_wer.checkout import checked_out, wipe
from deepspeech_wer.errors import EnvironmentFailure, LandingFailed
from deepspeech_wer.job import processes
from deepspeech_wer.landings import Landing
from deepspeech_wer.landings.git import Mirror, find_head
from history import Repository
from installation import Installation


def land(repository: Repository, tmp_path: Path) -> tuple[Mirror, Landing]:
    mirror = Mirror(tmp_path / "cache", str(repository.path))
    head = find_head(mirror.url, "HEAD")
    mirror.fetch(head)
    return mirror, mirror.landing(head.sha)


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    made = Repository.new(tmp_path / "repository")
    made.commit("Begin", {"a": "1"})
    return made


def test_the_files_of_the_landing_are_there_and_then_gone(repository: Repository, tmp_path: Path) -> None:
    mirror, landing = land(repository, tmp_path)
    repository.commit("Later", {"a": "2"})
    folder = tmp_path / "clone" / landing.sha
    with checked_out(mirror, landing, folder, "main"):
        assert (folder / "a").read_text() == "1"
        clone = Repository(folder)
        assert clone.git("rev-parse", "HEAD") == landing.sha
        assert clone.git("rev-parse", "--abbrev-ref", "HEAD") == "main"
        assert clone.git("remote", "get-url", "origin") == str(repository.path)
        assert clone.git("status", "--porcelain") == ""
        (folder / "result").mkdir()
        (folder / "result" / "kept").write_text("read-only")
        (folder / "result").chmod(0o500)
    assert not folder.exists()


def test_a_branch_of_which_git_makes_no_local_one_is_no_landings_fault(repository: Repository, tmp_path: Path) -> None:
    repository.git("update-ref", "refs/heads/-rf", "HEAD")
    repository.git("symbolic-ref", "HEAD", "refs/heads/-rf")
    mirror, landing = land(repository, tmp_path)
    branch = find_head(mirror.url, "HEAD").branch
    assert branch == "-rf"
    with checked_out(mirror, landing, tmp_path / "clone", branch):
        assert (tmp_path / "clone" / "a").read_text() == "1"
        assert Repository(tmp_path / "clone").git("rev-parse", "HEAD") == landing.sha


def test_what_an_earlier_run_left_is_wiped_first(repository: Repository, tmp_path: Path) -> None:
    mirror, landing = land(repository, tmp_path)
    folder = tmp_path / "clone"
    folder.mkdir()
    (folder / "left").write_text("")
    with checked_out(mirror, landing, folder, "main"):
        assert not (folder / "left").exists()


def test_submodules_come_along(repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Repository.new(tmp_path / "other")
    other.commit("Begin", {"b": "3"})
    allowed = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    for name, value in allowed.items():
        monkeypatch.setenv(name, value)
    repository.git("submodule", "add", "--quiet", str(other.path), "part")
    repository.commit("With a part")
    mirror, landing = land(repository, tmp_path)
    with checked_out(mirror, landing, tmp_path / "clone", "main"):
        assert (tmp_path / "clone" / "part" / "b").read_text() == "3"


def test_a_submodule_that_is_gone_is_the_landings_own_fault(repository: Repository, tmp_path: Path) -> None:
    (repository.path / ".gitmodules").write_text('[submodule "part"]\n\tpath = part\n\turl = /nowhere\n')
    repository.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},part")
    repository.git("add", ".gitmodules")
    repository.git("commit", "--quiet", "-m", "With a part that is gone")
    mirror, landing = land(repository, tmp_path)
    with (
        pytest.raises(LandingFailed, match="cannot be checked out"),
        checked_out(mirror, landing, tmp_path / "c", "main"),
    ):
        pass
    assert not (tmp_path / "c").exists()


def test_a_checkout_is_kept_and_the_one_before_goes(repository: Repository, tmp_path: Path) -> None:
    mirror, landing = land(repository, tmp_path)
    clones = tmp_path / "clones"
    for name in ("a" * 40, "a" * 39, "b" * 40 + ".txt", "mine"):
        (clones / name / "sub").mkdir(parents=True)
        (clones / name / "sub").chmod(0o500)
    (clones / ("c" * 40)).write_text("a file")
    folder = clones / landing.sha
    for _ in range(2):
        with checked_out(mirror, landing, folder, "main", keep=True):
            (folder / "result").write_text("")
        assert (folder / "result").exists()
        assert {path.name for path in clones.iterdir()} == {landing.sha, "a" * 39, "b" * 40 + ".txt", "mine"}
    with checked_out(mirror, landing, folder, "main"):
        assert not (folder / "result").exists()
    assert not folder.exists()


def test_a_mirror_that_turns_out_to_be_damaged_is_mended(repository: Repository, tmp_path: Path) -> None:
    mirror, landing = land(repository, tmp_path)
    blob = repository.git("rev-parse", f"{landing.sha}:a")
    damaged = mirror.folder / "objects" / blob[:2] / blob[2:]
    damaged.chmod(0o644)
    damaged.write_bytes(b"")
    with checked_out(mirror, landing, tmp_path / "clone", "main"):
        assert (tmp_path / "clone" / "a").read_text() == "1"
    assert "made anew" in mirror.told()


def test_what_git_refuses_to_check_out_is_the_landings_own_fault_and_no_damage(
    repository: Repository, tmp_path: Path
) -> None:
    (tmp_path / "evil").write_text("evil")
    blob = repository.git("hash-object", "-w", str(tmp_path / "evil"))
    (tmp_path / "tree").write_bytes(b"100644 ../evil\0" + bytes.fromhex(blob))
    tree = repository.git("hash-object", "-t", "tree", "-w", "--literally", str(tmp_path / "tree"))
    repository.git("update-ref", "refs/heads/main", repository.git("commit-tree", "-m", "Hostile", tree))
    mirror, landing = land(repository, tmp_path)
    before = mirror.folder.stat().st_ino
    with pytest.raises(LandingFailed), checked_out(mirror, landing, tmp_path / "clones" / "c", "main"):
        pass
    assert mirror.folder.stat().st_ino == before
    assert not (tmp_path / "clones" / "evil").exists()


def test_a_full_disk_is_not_the_landings_fault(repository: Repository, tmp_path: Path) -> None:
    repository.commit("Large", {"large": "x" * 3_000_000})
    mirror, landing = land(repository, tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("a small disk cannot be mounted here (that takes root)")
    try:
        with (
            pytest.raises(EnvironmentFailure, match="the disk is full"),
            checked_out(mirror, landing, disk / "clone", "main"),
        ):
            pass
        assert not (disk / "clone").exists()
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_wiping_never_follows_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir(mode=0o500)
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "link").symlink_to(outside)
    wipe(tmp_path / "folder")
    assert outside.stat().st_mode & 0o777 == 0o500
    (tmp_path / "folder").symlink_to(outside)
    wipe(tmp_path / "folder")
    assert outside.exists()
    assert not (tmp_path / "folder").is_symlink()


def test_a_tick_that_is_told_to_stop_while_git_checks_out_ends_git_and_wipes_the_folder(
    repository: Repository, tmp_path: Path
) -> None:
    hook, is_on = tmp_path / "hooks" / "post-checkout", tmp_path / "is-on"
    hook.parent.mkdir()
    writes = "n=0; while [ $n -lt 20000 ]; do n=$((n+1)); mkdir -p .git/$n; : > .git/$n/file; done"
    hook.write_text(f"#!/bin/sh\ntouch {is_on}\n{writes}\n")
    hook.chmod(0o755)
    (tmp_path / "gitconfig").write_text(f"[core]\n\thooksPath = {hook.parent}\n")
    variables = {"ds_repository": str(repository.path), "GIT_CONFIG_GLOBAL": str(tmp_path / "gitconfig")}
    installation = Installation(tmp_path / "home", variables)
    tick = installation.start("run")
    while not is_on.exists():
        assert tick.poll() is None, tick.communicate()
        time.sleep(0.01)
    tick.terminate()
    _, told = tick.communicate(timeout=60)
    assert tick.returncode == 143, told
    assert list((installation.cache / "clone").iterdir()) == []
    assert processes.working_in([installation.cache]) == []
