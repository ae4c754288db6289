"""Small data sets in the official layouts, of made-up frames."""

from pathlib import Path
from zlib import crc32

import numpy as np
from PIL import Image


def write_frame(image: Path, depth: Path | None, size: tuple[int, int], near: float, far: float, scale: float) -> None:
    """An image of its own colours and its depth, far in the top row and near in the bottom one; a tenth has none."""
    height, width = size
    image.parent.mkdir(parents=True, exist_ok=True)
    picture = np.empty((height, width, 3), np.uint8)
    picture[:] = np.linspace(0, 255, height).astype(np.uint8)[:, None, None]
    picture[:, :, 1:] = list(crc32("/".join(image.parts[-4:]).encode()).to_bytes(4)[:2])
    Image.fromarray(picture).save(image)
    if depth is not None:
        depth.parent.mkdir(parents=True, exist_ok=True)
        metres = 1 / np.linspace(1 / far, 1 / near, height)
        metres[: height // 10] = 0
        counts = np.broadcast_to((metres * scale).round()[:, None], size)
        Image.fromarray(counts.clip(0, 65535).astype(np.uint16)).save(depth)


class MadeUp:
    """Writes small data sets; `scale` is the counts of one metre."""

    @staticmethod
    def kitti(root: Path, scale: float = 256) -> Path:
        """Two training drives of two sizes, one test drive with a frame without ground truth."""
        listed: dict[str, list[str]] = {"train": [], "test": []}
        drives = (("train", "train", "0001", (375, 1242)), ("train", "val", "0009", (370, 1226)))
        for part, folder, drive, size in (*drives, ("test", "val", "0002", (375, 1242))):
            name = f"2011_09_26_drive_{drive}_sync"
            for frame in range(2):
                image = f"2011_09_26/{name}/image_02/data/{frame:010d}.png"
                depth = f"{name}/proj_depth/groundtruth/image_02/{frame:010d}.png"
                if (part, frame) == ("test", 1):
                    depth = None
                write_frame(root / image, None if depth is None else root / folder / depth, size, 4, 80, scale)
                listed[part].append(f"{image} {depth} 721.5377")
        for part, lines in listed.items():
            (root / f"kitti_eigen_{part}_files_with_gt.txt").write_text("".join(f"{line}\n" for line in lines))
        return root

    @staticmethod
    def nyu(root: Path, scale: float = 1000, size: tuple[int, int] = (48, 64)) -> Path:
        """Four training scenes in six directories, and a test scene named by its type."""
        listed: dict[str, list[str]] = {"train": [], "test": []}
        train = ("kitchen_0001a", "kitchen_0001b", "office_0002", "bath_0003a", "bath_0003c", "den_0004a")
        for part, scenes in (("train", train), ("test", ("kitchen",))):
            folder = {"train": "sync", "test": "test"}[part]
            for scene in scenes:
                for frame in range(2):
                    image, depth = f"{scene}/rgb_{frame:05d}.jpg", f"{scene}/sync_depth_{frame:05d}.png"
                    write_frame(root / folder / image, root / folder / depth, size, 1, 5, scale)
                    slash = "/" if part == "train" else ""
                    listed[part].append(f"{slash}{image} {slash}{depth} 518.8579")
        for part, lines in listed.items():
            (root / f"nyudepthv2_{part}_files_with_gt.txt").write_text("".join(f"{line}\n" for line in lines))
        return root

    @staticmethod
    def labelled(
        root: Path, frames: int = 10, size: tuple[int, int] = (12, 16), seed: int = 0
    ) -> dict[str, np.ndarray]:
        """The labelled file as MATLAB 7.3 writes it and its split; returns the arrays as [N, H, W, ...]."""
        import h5py
        from scipy.io import savemat

        root.mkdir(parents=True, exist_ok=True)
        draw = np.random.default_rng(seed)
        images = draw.integers(0, 256, (frames, *size, 3), dtype=np.uint8)
        depths = draw.uniform(1, 6, (frames, *size)).astype(np.float32)
        raw = np.where(draw.random(depths.shape) < 0.2, 0, depths).astype(np.float32)
        scenes = [f"{('kitchen', 'bedroom')[index % 2]}_{index // 2:04d}{'ab'[index % 2]}" for index in range(frames)]
        with h5py.File(root / "nyu_depth_v2_labeled.mat", "w", userblock_size=512) as file:
            file["images"] = images.transpose(0, 3, 2, 1)
            file["depths"], file["rawDepths"] = depths.transpose(0, 2, 1), raw.transpose(0, 2, 1)
            references = np.empty((1, frames), h5py.ref_dtype)
            for index, scene in enumerate(scenes):
                name = f"#refs#/{index}"
                file[name] = np.array([[ord(letter)] for letter in scene], np.uint16)
                references[0, index] = file[name].ref
            file["scenes"] = references
        train = np.arange(1, frames - 3)[:, None]
        savemat(root / "splits.mat", {"trainNdxs": train, "testNdxs": np.arange(frames - 3, frames + 1)[:, None]})
        return {"images": images, "depths": depths, "rawDepths": raw, "scenes": np.array(scenes)}
