"""What publishing is measured against, each as one command: lftp, sftp, rsync over ssh, pysftp; and ours.

Every tool logs in anew, on the same server, with the same key, and is given what it needs by options alone.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from deepspeech_wer.publish.target import Target


@dataclass(frozen=True)
class Errand:
    """The folder ``here`` to be ``there`` on the server; of its files only ``changed`` are not there yet, if given."""

    here: Path
    there: Path
    target: Target
    changed: Sequence[str] = ()


def _ssh(target: Target) -> list[str]:
    options = {"UserKnownHostsFile": target.known_hosts, "GlobalKnownHostsFile": "/dev/null", "BatchMode": "yes"}
    given = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return ["-a", "-x", "-F", "none", "-i", str(target.privkey), "-o", "IdentitiesOnly=yes", *given]


def _run(command: Sequence[str], environment: dict[str, str] | None = None, text: str = "") -> None:
    done = subprocess.run(command, env=environment, input=text, capture_output=True, text=True)
    assert done.returncode == 0, (command, done.stdout, done.stderr)


def lftp(errand: Errand) -> None:
    to = errand.target
    steps = [
        f"set sftp:connect-program {shlex.quote(shlex.join(['ssh', *_ssh(to)]))}",
        f"open -u {to.username}, -p {to.port} sftp://{to.host}",
        f"mirror -R -P8 {shlex.quote(str(errand.here))} {shlex.quote(str(errand.there))}",
        "bye",
    ]
    # Where it keeps what it remembers, not to find there the settings of whoever runs this.
    home = {"HOME": str(errand.target.known_hosts and errand.target.known_hosts.parent)}
    _run(["lftp", "--norc", "-c", "; ".join(["set cmd:fail-exit yes", *steps])], {**os.environ, **home})


def rsync(errand: Errand) -> None:
    to = errand.target
    ssh = shlex.join(["ssh", "-p", str(to.port), *_ssh(to)])
    _run(["rsync", "-a", "-e", ssh, f"{errand.here}/", f"{to.username}@{to.host}:{errand.there}/"])


def sftp(errand: Errand) -> None:
    """It looks for no changes: where there are any, it is told them."""
    to = errand.target
    if errand.changed:
        lines = [f'put "{errand.here / path}" "{errand.there / path}"' for path in errand.changed]
    else:
        lines = [f'-mkdir "{errand.there}"', f'put -R "{errand.here}/." "{errand.there}"']
    options = [option for option in _ssh(to) if option not in ("-x", "-a")]
    command = ["sftp", "-q", "-b", "-", "-P", str(to.port), *options, f"{to.username}@{to.host}"]
    _run(command, text="\n".join([*lines, ""]))


_PYSFTP = """
import sys, warnings
warnings.filterwarnings("ignore")
import paramiko
if not hasattr(paramiko, "DSSKey"):  # pysftp 0.2.9 does not import without
    paramiko.DSSKey = paramiko.RSAKey
import pysftp
from pathlib import Path
host, port, user, key, here, there, *changed = sys.argv[1:]
options = pysftp.CnOpts()
options.hostkeys = None
class Connection(pysftp.Connection):  # it reads RSA keys alone
    def _set_authentication(self, password, private_key, passphrase):
        self._tconnect["pkey"] = paramiko.Ed25519Key.from_private_key_file(key)
with Connection(host, username=user, port=int(port), cnopts=options) as sftp:
    here = Path(here)
    paths = changed or [str(path.relative_to(here)) for path in sorted(here.rglob("*"))]
    if not changed:
        sftp.mkdir(there)
    for path in paths:
        if (here / path).is_dir():
            sftp.mkdir(f"{there}/{path}")
        else:
            sftp.put(str(here / path), f"{there}/{path}")
"""


def pysftp(errand: Errand) -> None:
    """A loop of ``put`` in a process of its own; it looks for no changes: where there are any, it is told them."""
    to = errand.target
    arguments = [to.host, to.port, to.username, to.privkey, errand.here, errand.there, *errand.changed]
    _run([sys.executable, "-c", _PYSFTP, *map(str, arguments)])


def command(errand: Errand) -> None:
    """``python -m deepspeech_wer.publish``, as a whole process."""
    to = errand.target
    settings = {
        "server_fqdn": to.host,
        "server_port": to.port,
        "server_root": errand.there,
        "username": to.username,
        "privkey": to.privkey,
        "known_hosts": to.known_hosts,
    }
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ds_")}
    environment |= {f"ds_website_{name}": str(value) for name, value in settings.items()}
    environment["HOME"] = str(errand.here.parent)
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed copy has its modules compiled
    _run([sys.executable, "-m", "deepspeech_wer.publish", str(errand.here / "index.html")], environment)


def call(errand: Errand) -> None:
    """:func:`publish` in this process, which has published before."""
    from dataclasses import replace

    from deepspeech_wer.publish.release import publish

    publish(errand.here, replace(errand.target, root=str(errand.there)))


Tool = Callable[[Errand], None]

OURS: dict[str, Tool] = {"publish(), in a process": call, "python -m ...publish": command}
PEERS: dict[str, Tool] = {"lftp mirror -R -P8": lftp, "rsync -a": rsync, "sftp -b": sftp, "pysftp": pysftp}
#: Those that do one thing after the other, and wait for each answer.
SLOW = {"sftp -b", "pysftp"}
