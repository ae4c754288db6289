from dataclasses import asdict, replace

import pytest
from spaceclip.extract import Receipt
from spaceclip.extract.engine.receipt import StageReceipt, together


def receipt(decoding=12.0, encoding=48.0, writing=20.0, device="cuda", threads=8):
    """Of 120 images in 60 s."""
    stages = {
        "decoding": StageReceipt(threads, decoding, 9.0),
        "encoding": StageReceipt(1, encoding, 3.0),
        "writing": StageReceipt(4, writing, 6.0),
    }
    return Receipt(120, 600_000_000, 60.0, stages, device, cores=8)


def test_the_stage_that_waits_least_binds():
    found = receipt()
    assert found.rates == {"decoding": 80.0, "encoding": 2.5, "writing": 24.0}
    assert found.busy == pytest.approx({"decoding": 0.025, "encoding": 0.8, "writing": 20 / 240})
    assert (found.binding, found.share) == ("encoding", pytest.approx(0.8))
    assert str(found) == (
        "2.0 images/s, 10 MB/s; alone: decoding 80.0 (busy 2%), encoding 2.5 (busy 80%), writing 24.0 (busy 8%) "
        "images/s; the host's threads took 150.0 ms an image; encoding binds, busy 80%: the host keeps up with it"
    )


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        (
            {"decoding": 456.0, "encoding": 30.0},
            "decoding binds, busy 95% in 8 threads: 7 more cores would give about 4 images/s",
        ),
        ({"writing": 228.0}, "writing binds, busy 95% (11 MB/s): a faster disk would give up to 2 images/s"),
        ({"encoding": 57.0}, "encoding binds, busy 95%: the host keeps up with it"),
        ({"encoding": 57.0, "device": "cpu"}, "encoding binds, busy 95%: a GPU would help, or more cores"),
        ({"decoding": 456.0, "device": "cpu"}, "decoding binds, busy 95%: more cores would help"),
        (
            {"encoding": 30.0},
            (
                "no stage binds (encoding was busiest, 50%): "
                "start and end took most of a short run, or others use the machine"
            ),
        ),
    ],
)
def test_what_would_help_is_said(changes, advice):
    assert receipt(**changes).advice == advice


def test_on_a_processor_the_stages_share_the_cores():
    assert receipt().alone == pytest.approx(48 / 120)
    assert receipt(device="cpu").alone == pytest.approx((48 + (9 + 6) / 8) / 120)
    # Its own threads are the device's, not the host's.
    assert "took 125.0 ms an image" in str(receipt(device="cpu"))


def test_what_workers_did_adds_up():
    one = receipt()
    both = together([one, replace(one, bytes=10**8)], 250, 70.0)
    assert both is not None
    assert (both.images, both.seconds, both.bytes, both.workers, both.cores) == (250, 70.0, 700_000_000, 2, 16)
    assert both.stages["decoding"] == StageReceipt(16, 24.0, 18.0)
    assert together([], 130, 20.0) is together([one], 0, 20.0) is None


def test_it_travels_as_plain_values():
    assert Receipt.from_dict(asdict(receipt())) == receipt()
