"""The bare Litestar application that ours is compared with: one route, no database, nothing around it."""

from litestar import Litestar, get


@get("/hello", sync_to_thread=False)
def hello() -> dict[str, str]:
    return {"hello": "world"}


app = Litestar([hello], openapi_config=None, logging_config=None)
