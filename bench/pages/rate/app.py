"""Server of the rating page: start, image, answer. Responses never reveal the source of an image.

Blinded by construction: the app has only ids, pixels and the rater's own answers, not the sources in the manifest.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.pages.server import RequestError, assets, json_body, make_app
from bench.store.ratings import BEST, Answer, Answers, Study, load_images, rater_name

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.types import ASGIApp

PAGE = Path(__file__).parent / "page"
LONGEST_S = 7 * 24 * 3600.0


def rating_app(study: Study, folder: Path) -> ASGIApp:
    """Return the app of a study. Raises ``DataError`` if its images have changed."""
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import JSONResponse
    from starlette.responses import Response as Plain
    from starlette.routing import Route

    images, answers = load_images(study, folder), Answers(folder)

    async def start(request: Request) -> Response:
        """Return the rater's order of images and their answers so far."""
        rater = _rater(await json_body(request))
        given = await run_in_threadpool(answers.of, rater)
        known = {i: {"real": a.real, "quality": a.quality} for i, a in given.items() if i in images}
        return JSONResponse({"rater": rater, "images": study.order(rater), "answers": known})

    async def image(request: Request) -> Response:
        content = images.get(request.path_params["id"])
        if content is None:
            raise RequestError(404, "this image does not exist")
        return Plain(content, media_type="image/png")

    async def answer(request: Request) -> Response:
        """Save an answer; it is on disk when the response is sent."""
        given = _answer(await json_body(request), images)
        await run_in_threadpool(answers.add, given)
        return JSONResponse({"saved": given.image})

    routes = [
        *assets(PAGE),
        Route("/api/start", start, methods=["POST"]),
        Route("/api/answer", answer, methods=["POST"]),
        Route("/image/{id}", image),
    ]
    return make_app(routes)


def _rater(data: Mapping[str, Any]) -> str:
    typed = data.get("rater")
    if not isinstance(typed, str):
        raise RequestError(400, "rater: expected a name")
    return rater_name(typed)


def _answer(data: Mapping[str, Any], images: Mapping[str, bytes]) -> Answer:
    image, real, quality, seconds = (data.get(k) for k in ("image", "real", "quality", "seconds"))
    if not isinstance(image, str) or image not in images:
        raise RequestError(400, "image: not an image of this study")
    if not isinstance(real, bool):
        raise RequestError(400, "real: expected true or false")
    if not isinstance(quality, int) or isinstance(quality, bool) or not 0 <= quality <= BEST:
        raise RequestError(400, f"quality: expected an integer from 0 to {BEST}")
    if not isinstance(seconds, (int, float)) or not 0 <= seconds <= LONGEST_S:  # refuses NaN too
        raise RequestError(400, "seconds: expected the time taken, in seconds")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Answer(_rater(data), image, real, quality, round(float(seconds), 3), at)
