"""Every error that medinterp raises on purpose, in one tree.

    MedInterpError
    ├── FilmError                  the film cannot be used
    │   ├── UnreadableFilmError        not an image, or broken                 (HTTP 400)
    │   ├── UnsupportedFilmError       an image of a kind that is not read     (HTTP 415)
    │   ├── FilmTooLargeError          more to decode than the limits allow    (HTTP 413)
    │   ├── FilmShapeError             too small or too narrow to be a film    (HTTP 422)
    │   ├── NoPictureError             decoded, but it shows nothing           (HTTP 422)
    │   └── FilmWithheldError          a report on it would mean nothing       (HTTP 422)
    ├── PromptError                the prompt cannot be used                   (HTTP 422)
    ├── ReportTextError            the given report cannot be used             (HTTP 422)
    ├── RequestTooLargeError       prompt and report do not fit the model      (HTTP 422)
    ├── ModelError                 the model cannot be used
    │   ├── ModelNotFoundError         no such directory, hub id or licence
    │   ├── SelfTestError              loaded, but its rows are not to be trusted
    │   ├── CalibrationError           its learned weights are missing, or another model's
    │   ├── UnknownModelError          no model of the service has this name   (HTTP 422)
    │   ├── ModelBrokenError           one of its models cannot be loaded      (HTTP 502)
    │   └── ModelGoneError             who wrote the report is not there now   (HTTP 409)
    ├── MethodError                a relevancy method cannot answer            (HTTP 422)
    │   ├── UnknownMethodError         no method has that name
    │   └── MissingEvidenceError       the trace lacks what the method needs
    ├── SelectionError             no such word, phrase, finding or region     (HTTP 422)
    ├── ExportError                this file cannot be made of this report     (HTTP 422)
    ├── DatasetError               an evaluation data set lacks something, or is not as it should be
    ├── GenerationCancelled        the caller went away
    ├── StoreError                 the report store                        (HTTP 503)
    │   ├── ReportNotFoundError        unknown, expired or deleted             (HTTP 404)
    │   ├── RecordNotFoundError        the same of a record beside the reports (HTTP 404)
    │   ├── RecordConflictError        another change of it came first         (HTTP 409)
    │   └── StoreFullError             no room for another report              (HTTP 507)
    ├── JobError                   a job, or a request that is sent again  (HTTP 409)
    │   ├── JobNotFoundError           unknown, expired, deleted or another's  (HTTP 404)
    │   ├── JobNotEndedError           its result is not there yet             (HTTP 409)
    │   ├── JobCancelledError          it was cancelled and has no result      (HTTP 409)
    │   ├── JobAbandonedError          begun several times, ended never        (HTTP 500)
    │   ├── KeyReusedError             an Idempotency-Key came with another request before (HTTP 409)
    │   └── RequestRunningError        the same request is being answered      (HTTP 409)
    ├── AccessError                who may come in cannot be told          (HTTP 503)
    └── ServiceError               the service cannot answer now
        ├── ServiceBusyError           every place is taken                    (HTTP 503)
        ├── ServiceInterruptedError    a part of it went away on the way       (HTTP 503)
        ├── AuditError                 the audit log cannot be written         (HTTP 503)
        ├── EngineError                the engine that writes is not set up    (HTTP 502)
        └── DeadlineExceededError      it took longer than the limit           (HTTP 504)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from medinterp.types import FilmWarning


class MedInterpError(Exception):
    """Base of every error raised on purpose; its text says what to do."""


class FilmError(MedInterpError):
    """The film cannot be used."""


class UnreadableFilmError(FilmError):
    """The bytes are not an image, or a broken one."""


class UnsupportedFilmError(FilmError):
    """The bytes are an image of a kind that is not read here."""


class FilmTooLargeError(FilmError):
    """The film has more to decode (bytes, pixels, memory, time) than the limits allow."""


class FilmShapeError(FilmError):
    """The film has too few pixels on a side, or is too narrow, to be a film."""


class NoPictureError(FilmError):
    """The film was decoded, and shows no picture."""


class FilmWithheldError(FilmError):
    """A report on this film would mean nothing; it is written only when it is asked for by force."""

    def __init__(self, warnings: tuple[FilmWarning, ...], film: str = "image") -> None:
        """warnings: those that withhold the report, at least one; film: whose they are, "image" or "prior"."""
        super().__init__(warnings, film)
        self.warnings = warnings
        self.film = film

    def __str__(self) -> str:
        """The warnings' sentences, and what to do."""
        told = " ".join(warning.text for warning in self.warnings)
        whose = "prior: " if self.film == "prior" else ""
        return f"{whose}{told} No report was written. Send another film, or ask for this one by force (force=true)."


class PromptError(MedInterpError):
    """The prompt is empty, too long or holds the model's control tokens."""


class ReportTextError(MedInterpError):
    """The report that was given to be explained cannot be used."""


class RequestTooLargeError(MedInterpError):
    """Prompt and report together do not fit the model's context."""


class ModelError(MedInterpError):
    """The model cannot be used."""


class ModelNotFoundError(ModelError):
    """No such directory or hub id, or no access to it."""


class SelfTestError(ModelError):
    """The model was loaded, but what is captured from it is not what it computed."""


class CalibrationError(ModelError):
    """Weights cannot be learned, or those in the file do not belong to the model."""


class UnknownModelError(ModelError):
    """No model of the service has this name."""


class ModelBrokenError(ModelError):
    """A model of the service cannot be loaded; its others answer."""


class ModelGoneError(ModelError):
    """The model that wrote the report is not one of the service's any more; no other answers in its place."""


class MethodError(MedInterpError):
    """A relevancy method cannot answer."""


class UnknownMethodError(MethodError):
    """No method is registered under that name."""


class MissingEvidenceError(MethodError):
    """The trace lacks an array that the method needs; nothing is put in its place."""


class SelectionError(MedInterpError):
    """The report has no such word, phrase, finding or region."""


class ExportError(MedInterpError):
    """This kind of file cannot be made of this report; the text says what it lacks."""


class DatasetError(MedInterpError):
    """A data set for evaluation lacks a file, or holds one that is not as it should be."""


class GenerationCancelled(MedInterpError):
    """The caller went away before the report was finished."""


class StoreError(MedInterpError):
    """The report store cannot answer."""


class ReportNotFoundError(StoreError):
    """The report is unknown, has expired or was deleted."""


class RecordNotFoundError(StoreError):
    """The record is unknown, has expired or was deleted."""


class RecordConflictError(StoreError):
    """Another change of the record came first."""


class StoreFullError(StoreError):
    """The store has no room for another report."""


class JobError(MedInterpError):
    """A job, or a request that is sent again, is not what is asked of it."""


class JobNotFoundError(JobError):
    """No job or batch has this id, or it has expired, was deleted, or is another's."""


class JobNotEndedError(JobError):
    """The job has not ended, and has no result yet."""

    retry_after_s = 1


class JobCancelledError(JobError):
    """The job was cancelled, and has no result."""


class JobAbandonedError(JobError):
    """The job was begun several times, and whatever ran it went away each time."""


class KeyReusedError(JobError):
    """The Idempotency-Key came with another request before."""


class RequestRunningError(JobError):
    """The same request is being answered just now."""

    retry_after_s = 2


class AccessError(MedInterpError):
    """Who may use the service cannot be told: keys or settings are missing or broken."""


class ServiceError(MedInterpError):
    """The service cannot answer now; the same request may succeed later."""


class ServiceBusyError(ServiceError):
    """Every place is taken and the queue is full."""

    def __init__(self, message: str, *, retry_after_s: int | None = None) -> None:
        """retry_after_s: when there will be a place, where that is known."""
        super().__init__(message)
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        """What is wrong, and when to try again."""
        told = super().__str__()
        return told if self.retry_after_s is None else f"{told}; try again in {self.retry_after_s} s"


class ServiceInterruptedError(ServiceError):
    """A part of the service went away while it worked on the request."""


class AuditError(ServiceError):
    """What was asked for cannot be written into the audit log."""


class EngineError(ServiceError):
    """The engine that writes the reports cannot be used as it is set up."""


class DeadlineExceededError(ServiceError):
    """The request took longer than the limit."""
