"""From a list of utterances to padded batches."""
