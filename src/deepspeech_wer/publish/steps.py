"""Ways to have operations carried out: all at once, in turn, and with no refusal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from deepspeech_wer.errors import ConnectionFailed
from deepspeech_wer.publish.operations import Chain, Operation, Progress, Refusal, Store

#: A part of every path in which only publishing works.
_OURS = "/.deepspeech-wer/"


def each(store: Store, operations: Sequence[Operation]) -> list[Any]:
    """The answers of operations that do not depend on each other; refusals are answers."""
    return [answers[0] for answers in store.run([[operation] for operation in operations])] if operations else []


def require(store: Store, operations: Sequence[Operation], answers: Sequence[Any], hint: str = "") -> None:
    """Raises PublishError for the first refusal; ConnectionFailed where to try again may help.

    That is where something is gone that this publishing has just made: another one, from another installation, cleared
    it away, and whoever waits a moment finds the place alone.
    """
    for operation, answer in zip(operations, answers, strict=True):
        if isinstance(answer, Refusal):
            error = store.refused(operation, answer, hint)
            if answer.kind == "missing" and _OURS in operation.path:
                raise ConnectionFailed(
                    f"{error.message} (somebody else seems to be publishing there at this moment)",
                    "let one installation publish there, not two; publish again when the other one is done",
                )
            raise error


def done(store: Store, *operations: Operation) -> list[Any]:
    """Carries out operations that do not depend on each other. Raises PublishError if one is refused."""
    answers = each(store, operations)
    require(store, operations, answers)
    return answers


def in_turn(
    store: Store,
    groups: Sequence[Sequence[Operation]],
    beside: Sequence[Chain] = (),
    progress: Progress | None = None,
) -> tuple[list[list[Any]], list[list[Any]]]:
    """Carries out each group after the one before, and ``beside`` at the same time as the first.

    Gives the answers of each group, and those of ``beside``. Where the place works in order all groups go out at once,
    and what follows a refusal may be carried out all the same; so they hold only what does no harm then.
    """
    if store.in_order:
        chain = [operation for group in groups for operation in group]
        first, *others = store.run([chain, *beside], progress)
        answers = iter(first)
        return [[next(answers) for _ in group] for group in groups], others
    results: list[list[Any]] = []
    others = []
    if not groups:
        return [], store.run(beside, progress)
    for number, group in enumerate(groups):
        chains = [[operation] for operation in group]
        answered = store.run([*chains, *(beside if number == 0 else ())], progress)
        results.append([answers[0] for answers in answered[: len(chains)]])
        if number == 0:
            others = answered[len(chains) :]
    return results, others


def by_depth(folders: Sequence[str]) -> list[list[str]]:
    """Folders in groups, each after the one that holds its parents."""
    levels: dict[int, list[str]] = {}
    for folder in sorted(folders):
        levels.setdefault(folder.count("/"), []).append(folder)
    return [levels[depth] for depth in sorted(levels)]


def tops(paths: Iterable[str]) -> set[str]:
    """The names at the top of relative paths: ``a/b.txt``, ``c.txt`` -> ``a``, ``c.txt``."""
    return {path.split("/")[0] for path in paths}


def parents(path: str) -> list[str]:
    """The folders on the way to a relative path, the outermost first: ``a/b/c.txt`` -> ``a``, ``a/b``."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: n + 1]) for n in range(len(parts))]
