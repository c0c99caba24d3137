"""Publishing a site: what its page needs (``assets``), where it goes to (``places``), one release of it (``release``).

    from deepspeech_wer.publish.release import publish
    from deepspeech_wer.publish.target import Folder, Target

    publish(Path("site"), Target("www.example.org", None, "wer", "www/wer"))

From a shell: ``python -m deepspeech_wer.publish site/index.html``. pysftp and paramiko are loaded only when a
connection is made.
"""
