"""A DeepSpeech training recipe in Keras 3 on TensorFlow."""
