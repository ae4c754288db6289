"""Files of the Hugging Face hub where it cannot be reached."""

import pytest
from huggingface_hub.errors import LocalEntryNotFoundError
from spaceclip.extract import hub_file

COMMIT = "57c216476eefef5ab752ec549e440a49ae4ae5f3"


@pytest.fixture
def copy(tmp_path, monkeypatch):
    """What was fetched before, as the library keeps it."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    repository = tmp_path / "models--somebody--depth"
    file = repository / "snapshots" / COMMIT / "checkpoint.json"
    file.parent.mkdir(parents=True)
    file.write_text("{}")
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text(COMMIT)
    return file


def test_a_copy_is_taken_where_the_hub_does_not_answer_at_once(copy, no_network):
    assert hub_file("somebody/depth", "checkpoint.json") == copy
    assert len(no_network) <= 2  # of one attempt


def test_a_commit_that_was_fetched_is_not_asked_for(copy, no_network):
    assert hub_file("somebody/depth", "checkpoint.json", COMMIT) == copy
    assert no_network == []


def test_what_was_never_fetched_is_asked_for_once(copy, no_network):
    for revision in (None, 40 * "0"):
        with pytest.raises(LocalEntryNotFoundError):
            hub_file("somebody/other", "checkpoint.json", revision)
    assert len(no_network) <= 4  # of two attempts
