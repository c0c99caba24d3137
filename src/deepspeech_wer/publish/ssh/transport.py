"""paramiko's SSH transport made fit for several host keys, host certificates, several keys of ours, and fewer waits."""

from __future__ import annotations

import logging
import shlex
import threading
from typing import Any

import paramiko
from paramiko.auth_handler import AuthOnlyHandler
from paramiko.common import cMSG_SERVICE_REQUEST
from paramiko.ssh_exception import IncompatiblePeer

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.sftp.channel import tune
from deepspeech_wer.publish.ssh.certificates import SUFFIX
from deepspeech_wer.publish.ssh.config import Hop
from deepspeech_wer.publish.ssh.hostkey import HostKey, host_key
from deepspeech_wer.publish.ssh.identities import NOBODY, Identities
from deepspeech_wer.publish.ssh.knownhosts import Trust, verify
from deepspeech_wer.publish.ssh.watched import WatchedSocket

# paramiko's thread logs every error with its traceback, and with no logging set up Python prints it.
# The same error is raised here and told in the user's words; whoever wants the log sets a level.
if logging.getLogger("paramiko").level == logging.NOTSET:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)

#: What we accept as a signature of the host, best first; an RSA key signs with two of them.
_SIGNATURES = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class _Unproven(paramiko.SSHException):  # type: ignore[misc]
    """The server has not the key that it shows."""


class _AuthHandler(AuthOnlyHandler):  # type: ignore[misc]
    """paramiko's, which misses an answer that comes before it has made the event to wait for."""

    _is_refused = False

    def send_auth_request(self, *arguments: Any, **named: Any) -> Any:
        self._is_refused = False
        return super().send_auth_request(*arguments, **named)

    def _parse_userauth_failure(self, message: Any) -> None:
        super()._parse_userauth_failure(message)
        # Noted first, and then told whoever may have begun to wait meanwhile: one of the two is seen.
        self._is_refused = True
        if self.auth_event is not None:
            self.auth_event.set()

    def wait_for_response(self, event: threading.Event) -> Any:
        if self._is_refused or self.is_authenticated():
            event.set()
        return super().wait_for_response(event)


class Transport(paramiko.ServiceRequestingTransport):  # type: ignore[misc]
    """A transport to ``hop``. :meth:`greet`, then :meth:`log_in`; what they raise is meant for the user.

    Of the two that paramiko has, the one that asks for the login service once, not once a key: some
    servers hang up on the second request.
    """

    def __init__(self, hop: Hop, sock: WatchedSocket) -> None:
        self.auth_handler: Any = None
        super().__init__(sock)
        self.hop = hop
        self.shown: HostKey | None = None
        self._preamble = ""
        self._hurries = False
        self._service_answered = threading.Event()
        # The watched socket ends a silence after one timeout; these end a server that only dribbles.
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = 2 * hop.timeout
        self.channel_timeout = 2 * hop.timeout
        tune(self)

    def connect(self, hostkey: Trust, username: str, password: None = None, pkey: Identities = NOBODY) -> None:
        """What pysftp calls."""
        self.greet(hostkey)
        verify(hostkey, self.host_key_shown)
        self.log_in(pkey)

    def greet(self, trust: Trust) -> None:
        """Exchanges keys. Afterwards the server has proven to have :attr:`host_key_shown`, whoever it is."""
        self._prefer(trust)
        try:
            with self.sock.answer_due():
                self.start_client(timeout=3 * self.hop.timeout)
                if not self.initial_kex_done:  # it comes back at the end of its time as well, and says nothing
                    raise TimeoutError("the keys were not exchanged in time")
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._failure(error) from error

    @property
    def host_key_shown(self) -> HostKey:
        """The server's key, or its certificate, as it was shown."""
        assert self.shown is not None
        return self.shown

    def _prefer(self, trust: Trust) -> None:
        """Asks for the kinds of host key that are known, so that a server may have others too.

        And for certificates, first of all, where an authority is known; any kind of key can have one.
        """
        known = {key.kind for key in trust.trusted}
        kinds = sorted(_SIGNATURES, key=lambda kind: kind not in known)
        plain = tuple(signature for kind in kinds for signature in _SIGNATURES[kind])
        certified = tuple(name + SUFFIX for name in plain) if trust.authorities else ()
        self.get_security_options().key_types = certified + plain

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        # paramiko's adds a certificate to each: also where no authority is known, and to certificates.
        return tuple(self._preferred_keys)

    def _verify_key(self, host_key_blob: bytes, signature: bytes) -> None:
        shown = host_key(host_key_blob)
        # When keys are exchanged anew during the connection, it must still be the same server.
        if self.shown is not None and shown != self.shown:
            raise _Unproven("the host key is another one than at first")
        try:
            super()._verify_key(host_key_blob, signature)
        except Exception as error:
            raise _Unproven(str(error)) from error
        self.shown = shown

    def _log(self, level: int, message: Any, *arguments: Any) -> None:
        # What comes before the SSH version, such as "Not allowed at this time", paramiko only logs.
        if isinstance(message, str) and message.startswith("Banner: "):
            self._preamble += message.removeprefix("Banner: ").strip() + " "
        super()._log(level, message, *arguments)

    def run(self) -> None:
        try:
            super().run()
        finally:
            # Who waits for the login service is not to wait for ever when the connection breaks before.
            self._service_answered.set()

    def get_auth_handler(self) -> _AuthHandler:
        return _AuthHandler(self)

    def _parse_service_accept(self, message: Any) -> None:
        super()._parse_service_accept(message)
        self._service_answered.set()

    def ensure_session(self) -> None:
        """Asks for the login service, once. paramiko's looks for the answer ten times a second, and waits for ever."""
        if not self.is_active():
            raise paramiko.SSHException("the connection is closed")
        if self.auth_handler is not None:
            return
        self.auth_handler = self.get_auth_handler()
        request = paramiko.Message()
        request.add_byte(cMSG_SERVICE_REQUEST)
        request.add_string("ssh-userauth")
        self._send_message(request)
        if not self._hurries:
            self._service_answered.wait(self.auth_timeout)
            if not self._service_userauth_accepted:
                raise self.get_exception() or paramiko.SSHException("the server does not answer the request to log in")

    def log_in(self, identities: Identities) -> None:
        """Tries the keys, one after the other, until one is taken."""
        try:
            with self.sock.answer_due():
                self._log_in(identities)
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise self._failure(error) from error

    def _log_in(self, identities: Identities) -> None:
        hop = self.hop
        refusals: list[str] = []
        # OpenSSH works in order, so the login may follow the request for it at once: a round trip less. Others hang
        # up; and for an RSA key the server must have said what it takes as a signature.
        in_order = str(self.remote_version).startswith("SSH-2.0-OpenSSH")
        self._hurries = in_order and bool(identities.tried) and "rsa" not in identities.tried[0].key.get_name()
        for identity in identities.tried:
            try:
                missing = self.auth_publickey(hop.username, identity.key)
            except paramiko.BadAuthenticationType as error:
                raise PublishError(
                    f"{hop} does not let {hop.username} log in with a key, only with: {', '.join(error.allowed_types)}",
                    "allow public keys for that user on the server (PubkeyAuthentication in sshd_config)",
                ) from error
            except (paramiko.SSHException, EOFError) as error:
                if not isinstance(error, paramiko.AuthenticationException):
                    self.join(0.3)  # the thread that reads from the network notices its end a moment later
                if self.is_active():
                    signed = isinstance(error, paramiko.AuthenticationException)
                    refusals.append(identity.label if signed else f"{identity.label} (the agent does not sign with it)")
                    continue
                if not refusals or self.sock.silent:
                    raise
                # The server had enough of our tries: what it refused is what to tell.
                break
            if not missing:
                return
            raise PublishError(
                f"{hop} takes {identity.label}, but asks for more: {', '.join(missing)}",
                "publishing runs unattended: let that key alone suffice (AuthenticationMethods in sshd_config)",
            )
        passed_over = f". Not tried: {'; '.join(identities.passed_over)}" if identities.passed_over else ""
        file = f"-i {shlex.quote(str(hop.privkey))} " if hop.privkey else ""
        raise PublishError(
            f"{hop} refuses the user {hop.username} with {', '.join(refusals)}{passed_over}",
            f"put the public key into that user's ~/.ssh/authorized_keys on the server: "
            f"ssh-copy-id {file}-p {hop.port} {shlex.quote(f'{hop.username}@{hop.name}')}",
        )

    def _failure(self, error: Exception) -> PublishError:
        """What to tell when the connection does not come about."""
        hop, tried = self.hop, f"{self.hop}: could not connect"
        said = str(error)[:200] or type(error).__name__
        if isinstance(error, _Unproven):
            return PublishError(
                f"{tried}: the server shows a host key and does not prove that it has it ({said})",
                "somebody may be in between; nothing was sent. Ask who runs the server",
            )
        if isinstance(error, IncompatiblePeer):
            return PublishError(
                f"{tried}: the server and this program have no way to encrypt in common ({said})",
                "upgrade the SSH server; or see what it offers: ssh -vv " + shlex.quote(hop.name),
            )
        if self.sock.silent or isinstance(error, TimeoutError):
            self.sock.silent = True
            return ConnectionFailed(
                f"{tried}: the server said nothing for {hop.timeout:g} s",
                "see whether the server and the network are up",
            )
        command = getattr(self.sock, "said", str)() if hop.command else ""
        words = f"; the server says {self._preamble.strip()[:200]!r}" if self._preamble else ""
        words += f"; the ProxyCommand says {command}" if command else ""
        return ConnectionFailed(
            f"{tried}: the connection was lost ({said!r}){words}",
            "see whether the ProxyCommand of ~/.ssh/config gets through"
            if command
            else "see whether an SSH server is there and what its log says",
        )

    def close(self) -> None:
        """Ends it, and the stream that it talks through, which paramiko leaves open where it never began."""
        super().close()
        self.sock.close()
