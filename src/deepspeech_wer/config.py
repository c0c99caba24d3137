"""Settings and paths, all in one place.

A setting comes from the command line, else the environment, else ``config.toml`` in
``$XDG_CONFIG_HOME/deepspeech_wer/``, else its default. In all of them it has the same name, ``ds_...``. Two tables of
the file are the job's own: ``[job]`` holds variables for the job's environment, ``[parameters]`` values that are
injected into the notebook::

    ds_repository = "https://github.com/acme/speech.git"
    ds_website_server_fqdn = "wer.example.org"

    [job]
    ds_epochs = 30

    [parameters]
    n_hidden = 512
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from deepspeech_wer import kinds
from deepspeech_wer.errors import SettingsError

#: Folder name under each XDG base directory.
NAME = "deepspeech_wer"

Scalar = str | int | float | bool


def _setting(
    default: Any, parse: Callable[[str], Any], help: str, secret: bool = False, default_text: str | None = None
) -> Any:
    return field(
        default=default,
        metadata={"parse": parse, "help": help, "secret": secret, "default_text": default_text},
    )


@dataclass(frozen=True, repr=False, eq=False)  # what nobody needs of so many fields would take a tenth of an idle tick
class Settings:
    """Every setting of the tracker; the variable of ``name`` is ``ds_name``."""

    repository: str = _setting("", kinds.repository, "git URL or path of the tracked repository", secret=True)
    ref: str = _setting("", kinds.text, "branch or ref to track", default_text="the remote's HEAD")
    github_account: str = _setting("", kinds.text, "with ds_github_project, instead of ds_repository: a GitHub account")
    github_project: str = _setting("", kinds.text, "with ds_github_account, instead of ds_repository: its project")
    github_ref: str = _setting("", kinds.text, "the same as ds_ref, under its old name")
    automation_force_sha: tuple[str, ...] = _setting(
        (), kinds.items, "commits to train now, whatever has landed (a,b,...)"
    )
    landings: str = _setting(
        "landed",
        kinds.one_of("landed", "merges"),
        "what counts: every step of the branch (landed), or merges alone (merges)",
    )
    landings_source: str = _setting(
        "git",
        kinds.one_of("git", "github"),
        "who is asked what has landed: the repository (git), or GitHub's API (github)",
    )
    landings_newest: bool = _setting(
        False, kinds.flag, "train only the newest of the landings that a tick finds (1 or 0)"
    )
    landings_every: int = _setting(
        1, kinds.positive, "train every n-th landing, counted from the branch's first commit"
    )
    landings_since: str = _setting("", kinds.date, "train only what was committed since this date (ISO 8601)")
    landings_paths: tuple[str, ...] = _setting(
        (), kinds.items, "train only what changed one of these paths (git pathspecs)"
    )
    github_token: str = _setting("", kinds.text, "token for GitHub's API", secret=True)
    github_token_command: str = _setting("", kinds.text, "command that prints the token for GitHub's API", secret=True)
    github_api: str = _setting("https://api.github.com", kinds.api, "address of GitHub's API")
    github_status: bool = _setting(False, kinds.flag, "set a commit status on GitHub for every landing (1 or 0)")
    seeds: int = _setting(1, kinds.seeds, "times that a landing is trained, each with a seed of its own")
    retries: int = _setting(2, kinds.count, "times that a failed landing is tried again before it is passed")
    retry_wait: float = _setting(1800.0, kinds.seconds, "seconds before the first retry; doubled for each one after it")
    dataroot: Path = _setting(
        Path(),
        kinds.path,
        "folder of the runs, the logs and the web root",
        default_text="$XDG_DATA_HOME/deepspeech_wer",
    )
    clone_path: Path = _setting(
        Path(), kinds.path, "folder of the checkouts", default_text="$XDG_CACHE_HOME/deepspeech_wer/clone"
    )
    wer_automation: str = _setting(
        "./bin/run-wer-automation.sh",
        kinds.file_of_the_checkout,
        "script in the checkout that trains; used if the checkout has it",
    )
    notebook: str = _setting(
        "DeepSpeech.ipynb", kinds.file_of_the_checkout, "notebook in the checkout that trains, where there is no script"
    )
    kernel: str = _setting("", kinds.text, "Jupyter kernel of the notebook", default_text="this Python environment")
    run_timeout: float = _setting(7 * 24 * 3600.0, kinds.seconds, "seconds that one run may take; 0: no limit")
    cell_timeout: float = _setting(0.0, kinds.seconds, "seconds that one notebook cell may take; 0: no limit")
    log_limit: float = _setting(200.0, kinds.amount, "megabytes that a run may print; 0: no limit")
    disk_free: float = _setting(2.0, kinds.amount, "gigabytes that must be free before a run starts")
    require_gpu: bool = _setting(False, kinds.flag, "start no run where no GPU is seen (1 or 0)")
    cuda_visible_devices: str = _setting("", kinds.text, "GPUs that the job sees, as CUDA_VISIBLE_DEVICES has it")
    nice: int = _setting(0, kinds.niceness, "niceness of the job, 0 to 19")
    ionice: str = _setting("", kinds.one_of("idle", "best-effort"), "I/O class of the job: idle or best-effort")
    job_python: str = _setting("", kinds.text, "Python interpreter of the job", default_text="this Python environment")
    setup_command: str = _setting(
        "",
        kinds.text,
        "command that fills the job's virtual environment, run in the checkout when its dependencies changed",
    )
    setup_files: tuple[str, ...] = _setting(
        (),
        kinds.items,
        "files that say what the dependencies are",
        default_text="what pip, uv, Poetry, Pipenv and conda read",
    )
    job_env: tuple[str, ...] = _setting((), kinds.items, "variables that the job gets to see although they are secret")
    keep_clone: bool = _setting(False, kinds.flag, "leave the last checkout in place (1 or 0)")
    keep_runs: int = _setting(
        500, kinds.count, "newest runs of which everything is kept; of older ones only figures and transcripts; 0: all"
    )
    keep_checkpoints: int = _setting(1, kinds.count, "trained landings whose checkpoints are kept")
    keep_logs: int = _setting(5, kinds.positive, "files that the tracker's own log is spread over, 5 MB each")
    gpu_usage_root: Path | None = _setting(
        None, kinds.path, "folder of the two below", default_text="the run's own folder"
    )
    gpu_usage_csv: str = _setting("", kinds.text, "CSV file for the GPU's power, temperature, load, memory and clocks")
    gpu_usage_charts: str = _setting("", kinds.text, "folder for charts of them (PNG)")
    notify_command: str = _setting(
        "", kinds.text, "command that is run for a notification, with JSON on its input", secret=True
    )
    notify_webhook: str = _setting(
        "", kinds.web_address, "address to which a notification is posted as JSON", secret=True
    )
    notify_mail: tuple[str, ...] = _setting((), kinds.items, "addresses to which a notification is mailed by sendmail")
    notify_on: tuple[str, ...] = _setting(
        kinds.NOTIFICATIONS, kinds.notifications, "what is notified", default_text="all of them"
    )
    regression: float = _setting(
        1.0, kinds.amount, "percentage points by which a WER must rise to be called a regression"
    )
    site_title: str = _setting("", kinds.text, "title of the page", default_text="the repository's name")
    site_url: str = _setting("", kinds.web_address, "address at which the published page is read, for links to it")
    commit_url: str = _setting(
        "", kinds.commit_url, "address of a commit's page, with {sha} in it", default_text="known for GitHub and GitLab"
    )
    website_server_fqdn: str = _setting(
        "", kinds.text, "SFTP server that the site is published to: a name, or a Host of ~/.ssh/config"
    )
    website_server_port: int | None = _setting(
        None, kinds.port, "the SSH port of that server", default_text="~/.ssh/config, else 22"
    )
    website_server_root: str = _setting("", kinds.text, "the site's folder on the server")
    website_username: str = _setting("", kinds.text, "login on the server", default_text="~/.ssh/config", secret=True)
    website_privkey: Path | None = _setting(
        None, kinds.path, "private key file", default_text="~/.ssh/config, else ssh-agent", secret=True
    )
    website_privkey_passphrase_command: str = _setting(
        "", kinds.text, "command that prints the passphrase of an encrypted key", secret=True
    )
    website_known_hosts: Path | None = _setting(
        None, kinds.path, "known_hosts file", default_text="~/.ssh/known_hosts, /etc/ssh/ssh_known_hosts"
    )
    website_ssh_config: Path | None = _setting(
        None, kinds.path, "ssh's configuration file; /dev/null for none", default_text="~/.ssh/config"
    )
    website_folder: Path | None = _setting(
        None, kinds.path, "folder of this machine that the site is published to, instead of a server"
    )
    website_release: str = _setting(
        "auto",
        kinds.one_of("auto", "atomic", "plain"),
        "how a release is put in place: by one switch of a link (atomic), file by file (plain), or as can be (auto)",
    )
    website_keep: int = _setting(3, kinds.positive, "releases that are kept there, the newest included")
    website_compression: str = _setting(
        "auto", kinds.one_of("auto", "yes", "no"), "whether the connection is compressed; auto: where it pays"
    )
    website_timeout: float = _setting(
        30.0, kinds.some_seconds, "seconds without progress after which publishing gives up"
    )
    website_time_limit: float = _setting(1800.0, kinds.seconds, "seconds that publishing may take in all; 0: no limit")
    website_retries: int = _setting(3, kinds.count, "times that publishing is tried again where the connection fails")

    #: Not settings of their own: the tables of the file, and what the command line adds to them.
    job: Mapping[str, str] = field(default_factory=dict)
    parameters: Mapping[str, Scalar] = field(default_factory=dict)

    @property
    def cache(self) -> Path:
        """``$XDG_CACHE_HOME/deepspeech_wer``: lock, last_sha1, mirrors, checkouts."""
        return _xdg("cache") / NAME

    @property
    def journal_files(self) -> tuple[Path, Path]:
        """The journal, and ``last_sha1``."""
        return self.dataroot / "journal.jsonl", self.cache / "last_sha1"

    @property
    def web_root(self) -> Path:
        """The site as it is built here."""
        return self.dataroot / "www"

    @property
    def is_publishing(self) -> bool:
        """Whether a place to publish to is named at all."""
        return bool(self.website_server_fqdn or self.website_folder)

    @property
    def has_repository(self) -> bool:
        """Whether a repository is named."""
        return bool(self.repository or self.github_account or self.github_project)

    def require_repository(self) -> str:
        """The repository's address. Raises SettingsError where none is set."""
        if self.repository:
            return self.repository
        if self.has_repository:
            account, project = self.github_account or "mozilla", self.github_project or "DeepSpeech"
            return f"https://github.com/{account}/{project}.git"
        raise SettingsError(
            "no repository is named",
            "set ds_repository to a git URL or a path (or ds_github_account and ds_github_project)",
        )

    def tracked_ref(self) -> str:
        """The ref to track; ``HEAD`` stands for the remote's default branch."""
        return self.ref or self.github_ref or "HEAD"

    def job_environment(self, seed: int = 0) -> dict[str, str]:
        """What is set for a job beside what it inherits: the file's [job] table, and a lasting place for data sets.

        The first training of a landing has the seed that its own settings give it; for the ``seed``-th further one
        ``ds_random_seed`` is that much higher, or ``seed`` itself where none is set.
        """
        wanted = {"ds_dataset_path": str(self.dataroot / "datasets"), **self.job}
        chosen = {name: value for name, value in wanted.items() if not os.environ.get(name)}
        if self.cuda_visible_devices:
            chosen["CUDA_VISIBLE_DEVICES"] = self.cuda_visible_devices
        if seed:
            first = os.environ.get("ds_random_seed") or self.job.get("ds_random_seed") or "0"
            chosen["ds_random_seed"] = str((int(first) if first.strip().isdecimal() else 0) + seed)
        return chosen

    def gpu_usage_files(self) -> tuple[str, str]:
        """Where the GPU figures of the last run are put beside its result folder: the CSV file, the folder of charts.

        An empty text for nowhere. Where only the root is set, both are in it under names of ours.
        """
        root = self.gpu_usage_root
        if not root and not self.gpu_usage_csv and not self.gpu_usage_charts:
            return "", ""
        csv = self.gpu_usage_csv or ("gpu_usage.csv" if root else "")
        charts = self.gpu_usage_charts or ("gpu_usage_charts" if root else "")
        below = root or Path.cwd()
        return str(below / Path(csv).expanduser()) if csv else "", str(
            below / Path(charts).expanduser()
        ) if charts else ""

    def withheld(self) -> tuple[str, ...]:
        """The variables that a job does not get to see, but for those in ``ds_job_env``.

        These are the website's, those that are or may hold secrets, and the ways to an agent or to GitHub.
        """
        own = (f"ds_{f.name}" for f in fields(self) if f.name.startswith("website_") or f.metadata.get("secret"))
        names = (*own, "SSH_AUTH_SOCK", "GITHUB_TOKEN", "GH_TOKEN")
        return tuple(name for name in names if name not in self.job_env)


def _xdg(kind: str) -> Path:
    from xdg import BaseDirectory

    return Path(getattr(BaseDirectory, f"xdg_{kind}_home"))


def config_file() -> Path:
    """The file that is read when no other is named."""
    return _xdg("config") / NAME / "config.toml"


def names() -> dict[str, dict[str, Any]]:
    """``ds_name`` -> its default, help and so on, for every setting of the tracker, in order."""
    return {f"ds_{item.name}": {"default": item.default, **item.metadata} for item in fields(Settings) if item.metadata}


def load(
    command_line: Mapping[str, str] | None = None,
    environment: Mapping[str, str] | None = None,
    file: Path | None = None,
    parameters: Mapping[str, Scalar] | None = None,
) -> Settings:
    """Read all settings. Raises SettingsError, naming the setting, where it came from and what is expected.

    An empty value counts as not set. In the environment, ``ds_`` variables that are not the tracker's are left to the
    job; in the file and on the command line an unknown name is an error.
    """
    environment = os.environ if environment is None else environment
    command_line = command_line or {}
    path = file or config_file()
    from_file, job, injected = _read_file(path, must_exist=file is not None)
    known = names()
    for name in command_line:
        if name not in known:
            raise SettingsError(f"unknown setting {name} on the command line", _suggestion(name))
    values: dict[str, Any] = {}
    for name, about in known.items():
        sources = (("the command line", command_line), ("the environment", environment), (str(path), from_file))
        for where, source in sources:
            text = source.get(name, "")
            if text == "":
                continue
            try:
                values[name[3:]] = about["parse"](text)
            except (ValueError, RuntimeError, OverflowError) as error:
                shown = "" if about["secret"] else f" is {text!r}, which"
                raise SettingsError(f"{name} in {where}{shown} cannot be used: {error}", about["help"]) from error
            break
    values.setdefault("dataroot", _xdg("data") / NAME)
    values.setdefault("clone_path", _xdg("cache") / NAME / "clone")
    settings = Settings(**values, job=job, parameters={**injected, **(parameters or {})})
    if settings.kernel and (settings.job_python or settings.setup_command):
        raise SettingsError(
            "ds_kernel names a kernel, and ds_job_python or ds_setup_command another Python",
            "set ds_kernel, or the other ones",
        )
    return settings


def _read_file(path: Path, must_exist: bool) -> tuple[dict[str, str], dict[str, str], dict[str, Scalar]]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        if must_exist:
            raise SettingsError(f"there is no settings file {path}", "name another with --config") from error
        return {}, {}, {}
    except UnicodeDecodeError as error:
        raise SettingsError(f"the settings file {path} is not UTF-8 text: {error}", "save it as UTF-8") from error
    except OSError as error:
        raise SettingsError(
            f"the settings file {path} cannot be read: {error.strerror}", "see that it is a file that you may read"
        ) from error
    import tomllib
    from datetime import date

    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"the settings file {path} is not valid TOML: {error}", "mend that line") from error
    tables = {name: content.pop(name, {}) for name in ("job", "parameters")}
    for name, table in tables.items():
        if not isinstance(table, dict) or not all(isinstance(value, str | int | float) for value in table.values()):
            raise SettingsError(f"[{name}] in {path} may hold texts, numbers and truth values only", "see the README")
    for name, value in _texts(tables["job"]).items():
        if not name or "=" in name or "\0" in name + value:
            raise SettingsError(f"[job] in {path} has {name!r}, which cannot be a variable of a process", "rename it")
    for name in tables["parameters"]:
        _check_parameter(name)
    known = names()
    for name, value in content.items():
        if name not in known:
            raise SettingsError(f"unknown setting {name} in {path}", _suggestion(name))
        if not isinstance(value, str | int | float | list | date):
            raise SettingsError(f"{name} in {path} is not a text or a number", known[name]["help"])
    return {name: _as_text(value) for name, value in content.items()}, _texts(tables["job"]), tables["parameters"]


def _texts(table: Mapping[str, Scalar]) -> dict[str, str]:
    return {name: _as_text(value) for name, value in table.items()}


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return str(int(value))
    if hasattr(value, "isoformat"):  # TOML has dates and times of its own
        return str(value.isoformat())
    if isinstance(value, list):
        return ",".join(str(item) for item in value)
    return str(value)


def _suggestion(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, names(), n=1, cutoff=0.8)
    meant = f"did you mean {near[0]}? " if near else ""
    return f"{meant}a variable for the training itself goes into the [job] table; the README lists all settings"


def parse_assignment(text: str) -> tuple[str, str]:
    """``NAME=VALUE`` from the command line. Raises SettingsError."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise SettingsError(f"{text!r} is not NAME=VALUE", "write for example --set ds_ref=main")
    return name, value


def _check_parameter(name: str) -> None:
    import keyword

    if not name.isidentifier() or name in keyword.kwlist:
        raise SettingsError(f"{name!r} is not the name of a notebook parameter", "a Python name is expected")


def shown(default: Any) -> str:
    """A default as a person reads it, as it stands in the README; empty for none."""
    if isinstance(default, bool):
        return str(int(default))
    if isinstance(default, float):
        return f"{default:g}"
    return "" if default in (None, (), "") else str(default)


def parse_parameter(text: str) -> tuple[str, Scalar]:
    """``NAME=VALUE`` for the notebook: a number or a truth value where it reads as one, else a text."""
    name, value = parse_assignment(text)
    _check_parameter(name)
    if value in {"True", "False"}:
        return name, value == "True"
    for convert in (int, float):
        try:
            return name, convert(value)
        except ValueError:
            continue
    return name, value
