#!/usr/bin/env bash
# What a tracked repository's own training script looks like, if it prefers one to a notebook. Put it into your
# repository as bin/run-wer-automation.sh (or name another with ds_wer_automation) and make it executable.
#
# It is called in the checkout of the landing with `--checkpoint_dir DIR`, a folder that is the landing's own and is
# still there when a run that was cut off is tried again. Exit code 0 and a hyper.json mean success. The folder
# $ds_result_dir is where hyper.json (and utterances.jsonl and learning.jsonl, if there are any) should go.
#
# The settings of the training come from the environment: ds_importer, ds_epochs and so on.
set -euo pipefail
exec deepspeech-train run "$@"
