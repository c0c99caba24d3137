"""``python -m deepspeech_wer``."""

from deepspeech_wer.cli import main

raise SystemExit(main())
