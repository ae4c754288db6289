import os
import time
from contextlib import suppress

import pytest
from spaceclip.cache import SpaceClipError
from spaceclip.evaluate import Results, Row, SavedMapsFacts, write_results
from spaceclip.evaluate.result_files import FILES
from spaceclip.evaluate.result_folder import require_free, sweep_folder


@pytest.fixture
def finished(tmp_path, make_maps, scored, facts):
    """A folder with a result on the samples `s`, what was scored, and by what."""
    scores = scored(make_maps(2))
    row = Row.of(scores, {}, split="test", samples_sha256="s")
    write_results(tmp_path, Results(rows=(row,), **facts), [scores])
    return tmp_path, facts["model"], ("s", scores.protocol)


def is_free(folder, model, *scored):
    with suppress(SpaceClipError):
        require_free(folder, model, scored)
        return True
    return False


def test_the_refusal_says_what_to_do(finished):
    folder, model, _ = finished
    with pytest.raises(SpaceClipError) as refusal:
        require_free(folder, model, [])
    assert str(refusal.value) == f"{folder} holds a finished result: give another --out, or --force to replace it"


def test_the_same_evaluation_may_be_run_again_also_with_more_protocols(finished):
    folder, model, same = finished
    more = ("s", same[1].model_copy(update={"crop": "garg"}))
    assert is_free(folder, model, same)
    assert is_free(folder, model, same, more)


def test_a_result_is_not_replaced_by_other_protocols_samples_or_models(finished):
    folder, model, same = finished
    assert not is_free(folder, model, ("s", same[1].model_copy(update={"crop": "garg"})))
    assert not is_free(folder, model, ("others", same[1]))
    assert not is_free(folder, model.model_copy(update={"path": "runs/other/best.safetensors"}), same)
    assert not is_free(folder, SavedMapsFacts(path=model.path, name="saved", depth_scale=None), same)


def test_a_result_of_weights_that_were_replaced_in_their_place_is_no_loss(finished):
    folder, model, same = finished
    assert is_free(folder, model.model_copy(update={"sha256": "1" * 64}), ("others", same[1]))


def test_a_result_that_this_version_cannot_read_is_not_replaced(finished):
    folder, model, same = finished
    (folder / "results.json").write_text('{"format": "of the future"}')
    assert not is_free(folder, model, same)


def test_an_empty_folder_is_free(tmp_path, finished):
    assert is_free(tmp_path / "new", finished[1], finished[2])


def test_what_killed_runs_began_is_swept_and_what_is_being_written_stays(tmp_path):
    old, young, foreign = (
        tmp_path / name
        for name in (
            ".metrics.json.0123456789ab", ".report.html.ba9876543210", ".checkpoint.json.0123456789ab",
        )
    )  # fmt: skip
    for file in (old, young, foreign):
        file.write_bytes(b"part")
    for file in (old, foreign):
        os.utime(file, (time.time() - 120, time.time() - 120))
    sweep_folder(tmp_path, FILES)
    assert sorted(tmp_path.iterdir()) == sorted([young, foreign])
