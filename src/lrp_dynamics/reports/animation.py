"""An animation of samples and their relevance maps along the training, as GIF, WebP or MP4."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
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
from lrp_dynamics.recording.store import RelevanceFile, open_relevance

FORMATS = (".gif", ".webp", ".mp4")
MOST_SAMPLES, MOST_FRAMES, DPI = 8, 2000, 100
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
        pictures = tqdm(_draw(recording, samples, steps), "drawing", len(steps), unit="frame", dynamic_ncols=True)
        with atomic(output) as temporary:
            _write(temporary, pictures, output.suffix.lower(), fps)
    size = output.stat().st_size / 1e6
    print(f"{shown(output)}: {len(steps)} of {recording_steps(steps)} steps, {size:.1f} MB")


def recording_steps(steps: np.ndarray) -> int:
    """Return how many steps there are, by the last that is shown."""
    return int(steps[-1]) + 1


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
    limits = [limit_of(maps[:, k]) for k in range(len(samples))]
    logits, iterations = recording.scalar("logit")[:, samples], recording.step("iteration")
    attrs = recording.attrs
    figure = Figure(figsize=(6.4, 0.75 + 1.75 * len(samples)), dpi=DPI)
    canvas = FigureCanvasAgg(figure)
    height = figure.get_figheight()
    place = {"left": 0.03, "right": 0.975, "bottom": 0.62 / height, "top": 1 - 0.5 / height}
    place |= {"hspace": 0.42, "wspace": 0.22}
    grid = figure.subplots(len(samples), 3, squeeze=False, width_ratios=(1, 1, 1.6), gridspec_kw=place)
    counter = figure.text(0.03, 1 - 0.2 / height, "", fontsize=11, fontweight="bold", va="center")
    known = [str(attrs[name]) for name in ("dataset_title", "model", "composite") if attrs.get(name) not in ("", None)]
    told = " · ".join([*map(literal, known), "red: for the class, blue: against it"]) + recording.drawn
    figure.text(0.03, 0.1 / height, told, fontsize=7, color="#555555", va="center")
    cursors = []
    for row, n in enumerate(samples):
        sample = recording.image(n)
        show_sample(grid[row, 0], as_picture(sample) if sample.dtype == np.uint8 else sample)
        grid[row, 0].set_title(literal(f"{n}: {recording.class_name(n)}", 22), fontsize=8, loc="left")
        cursors.append(_curve(grid[row, 2], iterations, logits[:, row], row == len(samples) - 1))
    for frame, step in enumerate(steps):
        counter.set_text(f"iteration {iterations[step]:,} of {iterations[-1]:,}")
        for row in range(len(samples)):
            axes = grid[row, 1]
            axes.clear()
            show_signed(axes, maps[frame, row], limits[row])
            axes.set_title(f"relevance, ±{short(limits[row])}", fontsize=8, loc="left")
            cursors[row].set_data([iterations[step]], [logits[step, row]])
        canvas.draw()
        yield Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")


def _curve(axes, iterations: np.ndarray, logit: np.ndarray, last: bool):
    """Draw the explained output along the training; return the point that marks a step."""
    axes.plot(iterations, logit, color="#888888", linewidth=0.9)
    axes.tick_params(labelsize=6)
    axes.set_title("explained logit", fontsize=8, loc="left")
    if last:
        axes.set_xlabel("iteration", fontsize=7, labelpad=1)
    (point,) = axes.plot([], [], "o", color=BLUE, markersize=4)
    return point


def _write(path: Path, pictures: Iterator[Image.Image], suffix: str, fps: float) -> None:
    if suffix == ".mp4":
        _write_mp4(path, pictures, fps)
        return
    first, *others = pictures
    durations = [round(1000 / fps)] * len(others) + [round(1000 * max(HOLD, 1 / fps))]
    options = {"save_all": True, "duration": durations, "loop": 0}
    if suffix == ".webp":
        first.save(path, "WEBP", append_images=others, quality=80, method=4, **options)
        return
    # One palette for all frames, so that colours do not flicker.
    palette = _palette([first, *others])
    indexed = [picture.quantize(palette=palette, dither=Image.Dither.NONE) for picture in (first, *others)]
    indexed[0].save(path, "GIF", append_images=indexed[1:], optimize=False, disposal=1, **options)


def _palette(pictures: Sequence[Image.Image]) -> Image.Image:
    """Return a picture with the 256 colours of a GIF: those of the signed scale, and what some frames need besides."""
    scale = (matplotlib.colormaps[SIGNED](np.linspace(0, 1, 64))[:, :3] * 255).round().astype(np.uint8)
    chosen = [pictures[k] for k in sorted({0, len(pictures) // 2, len(pictures) - 1})]
    together = Image.new("RGB", (chosen[0].width, chosen[0].height * len(chosen)))
    for k, picture in enumerate(chosen):
        together.paste(picture, (0, k * chosen[0].height))
    found = together.quantize(192, method=Image.Quantize.MEDIANCUT).getpalette()[: 3 * 192]
    palette = Image.new("P", (1, 1))
    palette.putpalette([*found, *scale.ravel().tolist()])
    return palette


def _write_mp4(path: Path, pictures: Iterator[Image.Image], fps: float) -> None:
    """Have ffmpeg make a video that common players show, its last frame held."""
    first = next(pictures)
    width, height = first.width // 2 * 2, first.height // 2 * 2  # as the format needs them
    command = ["ffmpeg", "-loglevel", "error", "-y", "-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
    command += ["-r", f"{fps:g}", "-i", "-", "-pix_fmt", "yuv420p", "-movflags", "+faststart", "-f", "mp4", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE) as made:
        try:
            picture = first
            for picture in _chained(first, pictures):
                made.stdin.write(picture.crop((0, 0, width, height)).tobytes())
            for _ in range(round(HOLD * fps)):
                made.stdin.write(picture.crop((0, 0, width, height)).tobytes())
        except BrokenPipeError:  # ffmpeg has ended, and tells why
            pass
        _, told = made.communicate()
    if made.returncode:
        reason = next(iter(told.decode(errors="replace").strip().splitlines()), f"status {made.returncode}")
        raise UserError(f"ffmpeg could not make the .mp4 ({shown(reason)}); write .webp or .gif")


def _chained(first: Image.Image, others: Iterator[Image.Image]) -> Iterator[Image.Image]:
    yield first
    yield from others
