"""The route that clients of OpenAI's protocol ask: a film and a question in, an answer and its evidence out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import aclosing
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.routing import APIRoute

from medinterp.api import negotiation
from medinterp.api.chat import Chat
from medinterp.api.chat_errors import PATH
from medinterp.api.data_urls import taken_out
from medinterp.api.schema_chat import ChatAskedModel, ChatCompletionModel, ChatProblemModel

FILMS = "medinterp.films"
"""Where the films of a request are in its scope."""


class ChatRequest(Request):
    """A request whose body is without its films, which are in the scope."""

    async def body(self) -> bytes:
        """The rest of the JSON. Raises HTTPException 413."""
        if not hasattr(self, "_body"):
            whole = bytearray()
            async with aclosing(self.stream()) as stream:
                async for chunk in stream:
                    whole += chunk
            self._body, self.scope[FILMS] = await asyncio.to_thread(taken_out, whole, self.scope["medinterp.limit"])
        return self._body


def chat_route(other_bytes: int) -> type[APIRoute]:
    """A route that hands its JSON to FastAPI as ChatRequest reads it; other_bytes: what may stand beside the films."""

    class ChatRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handler = super().get_route_handler()

            async def handle(request: Request) -> Response:
                request.scope["medinterp.limit"] = other_bytes
                return await handler(ChatRequest(request.scope, request.receive))

            return handle

    return ChatRoute


def chat_routes(chat: Chat, other_bytes: int) -> APIRouter:
    """Build the route."""
    router = APIRouter(tags=["chat"], route_class=chat_route(other_bytes))

    @router.post(
        PATH,
        response_model=ChatCompletionModel,
        responses={
            200: {"content": {negotiation.EVENTS: {}}, "description": "Or events, with `stream`: chunks and [DONE]."},
            "default": {"model": ChatProblemModel, "description": "An error in OpenAI's words."},
        },
    )
    async def create_chat_completion(request: Request, asked: ChatAskedModel) -> Response:
        """Ask about a film in OpenAI's protocol; `evidence` tells why each word of the answer was written."""
        urls: Mapping[str, bytes] = request.scope.get(FILMS, {})
        return await chat.respond(asked, urls)

    return router
