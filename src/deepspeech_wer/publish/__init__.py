"""Publishing: what the page needs (``assets``), the way to the server (``sftp``), one release (``release``).

    from deepspeech_wer.publish.release import publish
    from deepspeech_wer.publish.sftp import Target

pysftp and paramiko are loaded only when a connection is made.
"""
