"""How the settings have a set of utterances read: the one place where a pipeline is made of them."""

from __future__ import annotations

from dataclasses import replace

from . import computing, models
from .checkpoints import Network
from .data.augment import Augmentation
from .data.batches import Batching
from .data.features import Statistics
from .data.manifest import Utterances
from .data.pipeline import Pipeline
from .settings import Settings


def pipeline(
    settings: Settings,
    utterances: Utterances,
    statistics: Statistics | None,
    batch_size: int,
    augmentation: Augmentation | None = None,
) -> Pipeline:
    """The batches of a set that is trained on (then with its ``augmentation``), or gone through after each epoch."""
    return Pipeline(
        utterances,
        options=settings.feature_options,
        alphabet=settings.characters,
        stride=models.stride(settings),
        batching=Batching(batch_size, settings.max_batch_seconds, settings.sortagrad),
        seed=settings.random_seed,
        statistics=statistics,
        augmentation=augmentation,
        threads=settings.reading_threads,
        prefetch=settings.prefetch_batches,
        cache=settings.feature_cache,
        fixed=computing.fixed_shapes(settings),
        max_duration=settings.max_duration,
    )


def once(network: Network, utterances: Utterances) -> Pipeline:
    """The batches of a set that ``network`` goes through once: there is nothing to keep in memory."""
    settings = replace(network.settings, feature_cache=False)
    return pipeline(settings, utterances, network.statistics, settings.test_batch_size)
