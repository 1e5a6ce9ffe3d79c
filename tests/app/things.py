"""A small application with one door of things, to try what all doors share."""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal
from uuid import UUID

import httpx
from fastapi import APIRouter, FastAPI, Form, Header, Query
from pydantic import AnyUrl, AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy.exc import IntegrityError, OperationalError
from starlette.exceptions import HTTPException

from app import errors
from app.errors import Problem
from app.web.guard import BodyLimit
from app.web.install import install
from app.web.routing import StrictRequest, StrictRoute

CANARY = "Quillfeather"
LIMIT = 64 * 1024


class Kind(StrEnum):
    PERSON = "person"
    VEHICLE = "vehicle"


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Person(Strict):
    kind: Literal["person"]
    name: str = Field(max_length=20, pattern="^[A-Z]")


class Vehicle(Strict):
    kind: Literal["vehicle"]
    plate: str


class Thing(Strict):
    subject: Annotated[Person | Vehicle, Field(discriminator="kind")]
    kind: Kind = Kind.PERSON
    id: UUID | None = None
    born: date | None = None
    seen: AwareDatetime | None = None
    naive: datetime | None = None
    page: AnyUrl | None = None
    score: int | None = Field(default=None, ge=0, le=100)
    either: int | bool | None = None
    lines: list[Annotated[str, Field(max_length=5)]] = []
    labels: dict[str, int] = {}

    @field_validator("born")
    @classmethod
    def not_in_future(cls, value: date | None) -> date | None:
        if value is not None and value.year > 2100:
            raise PydanticCustomError("birth-date-in-future", "The date of birth is in the future.")
        return value

    @field_validator("lines")
    @classmethod
    def careless(cls, value: list[str]) -> list[str]:
        for line in value:
            if line == "int":
                int(CANARY)
        return value


class Secured(StrictRoute):
    async def before_body(self, request: StrictRequest) -> None:
        if request.headers.get("authorization") == "away":
            raise OperationalError("SELECT", {}, ConnectionRefusedError(CANARY))
        if "authorization" not in request.headers:
            raise Problem(errors.CREDENTIAL_REQUIRED)


inner = APIRouter(route_class=Secured)


@inner.post("/things")
async def make(thing: Thing) -> dict[str, str]:
    return {"kind": thing.subject.kind}


@inner.get("/things/{thing_id}")
async def read(
    thing_id: UUID,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    key: Annotated[str, Header(alias="Idempotency-Key", max_length=5)] = "",
) -> None:
    raise Problem(errors.NOT_FOUND)


@inner.post("/forms")
async def form(word: Annotated[str, Form(max_length=3)]) -> str:
    return word


@inner.get("/broken/{how}")
async def broken(how: str) -> None:
    raise {
        "bug": KeyError(CANARY),
        "row": IntegrityError("INSERT", {}, Exception(f"DETAIL: Key (name)=({CANARY})")),
        "away": TimeoutError(CANARY),
        "late": Problem(errors.TOO_MANY_REQUESTS, retry_after=7),
        "teapot": HTTPException(418, CANARY),
        "http": HTTPException(400, CANARY),
        "redirect": HTTPException(303, headers={"Location": "/elsewhere"}),
    }[how]


def make_app() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, redirect_slashes=False)
    outer = APIRouter()
    outer.include_router(inner, prefix="/v1")
    app.include_router(outer)
    install(app, BodyLimit(LIMIT))
    return app


def refused(answer: httpx.Response, kind: errors.ProblemType) -> Any:
    """The document of an answer that is this refusal, whole and without the canary."""
    assert CANARY.lower() not in answer.text.lower()
    assert CANARY.lower() not in str(answer.headers).lower()
    assert answer.headers["content-type"] == "application/problem+json"
    document = answer.json()
    assert (answer.status_code, document["status"]) == (kind.status, kind.status)
    assert (document["type"], document["title"]) == (f"/problems/{kind.slug}", kind.title)
    assert document["detail"]
    assert document["request_id"] == answer.headers["x-request-id"]
    return document
