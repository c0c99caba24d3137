"""A run by hand: what the last cell of the notebook calls in Jupyter.

With the website's variables set, the result folder of the run is kept beside the tracker's own runs, merged and
published as the tracker would. Under the tracker nothing is done here, since the tracker does it.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from deepspeech_wer import lock, page, website
from deepspeech_wer.config import Settings, load
from deepspeech_wer.errors import EXIT_DONE, EXIT_PUBLISH_FAILED, PublishError, TrackerError
from deepspeech_wer.job.spec import TRAINED, JobSpec, Status
from deepspeech_wer.landings.git import describe
from deepspeech_wer.log import Log
from deepspeech_wer.results import archive, hyper

#: What a result folder holds that is worth keeping.
KEPT = ("hyper.json", "utterances.jsonl", "learning.jsonl", "log.txt", "notebook.ipynb")


def maybe_publish(result: str | Path) -> int:
    """Keep, merge and publish the result folder of a run by hand, if the website's variables are set.

    Returns 0, or 76 where it could not be published. Says which variables are missing if some are. Raises nothing for
    what the user can mend: a message says it, and the results stay where they are.
    """
    if os.environ.get("ds_run_id"):
        print("This run is the tracker's, which publishes it.")
        return EXIT_DONE
    try:
        settings = load()
        if missing := website.missing(settings):
            print(f"Not published: set {', '.join(missing)} to publish the results of a run by hand.")
            return EXIT_DONE
        _keep(Path(result), settings)
        log = Log(settings.dataroot / "logs" / "deepspeech-wer.log")
        with lock.held(settings.cache / "lock", "a run by hand"):
            page.build(settings, log)
            page.publish(settings, log)
    except TrackerError as error:
        print(f"Not published: {error.message}\n{error.hint}")
        return EXIT_PUBLISH_FAILED if isinstance(error, PublishError) else error.exit_code
    return EXIT_DONE


def _keep(result: Path, settings: Settings) -> None:
    try:
        content = hyper.parse((result / "hyper.json").read_bytes())
    except (OSError, hyper.InvalidHyper) as error:
        raise TrackerError(
            f"{result / 'hyper.json'} cannot be published: {error}", "run the notebook to its end"
        ) from error
    landing = describe(Path.cwd(), hyper.git_hash(content), settings.commit_url)
    if landing is None:  # no commit to show it at: it is kept with the other runs that have none
        archive.import_legacy(settings.dataroot, [result / "hyper.json"])
        return
    run = archive.new_run_id(landing.sha)
    others = (
        record.attempt for record in archive.load(settings.dataroot)[0] if record.landing and record.sha == landing.sha
    )
    spec = JobSpec(
        run_id=run,
        landing=landing,
        branch=str(content["context"].get("git_branch", "HEAD")),
        checkout=Path(),
        result=settings.dataroot / "runs" / run,
        checkpoint_dir=Path(),
        script="",
        notebook=settings.notebook,
        attempt=1 + max(others, default=0),
    )
    started, finished = (str(content["context"].get(name, "")) for name in ("time_started", "time_finished"))
    spec.partial.mkdir(parents=True)
    for name in KEPT:
        if (result / name).is_file():
            shutil.copyfile(result / name, spec.partial / name)
    (spec.partial / "job.json").write_text(spec.to_json())
    (spec.partial / "status.json").write_text(Status(TRAINED, started, finished).to_json())
    spec.partial.rename(spec.result)
