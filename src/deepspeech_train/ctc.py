"""Connectionist temporal classification (Graves et al., 2006) with true lengths, on each backend in its quickest way.

>>> losses = loss(logits, frames, labels, label_lengths)  # (batch,), the negative log likelihood of each utterance

``keras.losses.CTC`` takes the padded length as every utterance's length, and on TensorFlow the dense algorithm behind
``keras.ops.ctc_loss`` is twenty times slower on a CPU than the kernel for sparse labels. Given sparse labels,
TensorFlow takes cuDNN's kernel where the graph runs on a GPU and its own on a CPU. On JAX ``keras.ops.ctc_loss`` is as
quick as sums in both directions with a gradient made of them (6 ms for 8 x 300 frames).

An utterance of no labels has the loss of saying nothing, and a gradient like any other. One with too few frames for
its labels (``text.frames_needed``) has no path: its loss is infinite and its gradient zero, the same on all backends
(of themselves TensorFlow's kernel refuses the batch, and the dense algorithms give a finite loss).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def loss(logits: Any, frames: Any, labels: Any, label_lengths: Any) -> Any:
    """Negative log likelihood of each utterance, shape (batch,), float32.

    ``logits`` (batch, frames, characters) of any floating type, the blank last; ``frames`` (batch,) the true numbers
    of frames; ``labels`` (batch, characters) padded with anything, ``label_lengths`` (batch,).
    """
    logits = ops.cast(logits, "float32")
    frames, labels, label_lengths = (ops.cast(each, "int32") for each in (frames, labels, label_lengths))
    present = ops.arange(ops.shape(labels)[1])[None, :] < label_lengths[:, None]
    repeats = ops.logical_and(labels[:, 1:] == labels[:, :-1], present[:, 1:])
    possible = label_lengths + ops.sum(ops.cast(repeats, "int32"), axis=1) <= frames
    if keras.config.backend() == "tensorflow":
        losses = _by_kernel(logits, frames, labels, ops.logical_and(present, possible[:, None]), blank)
    else:
        losses = ops.ctc_loss(labels, logits, label_lengths, frames, mask_index=logits.shape[-1] - 1)
    return ops.where(possible, losses, float("inf"))


def _by_kernel(logits: Any, frames: Any, labels: Any, present: Any, blank: int) -> Any:
    """The kernel refuses an utterance of no labels, which therefore gets one, whose loss is not looked at: without
    labels there is one path, that of blanks."""
    import tensorflow as tf

    none = tf.logical_not(tf.reduce_any(present, axis=1))
    first = tf.range(tf.shape(labels)[1])[None, :] == 0
    places = tf.where(tf.logical_or(present, tf.logical_and(first, none[:, None])))
    losses = tf.nn.ctc_loss(
        labels=tf.SparseTensor(places, tf.gather_nd(labels, places), tf.shape(labels, out_type=tf.int64)),
        logits=logits,
        label_length=None,
        logit_length=frames,
        logits_time_major=False,
        blank_index=-1,
    )
    real = tf.sequence_mask(frames, tf.shape(logits)[1])
    of_blanks = tf.where(real, tf.nn.log_softmax(logits)[:, :, blank], 0.0)
    return tf.where(none, -tf.reduce_sum(of_blanks, axis=1), losses)
