"""A real embedder service without a model, as `python -m embedder_stand_in`.

An embedding has three numbers: how many characters a text has, how many words, and 0.5.
"""

from pydantic_settings import SettingsConfigDict

import meshkit.run
from meshkit.settings import ServiceSettings


class Settings(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="MESH_EMBEDDER_")


if __name__ == "__main__":
    meshkit.run.main(Settings, "embedder_stand_in_app:app")
