"""Who we are to a server: private key files, what the SSH agent holds, and certificates of them, in order.

The key that the settings name is the only one, and must be usable. Else those of ``~/.ssh/config`` are tried, then
those of the agent; where the config names none the agent's, then ssh's own files. Of these, what cannot be used is
passed over, and told if nothing else lets us in. A key that has a certificate is tried with it, then without.
"""

from __future__ import annotations

import contextlib
import copy
import os
import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from paramiko.pkey import PublicBlob

from deepspeech_wer.errors import PublishError
from deepspeech_wer.publish.ssh.agent import Agent, AgentKey
from deepspeech_wer.publish.ssh.certificates import SUFFIX, parse, user_problem
from deepspeech_wer.publish.ssh.config import Hop
from deepspeech_wer.publish.ssh.hostkey import HostKey, host_key
from deepspeech_wer.publish.ssh.keys import first_key, is_locked, load_private_key, public_part

#: Where ssh looks for keys if nobody names any, without those that need a device.
DEFAULT_KEYS = ("id_rsa", "id_ecdsa", "id_ed25519")


@dataclass(frozen=True)
class Identity:
    """A key to log in with, maybe with a certificate, and how to name it to the user (never anything secret)."""

    key: Any
    label: str


@dataclass(frozen=True)
class Identities:
    """What to try, in order; and why other keys and certificates are not tried, as messages."""

    tried: tuple[Identity, ...]
    passed_over: tuple[str, ...] = ()


#: No key at all.
NOBODY = Identities(())


@contextlib.contextmanager
def identities(hop: Hop) -> Iterator[Identities]:
    """The keys to try on ``hop``. Raises PublishError if there is none, or if the one of the settings cannot be used.

    The agent stays connected for as long as the context lasts.
    """
    with Agent(hop.agent) as agent:
        yield _Search(hop, agent).found()


@dataclass
class _Search:
    """Looks for the keys of one hop."""

    hop: Hop
    agent: Agent
    plain: list[Identity] = field(default_factory=list)
    problems: list[PublishError] = field(default_factory=list)

    def found(self) -> Identities:
        hop = self.hop
        own = (hop.privkey,) if hop.privkey else hop.identity_files
        files = own or tuple(Path.home() / ".ssh" / name for name in DEFAULT_KEYS)
        others = not hop.privkey and not hop.identities_only
        # A file that somebody names is meant; the agent's others come behind it, since servers count our tries.
        if others and not own:
            self._agents_others()
        self._files(files)
        if others and own:
            self._agents_others()
        tried = (*self._certified(files), *self.plain)
        if not tried:
            raise self._nothing(files if own else ())
        return Identities(tried, tuple(problem.message for problem in self.problems))

    def _nothing(self, files: tuple[Path, ...]) -> PublishError:
        if self.problems:
            return self.problems[0]
        what = f"{', '.join(map(str, files))} does not exist" if files else "no key file is set"
        agent = "the SSH agent has no keys" if self.agent.is_there else "there is no SSH agent"
        return PublishError(
            f"no key to log in with on {self.hop}: {what}, and {agent}",
            "set a private key file (ds_website_privkey), or start an agent and load a key: ssh-add",
        )

    def _files(self, files: tuple[Path, ...]) -> None:
        for file in files:
            try:
                key = self._from_file(file)
            except PublishError as error:
                if self.hop.privkey:
                    raise
                self.problems.append(error)
                continue
            self._add(key, f"the key {file}")

    def _from_file(self, file: Path) -> Any:
        """The key of a file; the agent's, where only that one can be used. None: there is no such file."""
        is_there = os.access(file, os.F_OK) or self.hop.privkey is not None
        if not is_there or (self.hop.passphrase_command is None and is_locked(file)):
            public = public_part(file)
            # The file's own fault is the one to tell, not the agent's.
            with contextlib.suppress(PublishError, StopIteration):
                return next(key for key in self.agent.held() if key.blob == public)
        return load_private_key(file, self.hop.passphrase_command) if is_there else None

    def _agents_others(self) -> None:
        try:
            keys = self.agent.held()
        except PublishError as error:
            self.problems.append(error)
            return
        for key in sorted(keys, key=lambda key: not key.get_name().endswith(SUFFIX)):
            self._add(key, "the agent's key")

    def _add(self, key: Any, label: str) -> None:
        if key is None or any(known.key.asbytes() == key.asbytes() for known in self.plain):
            return
        public = host_key(key.asbytes())
        if not public.kind.endswith(SUFFIX):
            self.plain.append(Identity(key, f"{label} ({public})"))
            return
        told = self._certificate(public, label)
        if told:
            self.plain.append(Identity(key, told[1]))

    def _certified(self, files: tuple[Path, ...]) -> Iterator[Identity]:
        """The keys that there are certificates for, with them."""
        named = self.hop.certificate_files
        for file in named or tuple(file.with_name(file.name + "-cert.pub") for file in files):
            public = first_key(file)
            told = self._certificate(public, f"the certificate {file}") if public else None
            if not public and named:
                hint = f"see what it is: ssh-keygen -Lf {shlex.quote(str(file))}"
                self.problems.append(PublishError(f"the certificate {file} cannot be read", hint))
            if not public or not told:
                continue
            owner = next((known.key for known in self.plain if known.key.asbytes() == told[0].blob), None)
            if owner is None:
                hint = "name the private key that it belongs to"
                self.problems.append(PublishError(f"{told[1]} is for a key that is not here: {told[0]}", hint))
                continue
            key = owner.copy() if isinstance(owner, AgentKey) else copy.copy(owner)
            key.public_blob = PublicBlob(public.kind, public.blob)
            yield Identity(key, told[1])

    def _certificate(self, public: HostKey, label: str) -> tuple[HostKey, str] | None:
        """The key that a certificate is for, and what to call it; None if it is not worth trying."""
        hint = "have the key signed again: ssh-keygen -s CA -I ID -n USER -V +52w KEY.pub"
        try:
            certificate = parse(public.blob)
        except ValueError as error:
            self.problems.append(PublishError(f"{label} is not valid: {error}", hint))
            return None
        label = f"{label} ({certificate.identity!r}, for {', '.join(certificate.principals) or 'nobody'})"
        problem = user_problem(certificate)
        if problem:
            self.problems.append(PublishError(f"{label} {problem}", hint))
            return None
        return certificate.key, label
