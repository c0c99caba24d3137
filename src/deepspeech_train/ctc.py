"""Connectionist temporal classification (Graves et al., 2006) with true lengths, on each backend in its quickest way.

>>> losses = loss(logits, frames, labels, label_lengths)  # (batch,), the negative log likelihood of each utterance

``keras.losses.CTC`` takes the padded length as every utterance's length, and the dense algorithm behind
``keras.ops.ctc_loss`` is twenty times slower on a CPU than TensorFlow's kernel for sparse labels. Given sparse labels,
TensorFlow takes cuDNN's kernel where the graph runs on a GPU and its own on a CPU. JAX has no kernel: there the
probabilities of all beginnings are summed in one loop over time and those of all ends in another, which together give
the gradient, in place of a gradient through the first loop.

An utterance of no labels has the loss of saying nothing, and a gradient like any other. One with too few frames for
its labels (``text.frames_needed``) has no path: its loss is infinite and its gradient zero, the same on all backends
(TensorFlow alone would refuse the batch, its dense algorithm give 710 or so).
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

#: The logarithm of a probability of zero, with room for sums of two.
_NEVER = -1e30


def loss(logits: Any, frames: Any, labels: Any, label_lengths: Any) -> Any:
    """Negative log likelihood of each utterance, shape (batch,), float32.

    ``logits`` (batch, frames, characters) of any floating type, the blank last; ``frames`` (batch,) the true numbers
    of frames; ``labels`` (batch, characters) padded with anything, ``label_lengths`` (batch,).
    """
    logits = ops.cast(logits, "float32")
    frames, labels, label_lengths = (ops.cast(each, "int32") for each in (frames, labels, label_lengths))
    blank = logits.shape[-1] - 1
    present = ops.arange(ops.shape(labels)[1])[None, :] < label_lengths[:, None]
    repeats = ops.logical_and(labels[:, 1:] == labels[:, :-1], present[:, 1:])
    possible = label_lengths + ops.sum(ops.cast(repeats, "int32"), axis=1) <= frames
    of_backend = _by_kernel if keras.config.backend() == "tensorflow" else _by_sums
    losses = of_backend(logits, frames, labels, ops.logical_and(present, possible[:, None]), blank)
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
        blank_index=blank,
    )
    real = tf.sequence_mask(frames, tf.shape(logits)[1])
    of_blanks = tf.where(real, tf.nn.log_softmax(logits)[:, :, blank], 0.0)
    return tf.where(none, -tf.reduce_sum(of_blanks, axis=1), losses)


def _by_sums(logits: Any, frames: Any, labels: Any, present: Any, blank: int) -> Any:
    """The forward and backward sums over the states blank, label, blank, label, ... blank: (frames, batch, states)."""
    import jax
    import jax.numpy as jnp

    batch, length = labels.shape
    states = jnp.full((batch, 2 * length + 1), blank).at[:, 1::2].set(jnp.where(present, labels, blank))
    two_before = jnp.pad(states, ((0, 0), (2, 0)), constant_values=blank)[:, :-2]
    skips = (states != blank) & (states != two_before)  # may be entered from two states before
    last = 2 * jnp.sum(present, axis=1)[:, None]  # the last blank; an utterance may also end in the label before it
    place = jnp.arange(2 * length + 1)[None, :]
    begins = jnp.where(place == 0, 0.0, jnp.full(states.shape, _NEVER))
    ends = jnp.where((place == last) | (place == last - 1), 0.0, _NEVER)
    real = jnp.arange(logits.shape[1])[:, None, None] < frames[None, :, None]

    def moved(values: Any, by: int) -> Any:
        """``values`` moved ``by`` states on, or back, where nothing comes from outside."""
        pads = ((0, 0), (max(by, 0), max(-by, 0)))
        padded = jnp.pad(values, pads, constant_values=_NEVER)
        return padded[:, : values.shape[1]] if by > 0 else padded[:, -values.shape[1] :]

    def of_states(logits: Any) -> Any:
        chosen = jnp.take_along_axis(jax.nn.log_softmax(logits), states[:, None, :], axis=2)
        return jnp.swapaxes(chosen, 0, 1)

    def forward(logits: Any) -> Any:
        def step(before: Any, frame: Any) -> Any:
            log_probs, real = frame
            skipped = jnp.where(skips, moved(before, 2), _NEVER)
            after = jax.nn.logsumexp(jnp.stack([before, moved(before, 1), skipped]), axis=0) + log_probs
            after = jnp.where(real, after, before)
            return after, after

        final, beginnings = jax.lax.scan(step, begins, (of_states(logits), real))
        losses = -jax.nn.logsumexp(jnp.where(ends == 0.0, final, _NEVER), axis=1)
        return losses, beginnings

    @jax.custom_gradient  # type: ignore[untyped-decorator]
    def losses_of(logits: Any) -> Any:
        losses, beginnings = forward(logits)

        def gradient(upstream: Any) -> Any:
            def step(after: Any, frame: Any) -> Any:
                log_probs, real = frame
                entered = after + log_probs
                skipped = moved(jnp.where(skips, entered, _NEVER), -2)
                before = jax.nn.logsumexp(jnp.stack([entered, moved(entered, -1), skipped]), axis=0)
                return jnp.where(real, before, after), after

            _, endings = jax.lax.scan(step, ends, (of_states(logits), real), reverse=True)
            visits = jax.nn.softmax(beginnings + endings)  # of a frame's states, each path through one of which
            characters = jax.nn.one_hot(states, logits.shape[-1], dtype=logits.dtype)
            visits = jnp.einsum("tbs,bsc->btc", visits, characters)
            change = jnp.where(jnp.swapaxes(real, 0, 1), jax.nn.softmax(logits) - visits, 0.0)
            return change * upstream[:, None, None]

        return losses, gradient

    return losses_of(logits)
