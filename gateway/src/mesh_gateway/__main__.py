"""`python -m mesh_gateway` serves until SIGTERM."""

import meshkit.run
from mesh_gateway.rounds import RoundsLoop
from mesh_gateway.settings import Settings

meshkit.run.main(Settings, "mesh_gateway.app:app", loop=RoundsLoop)
