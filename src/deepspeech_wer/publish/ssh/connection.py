"""pysftp 0.2.9 made fit for strict host keys, every kind of key, jump hosts, and servers that fall silent.

What pysftp does not do by itself, and where it is mended here:

* it does not import on paramiko 4 and 5, where ``DSSKey`` is gone -> the import below
* it looks a host key up by the bare name, and takes the first of several -> :class:`CnOpts`, ``knownhosts.py``
* it reads RSA and DSA key files alone, and one key at a time -> ``identities.py``, ``keys.py``
* it knows nothing of ``~/.ssh/config`` and connects by TCP alone -> ``config.py``, ``dial.py``
* it waits for ever: paramiko retries a write that the network does not take, waits without limit for
  the answer to a subsystem request, and its keepalive never notices a dead peer -> ``watched.py``, ``transport.py``
* its destructor fails on an object whose constructor failed -> the class attributes of :class:`Connection`

This is the heavy half of ``publish/sftp.py``: import it only when connecting.
"""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import paramiko

from deepspeech_wer.publish.ssh.config import Hop, route
from deepspeech_wer.publish.ssh.dial import dial
from deepspeech_wer.publish.ssh.identities import identities
from deepspeech_wer.publish.ssh.knownhosts import Trust, lookup
from deepspeech_wer.publish.ssh.transport import Transport
from deepspeech_wer.publish.ssh.watched import WatchedSocket
from deepspeech_wer.publish.target import Target

if hasattr(paramiko, "DSSKey"):
    import pysftp
else:
    # pysftp imports the name, and nothing here uses it. It is there for the import alone, since other
    # code may ask paramiko whether it has DSA keys.
    paramiko.DSSKey = type("DSSKey", (paramiko.PKey,), {})
    import pysftp

    del paramiko.DSSKey


class CnOpts(pysftp.CnOpts):  # type: ignore[misc]
    """pysftp's options with the host keys of ``host:port`` instead of those of the bare name.

    pysftp's own constructor is not called: it warns where there is no file, and fails on a file with
    an ``@revoked`` line.
    """

    def __init__(self, hop: Hop) -> None:
        self.log = False
        self.compression = False
        self.ciphers = None
        self.hostkeys = lookup(hop)

    def get_hostkey(self, host: str) -> Trust:
        """All that is known of the server, for the transport to check it against."""
        trust: Trust = self.hostkeys
        return trust


class Connection(pysftp.Connection):  # type: ignore[misc]
    """A connection to a :class:`Target`, logged in; everything pysftp's ``Connection`` can do, too.

    It opens no SFTP session by itself: open channels on :attr:`transport`. pysftp's own session begins
    with the first of its methods that is called. Raises PublishError: settings, the ssh config, key files, unknown or
    changed host keys, refused keys; ConnectionFailed where another try may help.
    """

    # pysftp's destructor closes, also what its constructor did not come to set.
    _sftp_live = False
    _transport: Any = None
    _cnopts: Any = None
    _way: Any = None

    def __init__(self, target: Target) -> None:
        *jumps, self._hop = route(target)
        #: With the port and the user that the ssh config gave.
        self.target = replace(target, port=self._hop.port, username=self._hop.username)
        self._cnopts = CnOpts(self._hop)
        with contextlib.ExitStack() as way, identities(self._hop) as self._identities:
            through = None
            for jump in jumps:
                through = _logged_in(jump, through)
                way.callback(through.close)
            self._stream = dial(self._hop, through)
            way.callback(self._stream.close)
            try:
                super().__init__(self._hop.name, username=self._hop.username, port=self._hop.port, cnopts=self._cnopts)
            except BaseException:
                self._end()
                raise
            self._way = way.pop_all()

    @property
    def transport(self) -> Any:
        """paramiko's transport: logged in, on which channels can be opened."""
        return self._transport

    @property
    def socket(self) -> WatchedSocket:
        """What the transport talks through; knows whether the server fell silent."""
        return self._stream

    def _start_transport(self, host: str, port: int) -> None:
        self._transport = Transport(self._hop, self._stream)

    def _set_authentication(self, password: None, private_key: None, private_key_pass: None) -> None:
        self._tconnect["pkey"] = self._identities

    def close(self) -> None:
        """Ends the connection and those to jump hosts; to a server that went silent without waiting for it."""
        self._end()
        if self._way:
            self._way.close()

    def _end(self) -> None:
        if self._cnopts is None:
            return
        if self._transport and self._stream.silent:
            self._transport.close()
        super().close()


def _logged_in(hop: Hop, through: Transport | None) -> Transport:
    """A jump host, who it is and who we are checked as strictly as for the server behind."""
    trust = lookup(hop)
    with identities(hop) as ours:
        transport = Transport(hop, dial(hop, through))
        try:
            transport.connect(trust, hop.username, pkey=ours)
        except BaseException:
            transport.close()
            raise
    return transport
