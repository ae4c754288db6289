"""What is refused before decoders are trained, and what is said of those that could not be."""

from collections.abc import Sequence

from ..cache import Features, SpaceClipError
from .run import Plan


def require_trained(count: int, failed: Sequence[tuple[Plan, SpaceClipError]]) -> None:
    """Raise the errors of those decoders, of so many, that could not be trained."""
    if failed and count == 1:
        raise failed[0][1]
    if failed:
        reasons = "; ".join(f"{plan.out}: {error}" for plan, error in failed)
        raise SpaceClipError(f"{len(failed)} of {count} decoders could not be trained: {reasons}")


def require_trainable(plans: Sequence[Plan], score: object, cache: Features) -> None:
    """Refuse decoders that cannot be trained on these features, or would be written to one folder."""
    for plan in plans:
        try:
            cache.require(plan.decoder.layers, depth=True)
        except SpaceClipError as error:
            raise SpaceClipError(f"{plan.out}: {error}") from error
        if score is None and plan.settings.keep == "best":
            raise SpaceClipError(
                "there is no validation split to choose the best weights by: hold scenes out (data.split.val), "
                "or set train.keep to last"
            )
    folders = [plan.out.resolve() for plan in plans]
    if doubled := {str(folder) for folder in folders if folders.count(folder) > 1}:
        raise SpaceClipError(f"{', '.join(sorted(doubled))}: two decoders would be written there; name them apart")


def require_same_batches(plans: Sequence[Plan]) -> None:
    """Refuse decoders that would not see the same batches."""
    for plan in plans:
        if differences := plan.settings.order.differences(plans[0].settings.order):
            differ = ", ".join(f"{name} {own} and {first}" for name, own, first in differences)
            raise SpaceClipError(
                f"{plan.out} and {plans[0].out} differ in {differ}: decoders that are trained together see the same "
                "batches; set it alike (order_seed is the seed where it is not given), or train them one by one"
            )
