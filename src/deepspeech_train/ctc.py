"""Connectionist temporal classification (Graves et al., 2006) with true lengths.

``keras.losses.CTC`` takes the padded length as every utterance's length, and the dense algorithm behind
``keras.ops.ctc_loss`` is twenty times slower on a CPU than TensorFlow's kernel for sparse labels. Given sparse
labels, TensorFlow takes cuDNN's kernel where the graph runs on a GPU and its own on a CPU.
"""

from __future__ import annotations

from typing import Any

import keras


def loss(logits: Any, frames: Any, labels: Any, label_lengths: Any) -> Any:
    """Negative log likelihood of each utterance, shape (batch,).

    ``logits`` (batch, frames, characters), the blank last; ``frames`` (batch,) the true numbers of frames;
    ``labels`` (batch, characters) padded, ``label_lengths`` (batch,). Every utterance must have the frames
    that its labels need (``text.frames_needed``); a row without labels, which fills up a shape, has the loss 0.
    """
    logits = keras.ops.cast(logits, "float32")
    lengths = keras.ops.maximum(label_lengths, 1)  # TensorFlow's kernel refuses a batch that has a row without labels
    blank = logits.shape[-1] - 1
    if keras.config.backend() == "tensorflow":
        losses = _sparse(logits, frames, labels, lengths, blank)
    else:
        losses = keras.ops.ctc_loss(labels, logits, lengths, frames, mask_index=blank)
    return keras.ops.where(label_lengths > 0, losses, 0.0)


def _sparse(logits: Any, frames: Any, labels: Any, lengths: Any, blank: int) -> Any:
    import tensorflow as tf

    present = tf.sequence_mask(lengths, tf.shape(labels)[1])
    indices = tf.where(present)
    sparse = tf.SparseTensor(indices, tf.gather_nd(labels, indices), tf.shape(labels, out_type=tf.int64))
    return tf.nn.ctc_loss(
        labels=sparse, logits=logits, label_length=None, logit_length=frames, logits_time_major=False, blank_index=blank
    )
