"""pysftp 0.2.9 made fit for strict host keys, every kind of key, and servers that fall silent.

What pysftp does not do by itself, and where it is mended here:

* it does not import on paramiko 4 and 5, where ``DSSKey`` is gone -> the import below
* it looks a host key up by the bare name, and takes the first of several -> :class:`CnOpts`
* it reads RSA and DSA key files alone, and one key at a time -> :class:`Connection`
* it waits for ever: paramiko retries a write that the network does not take, waits without limit for
  the answer to a subsystem request, and its keepalive never notices a dead peer -> :class:`WatchedSocket`
* its destructor fails on an object whose constructor failed -> the class attributes of :class:`Connection`

This is the heavy half of ``publish/sftp.py``: import it only when connecting.
"""

from __future__ import annotations

import logging
import shlex
import socket
import threading
from typing import Any

import paramiko
from paramiko.auth_handler import AuthOnlyHandler

from deepspeech_wer.errors import ConnectionFailed, PublishError
from deepspeech_wer.publish.keys import Identity, identities
from deepspeech_wer.publish.knownhosts import Trust, host_key, lookup, verify
from deepspeech_wer.publish.target import Target, check
from deepspeech_wer.publish.watched import WatchedSocket

if hasattr(paramiko, "DSSKey"):
    import pysftp
else:
    # pysftp imports the name, and nothing here uses it. It is there for the import alone, since other
    # code may ask paramiko whether it has DSA keys.
    paramiko.DSSKey = type("DSSKey", (paramiko.PKey,), {})
    import pysftp

    del paramiko.DSSKey

# paramiko's thread logs every error with its traceback, and with no logging set up Python prints it.
# The same error is raised here and told in the user's words; whoever wants the log sets a level.
if logging.getLogger("paramiko").level == logging.NOTSET:
    logging.getLogger("paramiko").setLevel(logging.CRITICAL)


def _tune(transport: Any) -> None:
    """What makes transfers quick, set before the key exchange, where the SFTP layer has something to set."""
    try:
        from deepspeech_wer.publish.channel import tune
    except ImportError:
        return
    tune(transport)


#: What we accept as a signature of the host, best first; an RSA key signs with two of them.
_SIGNATURES = {
    "ssh-ed25519": ("ssh-ed25519",),
    "ecdsa-sha2-nistp256": ("ecdsa-sha2-nistp256",),
    "ecdsa-sha2-nistp384": ("ecdsa-sha2-nistp384",),
    "ecdsa-sha2-nistp521": ("ecdsa-sha2-nistp521",),
    "ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256"),
}


class CnOpts(pysftp.CnOpts):  # type: ignore[misc]
    """pysftp's options with the host keys of ``host:port`` instead of those of the bare name.

    pysftp's own constructor is not called: it warns where there is no file, and fails on a file with
    an ``@revoked`` line.
    """

    def __init__(self, target: Target) -> None:
        self.log = False
        self.compression = False
        self.ciphers = None
        self.hostkeys = lookup(target.host, target.port, target.known_hosts)

    def get_hostkey(self, host: str) -> Trust:
        """All that is known of the target, for the transport to check the server against."""
        trust: Trust = self.hostkeys
        return trust


class _AuthHandler(AuthOnlyHandler):  # type: ignore[misc]
    """paramiko's, which misses an answer that comes before it has made the event to wait for."""

    def wait_for_response(self, event: threading.Event) -> Any:
        if self.is_authenticated() or self.transport.saved_exception is not None:
            event.set()
        return super().wait_for_response(event)


class _Transport(paramiko.ServiceRequestingTransport):  # type: ignore[misc]
    """paramiko's transport with a ``connect`` that knows several host keys and tries several keys.

    Of the two that paramiko has, the one that asks for the login service once, not once a key: some
    servers hang up on the second request.
    """

    def __init__(self, target: Target, sock: WatchedSocket) -> None:
        super().__init__(sock)
        self._target = target
        # The watched socket ends a silence after one timeout; these end a server that only dribbles.
        self.banner_timeout = self.handshake_timeout = self.auth_timeout = 2 * target.timeout
        self.channel_timeout = 2 * target.timeout
        _tune(self)

    def run(self) -> None:
        try:
            super().run()
        finally:
            # paramiko waits for this alone, for ever, when the connection breaks before the login.
            self._service_userauth_accepted = True

    def get_auth_handler(self) -> _AuthHandler:
        return _AuthHandler(self)

    def connect(
        self,
        hostkey: Trust,
        username: str,
        password: None = None,
        pkey: tuple[Identity, ...] = (),
    ) -> None:
        self._prefer(hostkey)
        self.start_client(timeout=3 * self._target.timeout)
        verify(hostkey, host_key(self.get_remote_server_key().asbytes()))
        self._log_in(username, pkey)

    def _prefer(self, trust: Trust) -> None:
        """Asks for the kinds of host key that are known, so that a server may have others too."""
        known = {key.kind for key in trust.trusted}
        kinds = sorted(_SIGNATURES, key=lambda kind: kind not in known)
        self.get_security_options().key_types = tuple(s for kind in kinds for s in _SIGNATURES[kind])

    def _log_in(self, username: str, keys: tuple[Identity, ...]) -> None:
        refusals: list[str] = []
        for identity in keys:
            try:
                missing = self.auth_publickey(username, identity.key)
            except paramiko.BadAuthenticationType as error:
                raise PublishError(
                    f"{self._target} does not let {username} log in with a key, only with: "
                    f"{', '.join(error.allowed_types)}",
                    "allow public keys for that user on the server (PubkeyAuthentication in sshd_config)",
                ) from error
            except (paramiko.SSHException, EOFError) as error:
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
                f"{self._target} takes {identity.label}, but asks for more: {', '.join(missing)}",
                "publishing runs unattended: let that key alone suffice (AuthenticationMethods in sshd_config)",
            )
        file = f"-i {shlex.quote(str(self._target.privkey.expanduser()))} " if self._target.privkey else ""
        login = shlex.quote(f"{username}@{self._target.host}")
        raise PublishError(
            f"{self._target} refuses the user {username} with {', '.join(refusals)}",
            f"put the public key into that user's ~/.ssh/authorized_keys on the server: "
            f"ssh-copy-id {file}-p {self._target.port} {login}",
        )


class Connection(pysftp.Connection):  # type: ignore[misc]
    """A connection to a :class:`Target`, logged in; everything pysftp's ``Connection`` can do, too.

    It opens no SFTP session by itself: open channels on :attr:`transport`. pysftp's own session begins
    with the first of its methods that is called.
    """

    # pysftp's destructor closes, also what its constructor did not come to set.
    _sftp_live = False
    _transport: Any = None
    _cnopts: Any = None
    _socket: Any = None

    def __init__(self, target: Target) -> None:
        check(target)
        self.target = target
        self._cnopts = CnOpts(target)
        with identities(target) as keys:
            self._identities = keys
            self._socket = WatchedSocket(_open_socket(target), target.timeout)
            try:
                with self._socket.answer_due():
                    super().__init__(target.host, username=target.username, port=target.port, cnopts=self._cnopts)
            except (OSError, EOFError, paramiko.SSHException) as error:
                failure = self._failure(error)
                self.close()
                raise failure from error
            except BaseException:
                self.close()
                raise

    @property
    def transport(self) -> Any:
        """paramiko's transport: logged in, on which channels can be opened."""
        return self._transport

    @property
    def socket(self) -> WatchedSocket:
        """What the transport talks through; knows whether the server fell silent."""
        watched: WatchedSocket = self._socket
        return watched

    def _start_transport(self, host: str, port: int) -> None:
        self._transport = _Transport(self.target, self._socket)

    def _set_authentication(self, password: None, private_key: None, private_key_pass: None) -> None:
        self._tconnect["pkey"] = self._identities

    def close(self) -> None:
        """Ends the connection; to a server that went silent without waiting for it."""
        if self._socket is None:
            return
        if self._socket.silent and self._transport:
            self._transport.close()
        super().close()
        self._socket.close()

    def _failure(self, error: Exception) -> ConnectionFailed:
        tried = f"{self.target}: could not connect"
        said = str(error)[:200] or type(error).__name__
        if self._socket.silent or isinstance(error, TimeoutError):
            self._socket.silent = True
            return ConnectionFailed(
                f"{tried}: the server said nothing for {self.target.timeout:g} s",
                "see whether the server and the network are up",
            )
        return ConnectionFailed(
            f"{tried}: the connection was lost ({said!r})",
            "see whether an SSH server is there and what its log says",
        )


def _open_socket(target: Target) -> socket.socket:
    try:
        return socket.create_connection((target.host, target.port), timeout=target.timeout)
    except (socket.gaierror, UnicodeError) as error:
        kind = ConnectionFailed if getattr(error, "errno", None) == socket.EAI_AGAIN else PublishError
        raise kind(
            f"cannot find the server {target.host}: {error}",
            "see whether the name is right (ds_website_server_fqdn) and the network is up",
        ) from error
    except TimeoutError as error:
        raise ConnectionFailed(
            f"{target} does not answer: no connection within {target.timeout:g} s",
            "see whether the server is up, the port is right (ds_website_server_port) and no firewall is between",
        ) from error
    except OSError as error:
        raise ConnectionFailed(
            f"cannot connect to {target}: {error.strerror or error}",
            "see whether an SSH server listens there and the port is right (ds_website_server_port)",
        ) from error
