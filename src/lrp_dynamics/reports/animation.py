"""An animation of samples and their relevance maps along the training, as GIF, WebP or MP4."""

import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image
from tqdm import tqdm

from lrp_dynamics.base.errors import UserError
from lrp_dynamics.base.files import atomic, check_output
from lrp_dynamics.base.names import literal, shown
from lrp_dynamics.base.style import BLUE, RC, SIGNED, limit_of, short, show_sample, show_signed
from lrp_dynamics.data.pictures import as_picture
from lrp_dynamics.recording.store import UNKNOWN, RelevanceFile, open_relevance

FORMATS = (".gif", ".webp", ".mp4")
MOST_SAMPLES, MOST_FRAMES, DPI = 8, 500, 100
HOLD = 1.5  # seconds that the last frame stays


def animate(path: str | Path, samples: Sequence[int], output: Path, *, frames: int = 100, fps: float = 10.0) -> None:
    """Write an animation of some samples of a recording.

    Parameters
    ----------
    path : str or Path
        relevance.h5.
    samples : sequence of int
        Rows of the file, whose maps are stored.
    output : Path
        Its suffix chooses the format: .gif, .webp, or .mp4, which ffmpeg makes.
    frames : int
        At most so many steps, evenly chosen, the first and the last among them.
    fps : float
        Frames a second.

    Raises
    ------
    UserError
        If there is no such sample, no step, no ffmpeg for an .mp4, or a number is out of range.
    """
    _check(samples, output, frames, fps)
    with open_relevance(path) as recording:
        if missing := [n for n in samples if not 0 <= n < recording.map_samples]:
            raise UserError(f"--samples: found {missing[0]}, expected rows from 0 to {recording.map_samples - 1}")
        if not recording.steps:
            raise UserError(f"{shown(path)}: has no recorded step, so that there is nothing to show")
        count = min(frames, recording.steps)
        steps = np.unique(np.linspace(0, recording.steps - 1, count).round().astype(int))
        suffix = output.suffix.lower()
        pictures = tqdm(_draw(recording, samples, steps), "drawing", len(steps), unit="frame", dynamic_ncols=True)
        if suffix == ".gif":
            pictures = _with_palette(pictures, list(_draw(recording, samples, steps[[0, len(steps) // 2, -1]])))
        with atomic(output) as temporary:
            _write(temporary, pictures, len(steps), suffix, fps)
    size = output.stat().st_size / 1e6
    print(f"{shown(output)}: {len(steps)} of {steps[-1] + 1} steps, {size:.1f} MB")


def _check(samples: Sequence[int], output: Path, frames: int, fps: float) -> None:
    """Refuse what can be refused before anything is read."""
    if output.suffix.lower() not in FORMATS:
        raise UserError(f"--output: found {shown(output)}, expected a name that ends in {', '.join(FORMATS)}")
    if output.suffix.lower() == ".mp4" and shutil.which("ffmpeg") is None:
        raise UserError("--output: .mp4 needs the program ffmpeg, which is not here; write .webp or .gif")
    if len(samples) > MOST_SAMPLES:
        raise UserError(f"--samples: found {len(samples)} of them, expected {MOST_SAMPLES} at most")
    if not 1 <= frames <= MOST_FRAMES:
        raise UserError(f"--frames: found {frames}, expected 1 to {MOST_FRAMES}")
    if not 0.1 <= fps <= 50:
        raise UserError(f"--fps: found {fps:g}, expected 0.1 to 50")
    check_output(output)


def _draw(recording: RelevanceFile, samples: Sequence[int], steps: np.ndarray) -> Iterator[Image.Image]:
    """Yield a picture for each step."""
    with matplotlib.rc_context({**matplotlib.rcParamsDefault, "backend": "Agg"}):
        matplotlib.rcParams.update(RC)
        yield from _frames(recording, samples, steps)


def _frames(recording: RelevanceFile, samples: Sequence[int], steps: np.ndarray) -> Iterator[Image.Image]:
    maps = np.stack([recording.maps(samples=n)[steps] for n in samples], axis=1)
    limits = [limit_of(maps[:, k], 99.9) for k in range(len(samples))]
    # Where outputs are not known, the sums of the maps.
    curve, title = ("logit", "explained output") if recording.tells_output else ("r_sum", "sum of the map")
    logits, iterations = recording.scalar(curve)[:, samples], recording.step("iteration")
    attrs, unit, what = recording.attrs, *((" logit", "class") if recording.scored else ("", "output"))
    # Width and height are even numbers of pixels, as videos need them.
    figure = Figure(figsize=(6.4, 0.76 + 1.74 * len(samples)), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    height = figure.get_figheight()
    place = {"left": 0.03, "right": 0.975, "bottom": 0.62 / height, "top": 1 - 0.5 / height}
    place |= {"hspace": 0.42, "wspace": 0.22}
    grid = figure.subplots(len(samples), 3, squeeze=False, width_ratios=(1, 1, 1.6), gridspec_kw=place)
    counter = figure.text(0.03, 1 - 0.2 / height, "", fontsize=11, fontweight="bold", va="center")
    known = [
        str(name) for name in (recording.data_title, attrs["model"], attrs["composite"]) if name not in ("", UNKNOWN)
    ]
    told = " · ".join([*map(literal, known), f"red: for the {what}, blue: against it"]) + recording.drawn
    figure.text(0.03, 0.1 / height, told, fontsize=7, color="#555555", va="center")
    moving = [counter]
    for row, n in enumerate(samples):
        sample = recording.image(n)
        show_sample(grid[row, 0], as_picture(sample) if sample.dtype == np.uint8 else sample)
        grid[row, 0].set_title(literal(f"{n}: {recording.class_name(n)}", 22), fontsize=8, loc="left")
        show_signed(grid[row, 1], maps[0, row], limits[row]).remove()
        grid[row, 1].set_title(f"relevance, ±{short(limits[row])}{unit}", fontsize=8, loc="left")
        moving.append(_curve(grid[row, 2], title, iterations, logits[:, row], row == len(samples) - 1))
    for artist in moving:
        artist.set_animated(True)
    canvas.draw()
    still = canvas.copy_from_bbox(figure.bbox)  # drawn once: only the rest changes from frame to frame
    for frame, step in enumerate(steps):
        canvas.restore_region(still)
        counter.set_text(f"iteration {iterations[step]:,} of {iterations[-1]:,}")
        for row, point in enumerate(moving[1:]):
            artist = show_signed(grid[row, 1], maps[frame, row], limits[row])
            grid[row, 1].draw_artist(artist)
            artist.remove()
            point.set_data([iterations[step]], [logits[step, row]])
        for artist in moving:
            figure.draw_artist(artist)
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _curve(axes, title: str, iterations: np.ndarray, logit: np.ndarray, last: bool):
    """Draw the explained output, or what stands for it, along the training; return the point that marks a step."""
    axes.plot(iterations, logit, color="#888888", linewidth=0.9)
    axes.tick_params(labelsize=6)
    axes.set_title(title, fontsize=8, loc="left")
    if last:
        axes.set_xlabel("iteration", fontsize=7, labelpad=1)
    (point,) = axes.plot([], [], "o", color=BLUE, markersize=4)
    return point


def _write(path: Path, pictures: Iterable[Image.Image], count: int, suffix: str, fps: float) -> None:
    """Write so many pictures, of which few are in memory at a time."""
    if suffix == ".mp4":
        _write_mp4(path, pictures, fps)
        return
    durations = [round(1000 / fps)] * (count - 1) + [round(1000 * max(HOLD, 1 / fps))]
    pictures = iter(pictures)
    first = next(pictures)
    options = {"save_all": True, "append_images": pictures, "duration": durations, "loop": 0}
    if suffix == ".webp":
        first.save(path, "WEBP", quality=80, method=4, **options)
    else:
        first.save(path, "GIF", optimize=False, disposal=1, **options)


def _with_palette(pictures: Iterable[Image.Image], some: Sequence[Image.Image]) -> Iterator[Image.Image]:
    """Yield pictures in the 256 colours of a GIF, the same for all, so that nothing flickers.

    They are those of the signed scale, and what `some` of the pictures need besides.
    """
    scale = (matplotlib.colormaps[SIGNED](np.linspace(0, 1, 64))[:, :3] * 255).round().astype(np.uint8)
    together = Image.new("RGB", (some[0].width, some[0].height * len(some)))
    for k, picture in enumerate(some):
        together.paste(picture, (0, k * picture.height))
    found = together.quantize(191, method=Image.Quantize.MEDIANCUT).getpalette()[: 3 * 191]
    palette = Image.new("P", (1, 1))
    palette.putpalette([255, 255, 255, *found, *scale.ravel().tolist()])
    for picture in pictures:
        yield picture.quantize(palette=palette, dither=Image.Dither.NONE)


def _write_mp4(path: Path, pictures: Iterable[Image.Image], fps: float) -> None:
    """Have ffmpeg make a video that common players show, its last frame held."""
    pictures = iter(pictures)
    picture = next(pictures)
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24"]
    command += ["-s", f"{picture.width}x{picture.height}", "-r", f"{fps:g}", "-i", "-"]
    command += ["-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", f"file:{path}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as made:
        try:
            made.stdin.write(picture.tobytes())
            for picture in pictures:
                made.stdin.write(picture.tobytes())
            made.stdin.write(picture.tobytes() * round(HOLD * fps))
        except BrokenPipeError:  # ffmpeg has ended, and tells why
            pass
        _, told = made.communicate()
    if made.returncode:
        reason = next(iter(told.decode(errors="replace").strip().splitlines()), f"status {made.returncode}")
        raise UserError(f"ffmpeg could not make the .mp4 ({shown(reason)}); write .webp or .gif")
