"""Settings of retention: how long each kind of data stays. Not set: it stays for ever."""

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, Field, PositiveInt


class RetentionConfig(BaseModel, frozen=True, extra="forbid"):
    """What goes, and when."""

    # Input, output, metadata, the error's text, results of steps and replies of models, after the job's end.
    contents: timedelta | None = timedelta(days=30)
    # Events, steps and attempts, and the job itself where no money refers to it; runs of schedules.
    history: timedelta | None = timedelta(days=90)
    # Events for webhooks with their deliveries and tries, once each delivery has ended.
    deliveries: timedelta | None = timedelta(days=30)
    batch: PositiveInt = 200  # jobs or events a statement: some 10 ms
    # Of the time that may go into deleting; where more comes than that deletes, `behind` grows.
    part: Annotated[float, Field(gt=0, le=1)] = 0.2
