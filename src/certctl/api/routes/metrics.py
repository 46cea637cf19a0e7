"""`/metrics`, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse, Response

from certctl.api.services import use_cases

router = APIRouter(tags=["metrics"])


@router.get("/metrics", response_class=PlainTextResponse, summary="Metrics for Prometheus")
async def metrics(request: Request) -> Response:
    """Counters and gauges in Prometheus' text format, or OpenMetrics where that is accepted."""
    content, media_type = await use_cases(request).scrape(request.headers.get("accept", ""))
    return Response(content, media_type=media_type)
