from collections.abc import Callable
from typing import Any

def twins(
    types: tuple[type, ...],
    commands: Callable[..., None],
    granted: Callable[..., None],
    relayed: Callable[..., None],
    again_launch: Callable[..., None],
    command_of: Callable[[bytes], int],
    execute: Callable[..., None],
    give_back: Callable[..., None],
    take: Callable[..., Any],
    uncounted: int,
    wait: Callable[..., None],
    whole: Callable[[bytes, bool, int], tuple[bytes, int, int, int, int] | None],
    with_id: Callable[[bytes, bytes], bytes],
    bounds: tuple[float, ...],
    /,
) -> tuple[Any, Any, Any]: ...
