from collections.abc import Mapping
from select import epoll

from rdsproxy.hub import Reader

def serve(epoll: epoll, readers: Mapping[int, Reader], wait: int, /) -> bool: ...
