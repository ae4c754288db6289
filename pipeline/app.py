"""A page for the browser: the depth of one's own photographs, metres at a pixel, points."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import Any

from PIL import Image

from ..cache import SpaceClipError
from .prediction import CameraChoice, DepthMap, SpaceClip, coloured_depth, depth_scale, first_row, said_of

ADDRESS, _LARGEST_UPLOAD = "127.0.0.1", "100mb"


def show_page(model: SpaceClip, port: int, say: Callable[[str], None]) -> None:
    """Serve the page to this machine alone, until Ctrl-C.

    Args:
        model: What predicts.
        port: Where.
        say: Called with the page's address.

    Raises:
        SpaceClipError: The port is not free.
        ModuleNotFoundError: Gradio is not installed.
    """
    with TemporaryDirectory() as folder:
        page = depth_page(model, folder)
        where = {"server_name": ADDRESS, "server_port": port, "share": False, "allowed_paths": [folder]}
        said = {"quiet": True, "show_error": True}
        try:
            page.launch(**where, **said, prevent_thread_lock=True, max_file_size=_LARGEST_UPLOAD)
        except OSError as error:
            raise SpaceClipError(f"port {port} of {ADDRESS} is not free; give another --port") from error
        say(f"http://{ADDRESS}:{port} (Ctrl-C ends it)")
        page.block_thread()


def depth_page(model: SpaceClip, folder: str) -> Any:
    """The page as Gradio's `Blocks`.

    Args:
        model: What predicts.
        folder: Holds the files that it shows.

    Raises:
        ModuleNotFoundError: Gradio is not installed.
    """
    import gradio  # pyright: ignore[reportMissingImports]

    def predict(file: str | None, flip_average: bool, fov_x: float | None) -> tuple[Any, ...]:
        if file is None:
            return None, "", None, gradio.update(), gradio.update(), None
        try:
            found = model.predict(file, flip_average=flip_average, camera=CameraChoice(fov_x=fov_x or None))
        except SpaceClipError as error:
            raise gradio.Error(str(error)) from error
        scale = depth_scale(found)
        ends = {"minimum": round(scale.low / 2, 3), "maximum": round(2 * scale.high, 3)}
        spans = (gradio.update(value=round(end, 3), **ends) for end in (scale.low, scale.high))
        return found, _summary(model, found), coloured_depth(found), *spans, _points_file(found, folder)

    def colour(found: DepthMap | None, low: float, high: float) -> Image.Image | None:
        return coloured_depth(replace(found, colours=(low, max(high, 1.01 * low)))) if found else None

    def metres(found: DepthMap | None, at: gradio.SelectData) -> str:
        return _metres(found, *at.index) if found else ""

    with gradio.Blocks(title="SpaceCLIP", analytics_enabled=False) as page:
        gradio.Markdown(f"## Depth of one photograph, in metres\n\n```text\n{model!r}\n```")
        found = gradio.State()
        with gradio.Row():
            photo = gradio.Image(label="Photograph", type="filepath", image_mode=None, sources=["upload", "clipboard"])
            picture = gradio.Image(label="Depth: a click says how far", type="pil", format="png", interactive=False)
        with gradio.Row():
            near = gradio.Slider(*model.depth_range, label="Nearest colour, m", step=0.001)
            far = gradio.Slider(*model.depth_range, label="Farthest colour, m", step=0.001)
            at = gradio.Textbox(label="Metres there", interactive=False)
        with gradio.Row():
            flip = gradio.Checkbox(label="Average with the mirrored image")
            wide = "Horizontal field of view (--fov-x), degrees; 0: by EXIF data, else guessed"
            field = gradio.Number(0, label=wide, minimum=0, maximum=179)
            said = gradio.Textbox(label="Found", lines=3, interactive=False)
        points = gradio.Model3D(label="Points", display_mode="point_cloud", height=480)

        asked = {"inputs": [photo, flip, field], "outputs": [found, said, picture, near, far, points]}
        for event in (photo.change, flip.change, field.change):
            event(predict, **asked, trigger_mode="always_last")
        for event in (near.release, far.release):
            event(colour, [found, near, far], picture)
        picture.select(metres, found, at)
    return page


def _summary(model: SpaceClip, found: DepthMap) -> str:
    lines = said_of(Counter([found.camera]), model.training_camera, rescaled=False, drawn=True)
    return "\n".join([repr(found), *lines])


def _metres(found: DepthMap, column: int, row: int) -> str:
    """What is said of a pixel of `coloured_depth`, in which the map is in the middle of the rows."""
    height, width = found.depth.shape
    row -= first_row(height)
    if not (0 <= row < height and 0 <= column < width):
        return ""
    valid = "" if found.valid[row, column] else ", outside the range of the training"
    return f"{found.depth[row, column]:.2f} m at column {column}, row {row}{valid}"


def _points_file(found: DepthMap, folder: str) -> str:
    file = Path(mkdtemp(dir=folder)) / "points.glb"
    found.save(file)
    return str(file)
