"""A bucket: what it asks for, what it says when it is refused, and whose it is."""

import os
import subprocess
import sys
import time
from datetime import timedelta

import pytest
from obstore.store import AzureStore, GCSStore, S3Store
from spaceclip.cache import StoreError
from spaceclip.cache.places import bucket
from spaceclip.cache.places.bucket import Bucket
from spaceclip.cache.places.location import Url
from spaceclip.cache.places.opening import place_at


class TestRequests:
    """What a bucket is asked for: each request is a round trip, and many are paid for."""

    @pytest.fixture
    def place(self, s3):
        return Bucket(Url("s3://bucket/store"))

    def test_an_object_is_put_in_one_request_however_large(self, s3, place):
        place.write("key", bytes(20_000_000))
        assert s3.asked == [("PUT", "/bucket/store/key", 0)]

    def test_of_a_range_only_its_bytes_come(self, s3, place):
        s3.buckets["bucket"]["store/key"] = bytes(1_000_000)
        place.read_into("key", 500, memoryview(bytearray(1000)))
        place.read_end("key", 16)
        assert [count for _, _, count in s3.asked] == [1000, 16]

    def test_taking_an_object_moves_no_bytes(self, s3, place):
        s3.buckets["bucket"]["old/key"] = bytes(1_000_000)
        place.take("key", Url("s3://bucket/old"), "key")
        assert [method for method, _, _ in s3.asked] == ["PUT"]
        assert s3.asked[0][2] < 1000
        assert s3.buckets["bucket"]["store/key"] == bytes(1_000_000)

    def test_a_list_of_several_pages_is_read_to_its_end(self, s3, place):
        s3.page = 3
        s3.buckets["bucket"].update({f"store/{index:02}/x": b"1" for index in range(10)})
        assert place.names() == [f"{index:02}" for index in range(10)]
        assert len(list(place.walk())) == 10

    def test_a_walk_asks_for_no_more_than_is_wanted(self, s3, place, monkeypatch):
        s3.page = 3
        monkeypatch.setattr(bucket, "_PAGE", 3)
        s3.buckets["bucket"].update({f"store/{index:03}": b"1" for index in range(300)})
        walk = place.walk()
        assert [next(walk)[0] for _ in range(4)] == ["000", "001", "002", "003"]
        assert len(s3.asked) < 10

    def test_small_objects_are_read_side_by_side(self, s3, proxy):
        place = Bucket(Url("s3://bucket/store"))
        s3.buckets["bucket"].update({f"store/{index}": b"1" for index in range(64)})
        proxy.delay = 0.2  # of each new connection
        began = time.monotonic()
        assert list(place.read_all([str(index) for index in range(64)])) == [b"1"] * 64
        assert time.monotonic() - began < 2

    def test_an_end_is_read_where_ranges_from_the_end_are_not_known(self, s3, place):
        place.write("key", b"0123456789")
        place.write("empty", b"")
        place._scheme = "az"
        assert (place.read_end("key", 4), place.read_end("key", 99)) == (b"6789", b"0123456789")
        assert place.read_end("empty", 4) == b""


class TestRefusals:
    def test_a_missing_bucket_is_said_and_is_no_missing_object(self, s3):
        place = Bucket(Url("s3://nowhere/store"))
        for fails in (lambda: place.exists("key"), lambda: place.write("key", b""), place.names):
            with pytest.raises(OSError, match="there is no bucket nowhere; make it, or give another") as caught:
                fails()
            assert not isinstance(caught.value, FileNotFoundError)

    def test_wrong_credentials_are_said(self, s3):
        s3.key = "somebody else"
        place = Bucket(Url("s3://bucket/store"))
        for fails in (lambda: place.read("key"), lambda: place.write("key", b""), place.names):
            with pytest.raises(OSError, match="InvalidAccessKeyId") as caught:
                fails()
            assert "\n" not in str(caught.value)
        with pytest.raises(PermissionError, match="check the credentials"):
            place.read("key")

    def test_other_answers_are_given_by_number(self, s3):
        s3.answers = [400]
        with pytest.raises(OSError, match="the server answers 400 Bad Request, InternalError"):
            Bucket(Url("s3://bucket/store")).read("key")

    def test_http_must_be_allowed(self, s3, monkeypatch):
        monkeypatch.delenv("AWS_ALLOW_HTTP")
        with pytest.raises(OSError, match="set AWS_ALLOW_HTTP=true"):
            Bucket(Url("s3://bucket/store")).read("key")

    def test_an_unknown_host_is_named(self, s3, monkeypatch):
        monkeypatch.setattr(bucket, "RETRY", {"max_retries": 1, "retry_timeout": timedelta(seconds=9)})
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://no.such.host.invalid")
        with pytest.raises(OSError, match=r"the name no\.such\.host\.invalid is not known"):
            Bucket(Url("s3://bucket/store")).read("key")

    @pytest.mark.parametrize("url", ["s3://", "gs://", "az:///path", "s3://a b/path", "s3://../path"])
    def test_a_url_without_a_bucket_is_refused(self, url):
        with pytest.raises(StoreError, match=r"names no bucket; expected \w\w://bucket/path"):
            place_at(Url(url))

    def test_an_endpoint_that_is_no_url_is_refused(self, s3, monkeypatch):
        monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
        with pytest.raises(StoreError, match="AWS_ENDPOINT_URL=localhost:9000: expected a URL that begins with https"):
            Bucket(Url("s3://bucket/store"))

    def test_half_the_credentials_are_refused(self, s3, monkeypatch):
        monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
        with pytest.raises(StoreError, match="s3://bucket/store: Missing SecretAccessKey"):
            Bucket(Url("s3://bucket/store"))

    @pytest.mark.parametrize(
        ("scheme", "error", "line"),
        [
            ("s3", "PUT http://169.254.169.254/latest/api/token in 2s - HTTP error", "set AWS_ACCESS_KEY_ID and"),
            ("gs", "token request: Error performing GET http://169.254.169.254/ in 1s", "gcloud auth"),
            ("az", "token request: Error performing GET http://169.254.169.254/ in 1s", "AZURE_STORAGE_ACCOUNT_KEY"),
        ],
    )
    def test_missing_credentials_are_asked_for(self, scheme, error, line):
        refused = bucket.refusal(Exception(f"Generic error: Error performing {error}\n\nDebug"), Url(f"{scheme}://b/x"))
        assert isinstance(refused, PermissionError)
        said = refused.strerror or ""
        assert said.startswith("no credentials were found; ")
        assert line in said
        assert "\n" not in said


class TestProviders:
    @pytest.fixture(autouse=True)
    def environment(self, s3):
        """Nobody's account."""

    def test_a_gs_url_is_a_google_bucket(self):
        place = Bucket(Url("gs://bucket/some/store"))
        assert isinstance(place._reading, GCSStore)
        assert (place._reading.config.get("bucket"), place._reading.prefix) == ("bucket", "some/store")

    def test_an_az_url_is_an_azure_container(self, monkeypatch):
        monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
        place = Bucket(Url("az://container/some/store"))
        assert isinstance(place._reading, AzureStore)
        assert place._reading.config == {"container_name": "container", "account_name": "account"}
        assert "account" in str(place.zarr())

    def test_an_azure_account_must_be_given(self):
        with pytest.raises(StoreError, match="Account must be specified; set AZURE_STORAGE_ACCOUNT_NAME"):
            Bucket(Url("az://container/store"))

    def test_an_s3_bucket_may_be_the_place_itself(self, s3):
        place = Bucket(Url("s3://bucket"))
        assert isinstance(place._reading, S3Store)
        place.write("key", b"1")
        assert s3.buckets["bucket"] == {"key": b"1"}

    def test_folders_do_not_load_obstore(self):
        script = "import sys, spaceclip.cache; sys.exit('obstore' in sys.modules)"
        subprocess.run([sys.executable, "-c", script], check=True, env={**os.environ, "PYTHONWARNINGS": ""})
