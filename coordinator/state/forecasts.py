"""What live forecasts have been worth, per site and series."""

from __future__ import annotations

from sqlalchemy import Connection, select

from ..forecasts.learning import ErrorModel
from . import schema
from .rows import decode, encode, upsert


class ForecastErrors:
    """The error models' repository. ``series`` tells a site's feeds apart: its field and where it comes from."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def find(self, site: str, series: str) -> ErrorModel:
        """An empty model where nothing was learnt yet."""
        table = schema.forecast_errors
        query = select(table.c.record).where(table.c.site == site, table.c.series == series)
        found = self._connection.execute(query).scalar()
        return ErrorModel() if found is None else decode(found, ErrorModel)

    def put(self, site: str, series: str, model: ErrorModel) -> None:
        upsert(self._connection, schema.forecast_errors, {"site": site, "series": series, "record": encode(model)})
