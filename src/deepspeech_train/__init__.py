"""A DeepSpeech training recipe in Keras 3 on TensorFlow."""

from __future__ import annotations

import os

# Read when TensorFlow is loaded: its notes on instruction sets and compilers are of no use to the reader of a
# training log. Errors stay, and on what it runs each run says itself.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
