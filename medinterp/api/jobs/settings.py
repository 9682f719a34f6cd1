"""Limits of jobs, as they stand in serve_config.yaml."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class JobSettings(BaseModel):
    """What jobs and batches may take, and how they outlive what runs them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_once: int = Field(default=4, ge=1, description="In each replica of the API.")
    batch_at_once: int = Field(default=2, ge=1, description="Of one batch, in all replicas together.")
    open_per_caller: int = Field(default=256, ge=1, description="That have not ended; further ones are refused (503).")
    attempts: int = Field(default=3, ge=1, description="A job that was begun so often and ended never has failed.")
    timeout_s: float = Field(default=3600.0, gt=0, description="Of one attempt.")
    wait_s: float = Field(
        default=6 * 3600.0, gt=0, description="A job that has not ended after so long is forgotten with its film."
    )
    lease_s: float = Field(
        default=6.0, gt=0, description="A job whose replica says nothing for so long is begun by another one."
    )
    look_s: float = Field(default=1.0, gt=0, description="How often a replica looks for jobs that nobody runs.")
    batch_films: int = Field(default=100, ge=1, le=1000)
    batch_bytes: int = Field(default=2**28, gt=0, description="Of the films of one batch together.")
    keys_s: float = Field(
        default=24 * 3600.0, gt=0, description="How long an Idempotency-Key is known, whose answer is there so long."
    )
