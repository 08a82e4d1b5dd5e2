"""The relay of the stand-in product, importing no more than the real one: `stand_in_relay.py HOME VERSION COMMAND…`."""

import sys
from pathlib import Path

from mcp_server import relay

if __name__ == "__main__":
    sys.exit(relay.main(Path(sys.argv[1]), command=sys.argv[3:], version=sys.argv[2]))
