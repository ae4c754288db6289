import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st
from spaceclip.cache import SpaceClipError
from spaceclip.extract.sources.folder.manifest import Row, read_manifest

NAMES = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=8).filter(
    lambda name: name.strip(".") and name != "None"
)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)


def write(folder, name, text):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def message(path) -> str:
    with pytest.raises(SpaceClipError) as caught:
        read_manifest(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_nyu_list_with_leading_slashes_and_focal(tmp_path):
    text = "/bath/rgb_1.jpg /bath/sync_depth_1.png 518.8579\n/cafe/rgb_2.jpg /cafe/sync_depth_2.png 518.8579\n"
    manifest = read_manifest(write(tmp_path, "nyu.txt", text))
    assert manifest.rows == (
        Row("bath/rgb_1.jpg", "bath/sync_depth_1.png", focal=518.8579),
        Row("cafe/rgb_2.jpg", "cafe/sync_depth_2.png", focal=518.8579),
    )
    assert manifest.names_depth


def test_kitti_list_with_none_for_no_depth(tmp_path):
    manifest = read_manifest(write(tmp_path, "kitti", "d/a.png None 721.5377\nd/b.png e/b.png 721.5377\n"))
    assert [row.depth for row in manifest.rows] == [None, "e/b.png"]
    assert manifest.names_depth


def test_list_of_images_alone_says_nothing_about_depth(tmp_path):
    manifest = read_manifest(write(tmp_path, "a.lst", "a.png\nb/c.png\n"))
    assert manifest.rows == (Row("a.png"), Row("b/c.png"))
    assert not manifest.names_depth


def test_foreign_line_ends_byte_order_mark_and_blank_lines(tmp_path):
    text = b"\xef\xbb\xbfa.png\tda.png\r\n\r\n   \r\n  b.png   db.png  \r\n"
    assert [row.image for row in read_manifest(write(tmp_path, "a.txt", text)).rows] == ["a.png", "b.png"]


@given(rows=st.lists(st.tuples(PATHS, st.none() | PATHS), min_size=1), end=st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_any_list_is_read_line_by_line(rows, end, tmp_path_factory):
    text = end.join(f"{image} {depth}" for image, depth in rows)
    manifest = read_manifest(write(tmp_path_factory.mktemp("lists"), "any.txt", text))
    assert [(row.image, row.depth) for row in manifest.rows] == rows
    assert manifest.names_depth


def test_list_lines_that_are_not_understood_are_named(tmp_path):
    text = message(write(tmp_path, "a.txt", "a.png d.png\nmy photo.png my depth.png\n"))
    assert "a.txt:2 has 4 fields" in text
    assert ".csv or .jsonl" in text
    text = message(write(tmp_path, "a.txt", "a.png d.png\n\nb.png\nc.png\n"))
    assert "names no depth on 2 lines (line 3, 4)" in text
    assert "write `None`" in text


def test_csv_with_all_columns(tmp_path):
    text = (
        "id,image,depth,scene,split,focal\n"
        'k1,/a/x.png,/b/x.png,kitchen,train,500\n\nk2,"a/y, z.png",,"bath, big",val,\nk3,c.png,None,,test,\n'
    )
    manifest = read_manifest(write(tmp_path, "a.csv", text))
    assert manifest.rows == (
        Row("a/x.png", "b/x.png", "kitchen", "k1", "train", 500.0),
        Row("a/y, z.png", None, "bath, big", "k2", "val"),
        Row("c.png", None, None, "k3", "test"),
    )
    assert manifest.names_depth


def test_csv_without_depth_column(tmp_path):
    manifest = read_manifest(write(tmp_path, "a.CSV", "\nimage\r\na.png\r\n"))
    assert manifest.rows == (Row("a.png"),)
    assert not manifest.names_depth


def test_jsonl_with_missing_keys_nulls_and_numbers(tmp_path):
    records = [
        {"image": "my photos/a\u2028b.png", "id": 7},
        {"image": "/b.png", "depth": "d/b.png", "scene": "hall", "split": "val", "focal": 518.8},
        {"image": "c.png", "depth": None},
    ]
    text = "\n\n".join(json.dumps(record, ensure_ascii=False) for record in records)
    manifest = read_manifest(write(tmp_path, "a.jsonl", text))
    assert manifest.rows == (
        Row("my photos/a\u2028b.png", id="7"),
        Row("b.png", "d/b.png", "hall", None, "val", 518.8),
        Row("c.png"),
    )
    assert manifest.names_depth


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "imgae,depth\na,b\n", "a.csv:2 has an unknown column 'imgae': did you mean 'image'?"),
        ("a.csv", "image,Depth\na,b\n", "did you mean 'depth'?"),
        ("a.csv", "image,zzz\na,b\n", "expected image, depth, scene, id, split, focal"),
        ("a.csv", "image,image\na,b\n", "names a column twice"),
        ("a.csv", "image,depth\na.png\n", "a.csv:2 has 1 fields: expected 2"),
        ("a.csv", "depth\nb.png\n", "a.csv:2 names no image"),
        ("a.csv", "image,depth\n,b.png\n", "a.csv:2 names no image"),
        ("a.csv", 'image\n"a.png\n', "is not csv"),
        ("a.csv", "image,focal\na,wide\n", "focal is 'wide'"),
        ("a.csv", "image,focal\na,-3\n", "expected a focal length in pixels"),
        ("a.csv", "image\n", "names no sample"),
        ("a.csv", "", "names no sample"),
        ("a.txt", "\n \n", "names no sample"),
        ("a.txt", b"\xff\xfe\x00a", "not a text file in UTF-8"),
        ("a.txt", "a.png d.png wide\n", "a.txt:1: focal is 'wide'"),
        ("a.txt", "a\\b.png d.png\n", "a.txt:1: the path a\\b.png holds a backslash: expected forward slashes"),
        ("a.jsonl", '{"image": "a"}\n{"image": \n', "a.jsonl:2 is not JSON"),
        ("a.jsonl", '["a"]\n', "a.jsonl:1 is not a JSON object"),
        ("a.jsonl", '{"image": ["a"]}\n', "image is ['a']: expected text"),
        ("a.jsonl", '{"image": true}\n', "image is True: expected text"),
        ("a.jsonl", '{"scenes": "b", "image": "a"}\n', "did you mean 'scene'?"),
        ("a.jsonl", '{"image": "a", "focal": NaN}\n', "focal is 'nan'"),
    ],
)
def test_bad_lists_are_refused_by_line(tmp_path, name, text, words):
    assert words in message(write(tmp_path, name, text))


def test_missing_list_is_named(tmp_path):
    assert f"the list {tmp_path / 'no.txt'} does not exist" in message(tmp_path / "no.txt")
    assert message(tmp_path) == f"the list {tmp_path} is a folder, expected a file: check the path"
