"""A part of a film as a moving picture that a README shows.

python docs/moving_picture.py runs/dqn/media/evaluation.webm docs/images/why.webp --begin 8
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
from PIL import Image


def frames(film: Path, begin: float, seconds: float, rate: int, width: int) -> list[Image.Image]:
    """Frames of a part of a film, `rate` a second, as wide as that."""
    video = cv2.VideoCapture(str(film))
    step = round(video.get(cv2.CAP_PROP_FPS) / rate)
    video.set(cv2.CAP_PROP_POS_FRAMES, begin * rate * step)
    found = []
    for number in range(round(seconds * rate) * step):
        there, frame = video.read()
        if not there:
            break
        if number % step == 0:
            height = round(width * frame.shape[0] / frame.shape[1])
            small = cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA)
            found.append(Image.fromarray(cv2.cvtColor(small, cv2.COLOR_BGR2RGB)))
    return found


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("film", type=Path, help="that fovea agents evaluate --video made")
    asked.add_argument("out", type=Path, help="a .webp or .gif")
    asked.add_argument("--begin", type=float, default=0, help="seconds into the film (0)")
    asked.add_argument("--seconds", type=float, default=8, help="that it lasts (8)")
    asked.add_argument("--rate", type=int, default=15, help="frames a second (15)")
    asked.add_argument("--width", type=int, default=768, help="pixels (768)")
    args = asked.parse_args()
    first, *others = frames(args.film, args.begin, args.seconds, args.rate, args.width)
    first.save(
        args.out,
        save_all=True,
        append_images=others,
        duration=1000 // args.rate,
        loop=0,
        quality=60,
        method=6,
    )
    print(f"{args.out}: {1 + len(others)} frames, {args.out.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
